"""What the codes are that a prior or an upsampler writes."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from magenta_lite.converters.base import EventFormat
from magenta_lite.converters.converter import Converter
from magenta_lite.errors import UserError


@dataclasses.dataclass(frozen=True)
class CodesConverterConfig:
    """Codes of one level of a VQ-VAE, in contexts of a fixed number.

    Where a frame has several codes, all that is told here of one is of a frame, but for `codes`.

    Attributes:
        level: 0 is the finest.
        codes: Different codes of the level; of a frame with several, of each codebook.
        quantizers: Codes of a frame, one of each codebook of a residual VQ-VAE; 1 for any other.
        context: Codes of an example.
        hop: Samples of a code.
        sample_rate: Of the sound, in Hz.
        above_ratio: Codes below one of the level above, whose codes an example has too; 1 for none.
        artists: Artists that are told apart; 0 for examples without labels.
        genres: Genres that are told apart.
        max_genres: Genres of a piece.
        lyric_tokens: Characters of the lyrics of an example.
        lyric_vocabulary: Different characters.
        vqvae: Run directory of the VQ-VAE that makes them. It says what codes there are.
        channels: Of the sound.
        artist_names: Of the artists 1, 2 …; 0 stands for all others. The data say them.
        genre_names: Of the genres, likewise.
    """

    kind: ClassVar[str] = "codes"

    level: int = 0
    codes: int = 2048
    quantizers: int = 1
    context: int = 8192
    hop: int = 128
    sample_rate: int = 44100
    above_ratio: int = 1
    artists: int = 0
    genres: int = 0
    max_genres: int = 1
    lyric_tokens: int = 0
    lyric_vocabulary: int = 79
    vqvae: str = ""
    channels: int = 1
    artist_names: tuple[str, ...] = ()
    genre_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("artist_names", "genre_names"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.level < 0:
            raise UserError(f"converter.level={self.level} must not be negative")
        least_one = ("codes", "quantizers", "context", "hop", "sample_rate", "above_ratio")
        for name in (*least_one, "max_genres"):
            if getattr(self, name) < 1:
                raise UserError(f"converter.{name}={getattr(self, name)} must be at least 1")
        if self.context % self.above_ratio:
            raise UserError(
                f"converter.context={self.context} must be a multiple of "
                f"converter.above_ratio={self.above_ratio}"
            )

    @property
    def sample_length(self) -> int:
        """Samples of an example."""
        return self.context * self.hop


class CodesConverter(Converter):
    """What is known of codes. Sound becomes codes, and they sound, by the VQ-VAE of the config.

    Args:
        config: A `CodesConverterConfig`.
    """

    config_class = CodesConverterConfig

    @property
    def sample_rate(self) -> int:
        """Of the sound, in Hz."""
        return self.config.sample_rate

    @property
    def channels(self) -> int:
        """Of the sound."""
        return self.config.channels

    @property
    def event_format(self) -> EventFormat:
        """A code, or a frame of several."""
        codes, count = self.config.codes, self.config.quantizers
        return EventFormat("categorical" if count == 1 else "multi_categorical", (codes,) * count)

    @property
    def window_steps(self) -> int:
        """Codes, or frames, of an example."""
        return self.config.context

"""Converter of VQ-VAE codes, for priors and upsamplers."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from magenta_lite.converters.base import EventFormat
from magenta_lite.converters.converter import SoundConverter, check_at_least
from magenta_lite.errors import UserError


@dataclasses.dataclass(frozen=True)
class CodesConverterConfig:
    """Codes of one level of a VQ-VAE, in contexts of fixed length.

    With residual quantizers, lengths and ratios count frames of several codes.

    Attributes:
        level: Level of the VQ-VAE; 0 is the finest.
        codes: Codebook size.
        quantizers: Codes of a frame, one for each residual quantizer; 1 for other VQ-VAEs.
        context: Context length, in codes.
        hop: Hop length, in samples.
        sample_rate: Sample rate of the audio, in Hz.
        above_ratio: Ratio of hop lengths of the level above, whose codes are part of an example,
            and of this level; 1 without them.
        artists: Number of artist labels; 0 for examples without labels.
        genres: Number of genre labels.
        max_genres: Maximum number of genres of a piece.
        lyric_tokens: Characters of lyrics of an example.
        lyric_vocabulary: Vocabulary size of lyrics.
        vqvae: Run directory of the VQ-VAE, which determines the codes.
        channels: Channels of the audio.
        artist_names: Names of the artists 1, 2 …, set by the data; 0 stands for all others.
        genre_names: Names of the genres, in the same way.
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
        check_at_least(self, 0, "level")
        names = ("codes", "quantizers", "context", "hop", "sample_rate", "above_ratio")
        check_at_least(self, 1, *names, "max_genres")
        if self.context % self.above_ratio:
            raise UserError(
                f"converter.context={self.context} must be a multiple of "
                f"converter.above_ratio={self.above_ratio}"
            )

    @property
    def sample_length(self) -> int:
        """Length of an example in samples."""
        return self.context * self.hop


class CodesConverter(SoundConverter):
    """Describes codes; the VQ-VAE of the config converts audio to codes and back."""

    config_class = CodesConverterConfig

    @property
    def event_format(self) -> EventFormat:
        """One code, or one frame of several codes, a step."""
        codes, count = self.config.codes, self.config.quantizers
        return EventFormat("categorical" if count == 1 else "multi_categorical", (codes,) * count)

    @property
    def window_steps(self) -> int:
        """Context length, in codes or frames."""
        return self.config.context

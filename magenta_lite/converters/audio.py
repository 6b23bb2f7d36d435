"""Converter between audio and rows of 16-bit samples."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from magenta_lite.converters.base import EncodeResult, EventFormat, Reason, Report
from magenta_lite.converters.converter import EXAMPLE, SoundConverter, check_at_least
from magenta_lite.errors import UserError
from magenta_lite.typing import Events

FULL_SCALE = 32768  # of 16 bits
BLOCK = 2**20  # samples processed at once, to limit the memory that long pieces need


@dataclasses.dataclass
class Audio:
    """Audio samples with their sample rate.

    Attributes:
        samples: Float32 (T, channels) in [-1, 1].
        sample_rate: Sample rate in Hz.
        markers: Pairs of a time in seconds and a label, drawn as lines in plots.
    """

    samples: np.ndarray
    sample_rate: int
    markers: tuple[tuple[float, str], ...] = ()

    @property
    def channels(self) -> int:
        """1 for mono, 2 for stereo."""
        return self.samples.shape[1]

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.samples) / self.sample_rate


@dataclasses.dataclass(frozen=True)
class AudioConverterConfig:
    """Format of audio examples.

    Attributes:
        sample_rate: Sample rate in Hz, to which audio is resampled.
        channels: 1 for the mean of all channels; 2 for stereo, with mono on both channels.
        crop: Length of a training clip in samples. Shorter pieces are dropped.
        min_seconds: Minimum duration of a piece in seconds; shorter pieces are dropped.
        silence: Level in dB of full scale (at most 0). Clips without a louder sample are dropped.
    """

    kind: ClassVar[str] = "audio"

    sample_rate: int = 16_000
    channels: int = 1
    crop: int = 8192
    min_seconds: float = 0.0
    silence: float = -60.0

    def __post_init__(self) -> None:
        check_at_least(self, 1000, "sample_rate")
        check_at_least(self, 1, "crop")
        check_at_least(self, 0, "min_seconds")
        if self.channels not in (1, 2):
            raise UserError(f"converter.channels={self.channels} must be 1 (mono) or 2 (stereo)")
        if not self.silence <= 0:
            raise UserError(f"converter.silence={self.silence} dB must be at most 0, full scale")


class AudioConverter(SoundConverter):
    """Converts audio to rows of two crops, which overlap by one crop.

    Training takes a crop at a random offset of a row, so that every crop of a piece can occur. The
    position of each row in its piece is stored; `pieces` joins the rows again.
    """

    config_class = AudioConverterConfig

    @property
    def generate_flags(self) -> tuple[str, ...]:
        return ("--mode=reconstruct", f"--input={EXAMPLE}")

    @property
    def crop(self) -> int:
        """Length of a training clip in samples."""
        return self.config.crop

    @property
    def event_format(self) -> EventFormat:
        """One sample of each channel a step."""
        return EventFormat("audio", (self.channels,))

    @property
    def window_steps(self) -> int:
        """Length of a row in samples."""
        return 2 * self.crop

    def encode(self, audio: Audio) -> EncodeResult:
        """Returns the rows of a piece, in order of time, with their positions.

        Row k holds the samples from k * crop to (k + 2) * crop; the last row has at least one crop.
        Rows without a sample above `silence` are dropped.

        Returns:
            Int16 arrays (T, channels), crop <= T <= 2 * crop, with positions: the first sample of
            each and the length of the piece; and a report.

        Raises:
            UserError: If `audio` has another sample rate or number of channels.
        """
        self._check(audio)
        config, report = self.config, Report()
        shortest = max(config.crop / self.sample_rate, config.min_seconds)
        if audio.seconds < shortest:
            hint = "--set converter.crop=4096 takes shorter sound, for a model of short clips"
            report.drop(Reason.with_setting(f"sound shorter than {shortest:.3g} s", hint))
            return EncodeResult([], report)
        samples, clipped = to_int16(audio.samples)
        if clipped is None:
            report.drop("sound with samples that are not numbers")
            return EncodeResult([], report)
        rows, positions = [], []
        for start in range(0, len(samples) - config.crop + 1, config.crop):
            row = samples[start : start + self.window_steps]
            if self._is_silent(row):
                report.drop(self._silent("silent clip"), f"at {start / self.sample_rate:.1f} s")
                continue
            rows.append(row)
            positions.append((start, len(samples)))
        if not rows:
            report = Report()
            report.drop(self._silent("silent sound"))
            return EncodeResult([], report)
        if clipped:
            report.keep("samples clipped to full scale", clipped)
        report.keep("windows", len(rows))
        report.keep("seconds of sound", round(audio.seconds))
        return EncodeResult(rows, report, positions=positions)

    def decode(self, events: Events) -> Audio:
        """Returns the audio of samples int16 (T, channels)."""
        return Audio(np.asarray(events, np.float32) / FULL_SCALE, self.sample_rate)

    def _check(self, audio: Audio) -> None:
        wanted, given = (self.sample_rate, self.channels), (audio.sample_rate, audio.channels)
        if given != wanted:
            raise UserError(
                f"Sound of {given[0]} Hz and {given[1]} channels cannot be encoded at {wanted[0]} "
                f"Hz and {wanted[1]} channels; data.audio.read_audio converts it while it reads"
            )

    def _silent(self, what: str) -> Reason:
        return Reason.with_setting(
            f"{what} (no sample above {self.config.silence:g} dB of full scale)",
            "--set converter.silence=-90 takes quieter sound",
        )

    def _is_silent(self, row: np.ndarray) -> bool:
        loudest = max(int(row.max()), -int(row.min()))
        return loudest <= FULL_SCALE * 10 ** (self.config.silence / 20)


def to_int16(samples: np.ndarray) -> tuple[np.ndarray, int | None]:
    """Returns float samples (T, channels) as int16, and the number of clipped samples.

    The number is None if a sample is NaN or infinite.
    """
    rounded, clipped = np.empty(samples.shape, np.int16), 0
    for start in range(0, len(samples), BLOCK):
        block = np.rint(samples[start : start + BLOCK] * FULL_SCALE)
        if not np.isfinite(block).all():
            return rounded, None
        # 1.0, one step above the largest int16, does not count as clipped.
        clipped += int(np.count_nonzero(np.abs(block) > FULL_SCALE))
        rounded[start : start + BLOCK] = np.clip(block, -FULL_SCALE, FULL_SCALE - 1)
    return rounded, clipped


def pieces(examples: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the name and the samples int16 (T, channels) of each piece, in order of names.

    Dropped silent rows of `examples`, a split of a built collection, are replaced by zeros.

    Raises:
        UserError: If the data set has no positions of its rows.
    """
    if examples.pieces is None or examples.positions is None:
        raise UserError(
            "This data set does not say where in a piece its rows stand; build it anew from the "
            "sound files: --data=FOLDER"
        )
    rows = defaultdict(list)
    for i, name in enumerate(examples.pieces):
        rows[name].append(i)
    for name in sorted(rows):
        total = int(examples.positions[rows[name][0]][1])
        samples = np.zeros((total, *examples.events.shape[2:]), np.int16)
        for i in rows[name]:
            start, length = int(examples.positions[i][0]), int(examples.lengths[i])
            samples[start : start + length] = examples.events[i, :length]
        yield name, samples

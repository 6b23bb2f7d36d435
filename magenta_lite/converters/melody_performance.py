"""Pairs of a melody and the performance that contains it, for models of accompaniments."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np

from magenta_lite.converters.base import EncodeResult, EventFormat, Reason, Report
from magenta_lite.converters.converter import check_at_least
from magenta_lite.converters.performance import (
    END,
    PerformanceConverter,
    PerformanceConverterConfig,
    check_stretches,
)
from magenta_lite.converters.performance_codec import PlayedNote, excerpt, stretched
from magenta_lite.converters.score import NO_CONTROLS, NoteArrays, Score
from magenta_lite.converters.text_melody import (
    FIRST_PITCH,
    TextMelodyCodec,
    legato,
    melody_notes,
)
from magenta_lite.converters.token_converter import TokenConverter
from magenta_lite.converters.token_rules import TokenRules
from magenta_lite.converters.writing import new_sequence
from magenta_lite.errors import UserError
from magenta_lite.typing import Events, Music, NoteSequence

MELODY_STEP = 0.1  # seconds


@dataclasses.dataclass(frozen=True)
class MelodyPerformanceConverterConfig:
    """Segmentation of performances.

    Attributes:
        max_tokens: Maximum length of the performance in an example, in tokens; longer segments are
            dropped.
        min_tokens: Minimum length in tokens; shorter segments are dropped.
        min_seconds: Minimum duration of a segment.
        max_seconds: Maximum duration of a segment.
        passes: Number of different random segmentations of each training piece.
        stretches: Factors of duration for time-stretching of training pieces.
        min_pitch: Minimum MIDI pitch; lower notes are dropped.
        max_pitch: Maximum MIDI pitch; higher notes are dropped.
        max_examples: Maximum number of rows of a piece; 0 for all.
    """

    kind: ClassVar[str] = "melody_performance"

    max_tokens: int = 2048
    min_tokens: int = 16
    min_seconds: float = 5.0
    max_seconds: float = 30.0
    passes: int = 2
    stretches: tuple[float, ...] = (1.0, 0.95, 0.975, 1.025, 1.05)
    min_pitch: int = 21
    max_pitch: int = 108
    max_examples: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "stretches", tuple(self.stretches))
        check_at_least(self, 2, "max_tokens")
        check_at_least(self, 1, "min_tokens", "passes", "min_seconds")
        check_stretches(self.stretches)
        if self.max_seconds < self.min_seconds:
            raise UserError(
                f"converter.max_seconds={self.max_seconds} must be at least "
                f"converter.min_seconds={self.min_seconds}"
            )


class MelodyPerformanceConverter(TokenConverter):
    """Converts performances to rows of a melody on a grid of 100 ms and the performance.

    The performance has the ids of a `PerformanceConverter` with an end token. It follows the
    melody, whose ids, of a `TextMelodyCodec`, are offset by `rules.size` and padded to
    `rules.input_steps`. The melody is extracted from the performance, which still contains it, and
    is played legato (Huang et al. 2018, §4.3).
    """

    config_class = MelodyPerformanceConverterConfig
    default_programs = (0,)

    @property
    def generate_flags(self) -> tuple[str, ...]:
        return ("--mode=accompany", "--primer_melody=60 -2 64 -2 67 -2 -2 -2 65 -2 62 -2 60")

    @property
    def crop(self) -> int:
        return 0  # segments are not cropped, since they begin with their melody

    def __init__(self, config: MelodyPerformanceConverterConfig):
        super().__init__(config)
        shared = {
            field.name: getattr(config, field.name)
            for field in dataclasses.fields(PerformanceConverterConfig)
            if hasattr(config, field.name)
        }
        self.performance = PerformanceConverter(
            PerformanceConverterConfig(**shared, end_token=True)
        )
        self.codec = self.performance.codec
        self.melody = TextMelodyCodec(config.min_pitch, config.max_pitch)

    @property
    def rules(self) -> TokenRules:
        """The grammar of the performance's ids."""
        steps = round(self.config.max_seconds * self.melody.steps_per_second)
        return dataclasses.replace(
            self.performance.rules, inputs=self.melody.size, input_steps=steps
        )

    @property
    def event_format(self) -> EventFormat:
        """One id per token; the melody's ids follow those of the performance."""
        return EventFormat("categorical", (self.codec.size + self.melody.size,))

    @property
    def window_steps(self) -> int:
        """Length of a row in ids."""
        return self.rules.input_steps + self.config.max_tokens

    @property
    def pitch_ids(self) -> tuple[tuple[int, int, int], ...]:
        """The ids of note-ons, note-offs, and the pitches of melodies."""
        first = self.codec.size
        return (*self.performance.pitch_ids, (0, first + FIRST_PITCH, first + self.melody.size - 1))

    # Notes to ids --------------------------------------------------------------------------

    def encode(self, music: Music) -> EncodeResult:
        """Returns the segments of a piece, in order of time, for all passes and stretches.

        Returns:
            Uint16 arrays of at most `window_steps` ids, and a report of dropped items; those of
            further passes and stretches are for training only.
        """
        config, report = self.config, Report()
        train_only: list[bool] = []
        result = EncodeResult([], report, train_only=train_only)
        notes = self.performance.notes_of(music, report)
        if not len(notes):
            return result
        last = float(notes[-1, 0])
        # The seed makes the segmentation of a piece reproducible.
        rng = np.random.default_rng([len(notes), round(1000 * last)])
        for number in range(config.passes):
            for start, end in self._cuts(last, rng):
                starting = (notes[:, 0] >= start) & (notes[:, 0] < end)
                segment = excerpt(notes[starting], start, end)
                melody = self._melody_of(segment)
                for stretch in config.stretches:
                    first = stretch == 1.0 and number == 0
                    counted = report if first else Report()
                    row = self._row(segment, melody, end - start, stretch, counted)
                    if row is not None:
                        result.examples.append(row)
                        train_only.append(not first)
        if config.max_examples:
            del result.examples[config.max_examples :]
            del train_only[config.max_examples :]
        if result.examples:
            report.keep("windows", len(result.examples))
        return result

    def _cuts(self, last: float, rng: np.random.Generator) -> Iterator[tuple[float, float]]:
        """Yields (start, end) of successive segments in seconds, up to the time `last`."""
        config, start = self.config, 0.0
        # Stretched segments, with rounded melodies, must not exceed `max_seconds`.
        longest = (config.max_seconds - MELODY_STEP) / max(config.stretches)
        while start <= last:
            end = start + rng.uniform(min(config.min_seconds, longest), longest)
            yield start, end
            start = end

    def _row(self, segment, melody, seconds: float, stretch: float, report) -> np.ndarray | None:
        """Returns the ids of a segment and its melody; None if it is dropped."""
        config = self.config
        ids = np.append(self.codec.ids(stretched(segment, stretch)), END)
        if len(ids) < config.min_tokens:
            report.drop(f"segment of fewer than {config.min_tokens} tokens")
            return None
        if len(ids) > config.max_tokens:
            reason = Reason.with_setting(
                f"segment of more than {config.max_tokens} tokens",
                "--set converter.max_tokens=4096 reads longer ones, "
                "--set converter.max_seconds=10 cuts shorter",
            )
            report.drop(reason)
            return None
        if not len(melody):
            report.drop("segment without a melody")
            return None
        inputs = self.melody.ids_of(
            legato(_as_score(stretched(melody, stretch), seconds * stretch))
        )
        inputs += [0] * (self.rules.input_steps - len(inputs))
        row = np.concatenate([np.add(inputs, self.codec.size), ids])
        return row.astype(self.event_format.event_dtype)

    def _melody_of(self, notes: np.ndarray) -> np.ndarray:
        """Returns the melody of sorted notes (N, 4): all of them if they never overlap."""
        if (notes[:-1, 2] <= notes[1:, 0]).all():
            return notes
        found = melody_notes(_as_score(notes).sequence()).notes
        melody = [PlayedNote(n.start_time, n.pitch, n.end_time, n.velocity) for n in found]
        return np.array(melody, float).reshape(-1, 4)

    def melody_ids(self, music: Music) -> list[int]:
        """Returns the ids (I,) of the melody of a piece.

        A piece whose notes never overlap is a melody; otherwise the likeliest melody is inferred.
        """
        notes = self.performance.notes_of(music, Report())
        return self.melody.ids_of(legato(_as_score(self._melody_of(notes)))) if len(notes) else []

    def ids_of(self, music: Music, **kwargs: Any) -> list[int]:
        """Returns the ids of a whole piece as a performance."""
        return self.performance.ids_of(music, **kwargs)

    def seconds(self, ids: Iterable[int], qpm: float) -> float:
        """Returns the duration of the performance's `ids` in seconds, independent of `qpm`."""
        return self.performance.seconds(ids, qpm)

    # Ids to notes --------------------------------------------------------------------------

    def decode(
        self,
        events: Events,
        qpm: float = 120.0,
        programs: tuple[int, ...] | None = None,
        max_hung_note: float = 0.0,
    ) -> NoteSequence:
        """Returns the NoteSequence of the performance of a row, or of a performance alone."""
        ids = np.asarray(events)
        sizes = self.event_format.sizes[0]
        played = ids[(ids < self.codec.size) | (ids >= sizes)]
        return self.performance.decode(played, qpm, programs, max_hung_note)


def _as_score(notes: np.ndarray, seconds: float = 0.0) -> Score:
    """Returns a score of notes (N, 4), which lasts for `seconds` or longer."""
    start, pitch, end, velocity = notes.T
    zeros = np.zeros(len(notes), int)
    columns = NoteArrays(
        pitch.astype(int), velocity.astype(int), start, end, zeros, zeros, zeros.astype(bool)
    )
    header = new_sequence(120.0, metrical=False)
    return Score(columns, NO_CONTROLS, header, max(end.max(initial=0.0), seconds))

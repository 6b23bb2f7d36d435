"""Performances as note-ons, note-offs, time shifts and velocities, with merged instruments."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from magenta_lite.converters.base import EncodeResult, Report
from magenta_lite.converters.converter import check_at_least, checked_ids
from magenta_lite.converters.event_sequences.converter import EventSequenceConverter
from magenta_lite.converters.event_sequences.encodings import EventEncoding
from magenta_lite.converters.grid import is_playable
from magenta_lite.converters.performance_codec import VELOCITIES, PerformanceCodec, excerpt
from magenta_lite.converters.score import NoteArrays
from magenta_lite.converters.windows import Windows
from magenta_lite.errors import UserError
from magenta_lite.typing import Events, Music, NoteSequence

NO_MORE = -1  # padding after the last event of a sequence in a batch


@dataclasses.dataclass(frozen=True)
class EventPerformanceConverterConfig:
    """Selection of performances, and resolution of their times and velocities.

    Attributes:
        velocity_bins: Number of velocity bins; 0 for no velocities.
        steps_per_second: Grid resolution; 100 for steps of 10 ms.
        max_shift: Maximum shift of one event, in steps.
        seconds: Duration of the parts that pieces are split into; 0 for whole pieces.
        min_events: Minimum length of a part; shorter parts are dropped.
        max_events: Maximum length of a part; longer parts are truncated.
        merge_programs: Merge all programs of a piece except drums; otherwise pieces of several
            programs are dropped.
        max_examples: Maximum number of parts of a piece; 0 for all.
    """

    kind: ClassVar[str] = "event_performance"

    velocity_bins: int = 32
    steps_per_second: int = 100
    max_shift: int = 100
    seconds: float = 30.0
    min_events: int = 32
    max_events: int = 512
    merge_programs: bool = False
    max_examples: int = 0

    def __post_init__(self) -> None:
        check_at_least(self, 1, "steps_per_second", "max_shift")
        check_at_least(self, 2, "max_events")
        check_at_least(self, 0, "velocity_bins", "seconds", "min_events", "max_examples")
        if self.velocity_bins > VELOCITIES:
            raise UserError(
                f"converter.velocity_bins={self.velocity_bins} must be at most {VELOCITIES}"
            )


class EventPerformanceConverter(EventSequenceConverter):
    """Converts performances to event ids, and back.

    First ids: 0 note-on, 128 note-off, 256 time shift by 1 to `max_shift` steps, then one velocity
    change for each bin: 388 ids with the defaults, 356 without velocities (Simon & Oore 2017,
    https://magenta.tensorflow.org/performance-rnn). The sustain pedal is applied to notes.

    Difference from Magenta: there is no time-stretching in training.
    """

    config_class = EventPerformanceConverterConfig
    default_programs = (0,)

    def __init__(self, config: EventPerformanceConverterConfig):
        super().__init__(config)
        self.codec = PerformanceCodec(
            velocity_bins=config.velocity_bins,
            steps_per_second=config.steps_per_second,
            max_shift=config.max_shift,
        )

    @property
    def encoding(self) -> EventEncoding:
        """The last event only."""
        longest = self.codec.shift[1]
        return EventEncoding(
            num_ids=self.depth,
            usual_id=longest,
            onset_ids=self.codec.note_on,
            note_off_ids=self.codec.note_off,
            shift_ids=self.codec.shift,
            start_id=longest,
        )

    @property
    def depth(self) -> int:
        return self.codec.size

    @property
    def window_steps(self) -> int:
        """Maximum length of a part in events."""
        return self.config.max_events

    @property
    def pitch_ids(self) -> tuple[tuple[int, int, int], ...]:
        """The ids of note-ons and note-offs."""
        return ((0, *self.codec.note_on), (0, *self.codec.note_off))

    # Notes to ids --------------------------------------------------------------------------

    def encode(self, music: Music) -> EncodeResult:
        """Returns the parts of a piece, in order of time, without duplicates.

        Returns:
            Uint16 arrays (T,) of `min_events` to `max_events` ids, and a report of dropped
            items.
        """
        config, report = self.config, Report()
        windows = Windows(report, config.max_examples)
        if not is_playable(music, report) or not self._is_one_instrument(music, report):
            return windows.result()
        for notes in self._parts(self.codec.notes(music, report)):
            ids = self.codec.ids(notes)
            if len(ids) < max(config.min_events, 2):
                report.drop(f"part of fewer than {config.min_events} events")
                continue
            report.drop(
                f"event of a part after {config.max_events}", n=max(len(ids) - config.max_events, 0)
            )
            report.keep("parts")
            windows.add(ids[: config.max_events].astype(self.event_format.event_dtype))
        return windows.result()

    def _is_one_instrument(self, music: Music, report: Report) -> bool:
        notes = NoteArrays.of(music)
        kinds = np.unique(np.stack([notes.is_drum, notes.program]), axis=1)
        if self.config.merge_programs or kinds.shape[1] == 1:
            return True
        report.drop("piece of several programs")
        return False

    def _parts(self, notes: np.ndarray) -> Iterator[np.ndarray]:
        """Yields the notes of each part, with times from its start; notes are cut at its end."""
        seconds = self.config.seconds
        if not seconds:
            yield notes
            return
        numbers = notes[:, 0] // seconds
        for number in np.unique(numbers).tolist():
            part = notes[numbers == number]
            yield excerpt(part, number * seconds, (number + 1) * seconds)

    def steps(self, ids: Events) -> int:
        """Returns the duration of `ids` (T,) in steps."""
        return self.codec.steps(ids)

    # Ids to notes --------------------------------------------------------------------------

    def decode(
        self, events: Events, qpm: float = 120.0, programs: tuple[int, ...] | None = None
    ) -> NoteSequence:
        """Returns the NoteSequence of ids (T,); those from the first -1 on are ignored.

        Every sequence of ids is valid: a note-off without its note and a note of zero length are
        ignored, and notes without a note-off end with the last step.
        """
        (program,) = self._programs(programs)
        ids = checked_ids(itertools.takewhile(lambda id: id != NO_MORE, events), self.depth)
        sequence = self.codec.sequence(ids, qpm, program)
        sequence.notes.sort(key=lambda n: (n.start_time, n.pitch, n.end_time, n.velocity))
        return sequence

    def cut(self, ids: Events, steps: int) -> list[int]:
        """Returns `ids` (T,) truncated or padded with shifts to a duration of `steps`."""
        events = itertools.takewhile(lambda id: id != NO_MORE, map(int, ids))
        return self.codec.cut(events, steps)

"""Performances as note-ons, note-offs, time that passes and dynamics, all instruments as one."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from magenta_lite.converters.base import EncodeResult, Report
from magenta_lite.converters.converter import check_at_least
from magenta_lite.converters.event_sequences.converter import EventSequenceConverter
from magenta_lite.converters.event_sequences.encodings import EventEncoding
from magenta_lite.converters.grid import is_playable
from magenta_lite.converters.multi_performance import VELOCITIES
from magenta_lite.converters.performance_codec import PerformanceCodec, PlayedNote
from magenta_lite.converters.windows import Windows
from magenta_lite.converters.writing import new_sequence
from magenta_lite.errors import UserError
from magenta_lite.typing import Events, NoteSequence

NO_MORE = -1  # stands after the last event where several are side by side


@dataclasses.dataclass(frozen=True)
class EventPerformanceConverterConfig:
    """Which performances are taken, and how fine their times and dynamics are.

    Attributes:
        velocity_bins: How many velocities are told apart; 0 for none.
        steps_per_second: Grid; 100 steps are 10 ms each.
        max_shift: Longest shift of one event, in steps.
        seconds: Pieces are cut into parts of so many seconds; 0 to leave them whole.
        min_events: Shorter parts are left out.
        max_events: Longer parts are cut.
        merge_programs: Take pieces of several programs as if one played them all, drums left out;
            otherwise they are left out.
        max_examples: At most so many parts of a piece, the first ones; 0 for all.
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
    """Performances of a NoteSequence as event ids, and back.

    Ids: 0 note-on, 128 note-off, 256 time passes, by 1 to `max_shift` steps, then a change of
    velocity to each of the bins: 388 ids with the defaults, 356 without velocities (Simon & Oore
    2017, https://magenta.tensorflow.org/performance-rnn). The sustain pedal is applied to notes.

    Difference from Magenta: parts are not stretched in time for training.

    Args:
        config: An `EventPerformanceConverterConfig`.
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
        """The event alone."""
        longest = self.codec.shift[1]
        return EventEncoding(
            num_ids=self.depth,
            usual_id=longest,
            onset_ids=self.codec.note_on,
            shift_ids=self.codec.shift,
            start_id=longest,
        )

    @property
    def depth(self) -> int:
        """Number of ids."""
        return self.codec.size

    @property
    def window_steps(self) -> int:
        """Events of the longest part."""
        return self.config.max_events

    @property
    def pitch_ids(self) -> tuple[tuple[int, int, int], ...]:
        """Note-ons and note-offs."""
        return ((0, *self.codec.note_on), (0, *self.codec.note_off))

    # Notes to ids --------------------------------------------------------------------------

    def encode(self, sequence: NoteSequence) -> EncodeResult:
        """Returns the parts of a NoteSequence, in order of time, each only once.

        Args:
            sequence: A NoteSequence that is not quantised.

        Returns:
            Uint16 arrays (T,) of `min_events` to `max_events` ids, and a report of what was left
            out.
        """
        config, report = self.config, Report()
        windows = Windows(report, config.max_examples)
        if not is_playable(sequence, report) or not self._is_one_instrument(sequence, report):
            return windows.result()
        for notes in self._parts(self.codec.notes(sequence, report)):
            ids = self.codec.ids(notes)
            if len(ids) < max(config.min_events, 2):
                report.drop(f"part of fewer than {config.min_events} events")
                continue
            report.drop(
                f"event of a part after {config.max_events}", n=max(len(ids) - config.max_events, 0)
            )
            report.keep("parts")
            windows.add(np.array(ids[: config.max_events], self.event_format.event_dtype))
        return windows.result()

    def _is_one_instrument(self, sequence, report: Report) -> bool:
        kinds = {(note.is_drum, note.program) for note in sequence.notes}
        if self.config.merge_programs or len(kinds) == 1:
            return True
        report.drop("piece of several programs")
        return False

    def _parts(self, notes: Sequence[PlayedNote]) -> Iterator[list[PlayedNote]]:
        """Yields the notes of each part, times from its start; notes end with it."""
        seconds = self.config.seconds
        if not seconds:
            yield list(notes)
            return
        for number, part in itertools.groupby(notes, lambda note: note.start // seconds):
            begin, end = number * seconds, (number + 1) * seconds
            yield [
                note._replace(start=note.start - begin, end=min(note.end, end) - begin)
                for note in part
            ]

    def steps(self, ids: Events) -> int:
        """Returns how many steps pass in `ids` (T,)."""
        return self.codec.steps(ids)

    # Ids to notes --------------------------------------------------------------------------

    def decode(
        self, events: Events, qpm: float = 120.0, programs: tuple[int, ...] | None = None
    ) -> NoteSequence:
        """Returns the NoteSequence that ids describe.

        Every order of ids is music: a note-off without its note and a note of no length are
        passed over, and notes that do not end do so with the last step.

        Args:
            events: Int (T,); -1 and what follows it is no event.
            qpm: Tempo that the sequence has; times do not depend on it.
            programs: General MIDI program, one; None for the first.

        Raises:
            ValueError: If an id is not one of this converter's.
        """
        (program,) = self._programs(programs)
        ids = itertools.takewhile(lambda id: id != NO_MORE, events)
        sequence, second = new_sequence(qpm, metrical=False), self.config.steps_per_second
        for note in sorted(self.codec.decoded(self._checked_ids(ids))):
            added: Any = sequence.notes.add()
            added.pitch, added.velocity, added.program = note.pitch, note.velocity, program
            added.start_time, added.end_time = note.start / second, note.end / second
            sequence.total_time = max(sequence.total_time, added.end_time)
        return sequence

    def cut(self, ids: Events, steps: int) -> list[int]:
        """Returns `ids` (T,) up to the step `steps`; silence is added, or a shift shortened."""
        events = itertools.takewhile(lambda id: id != NO_MORE, map(int, ids))
        return self.codec.cut(events, steps)

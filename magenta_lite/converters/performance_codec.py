"""Notes of a performance as note-ons, note-offs, time that passes and dynamics, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from magenta_lite.converters.base import Report
from magenta_lite.converters.grid import MAX_STEPS, to_step
from magenta_lite.converters.multi_performance import VELOCITIES, with_sustain
from magenta_lite.typing import NoteSequence

VELOCITY = 100  # of notes before the first change of velocity


class PlayedNote(NamedTuple):
    """A note, in the order in which notes are read.

    Attributes:
        start: Seconds, or steps.
        pitch: MIDI pitch.
        end: Seconds, or steps.
        velocity: 1 to 127.
    """

    start: float
    pitch: int
    end: float
    velocity: int


@dataclasses.dataclass(frozen=True)
class PerformanceCodec:
    """Ids from `first_id` on: note-ons, note-offs, shifts of 1 to `max_shift` steps, velocities.

    Attributes:
        min_pitch: Lowest MIDI pitch.
        max_pitch: Highest MIDI pitch.
        velocity_bins: How many velocities are told apart; 0 for none.
        steps_per_second: Grid.
        max_shift: Longest shift of one event, in steps.
        first_id: Ids below it are no events.
        max_hung: Longest note that no note-off ends, in steps; 0 for up to the last step.
    """

    min_pitch: int = 0
    max_pitch: int = 127
    velocity_bins: int = 32
    steps_per_second: int = 100
    max_shift: int = 100
    first_id: int = 0
    max_hung: int = 0

    @property
    def note_on(self) -> tuple[int, int]:
        """First and last id of note-ons."""
        return self.first_id, self.first_id + self.max_pitch - self.min_pitch

    @property
    def note_off(self) -> tuple[int, int]:
        """First and last id of note-offs."""
        first = self.note_on[1] + 1
        return first, first + self.max_pitch - self.min_pitch

    @property
    def shift(self) -> tuple[int, int]:
        """First and last id of shifts."""
        return self.note_off[1] + 1, self.note_off[1] + self.max_shift

    @property
    def velocity_id(self) -> int:
        """Id of the lowest velocity."""
        return self.shift[1] + 1

    @property
    def size(self) -> int:
        """Number of ids, those below `first_id` too."""
        return self.velocity_id + self.velocity_bins

    @property
    def _bin_size(self) -> int:
        return -(-VELOCITIES // max(self.velocity_bins, 1))

    def notes(self, sequence: NoteSequence, report: Report) -> list[PlayedNote]:
        """Returns the notes of a playable NoteSequence, pedal applied, in order.

        Notes out of range are left out before the pedal is applied, as in the original: they cut
        no other note off.
        """
        kept = type(sequence)()
        kept.CopyFrom(sequence)
        del kept.notes[:]
        for note in sequence.notes:
            if note.is_drum:
                report.drop("drum note")
            elif note.velocity <= 0:
                report.drop("note of velocity 0")
            elif not self.min_pitch <= note.pitch <= self.max_pitch:
                report.drop(f"pitch outside {self.min_pitch}-{self.max_pitch}")
            else:
                kept.notes.append(note)
        if not kept.notes:
            return []
        sustained = with_sustain(kept)
        last = max(note.end_time for note in sustained.notes)
        if not last * self.steps_per_second <= MAX_STEPS:
            report.drop(f"music longer than {MAX_STEPS:,} steps")
            return []
        played = [
            PlayedNote(note.start_time, note.pitch, note.end_time, min(note.velocity, VELOCITIES))
            for note in sustained.notes
        ]
        return sorted(played, key=lambda note: note[:2])

    def ids(self, notes: Iterable[PlayedNote]) -> list[int]:
        """Returns the ids of notes in order, times in seconds."""
        rate = self.steps_per_second
        changes = []
        for rank, note in enumerate(notes):
            start = to_step(note.start, rate)
            end = max(to_step(note.end, rate), start + 1)
            changes += [(start, rank, False, note), (end, rank, True, note)]
        ids, now, bin_now = [], 0, None
        for step, _, is_end, note in sorted(changes):
            ids += self.shifts(step - now)
            now = step
            place = note.pitch - self.min_pitch
            if is_end:
                ids.append(self.note_off[0] + place)
                continue
            velocity_bin = (note.velocity - 1) // self._bin_size
            if self.velocity_bins and velocity_bin != bin_now:
                ids.append(self.velocity_id + velocity_bin)
                bin_now = velocity_bin
            ids.append(self.note_on[0] + place)
        return ids

    def shifts(self, steps: int) -> list[int]:
        """Returns the shifts that pass so many steps, the longest first."""
        whole, rest = divmod(steps, self.max_shift)
        return [self.shift[1]] * whole + [self.shift[0] + rest - 1] * (rest > 0)

    def steps(self, ids: Iterable[int]) -> int:
        """Returns how many steps pass in `ids`."""
        first, last = self.shift
        return sum(id - first + 1 for id in ids if first <= id <= last)

    def decoded(self, ids: Iterable[int]) -> Iterator[PlayedNote]:
        """Yields the notes of ids, times in steps, in the order in which they end.

        Every order of ids is music: a note-off ends the oldest note of its pitch, or does nothing
        without one; a note of no length is passed over, and so is an id below `first_id`; notes
        that do not end do so with the last step, or after `max_hung` steps.
        """
        sounding: dict[int, list[tuple[int, int]]] = {}  # start and velocity, the oldest first
        now, velocity = 0, VELOCITY
        for id in ids:
            if id < self.first_id:
                continue
            if id <= self.note_on[1]:
                sounding.setdefault(id - self.note_on[0], []).append((now, velocity))
            elif id <= self.note_off[1]:
                place = id - self.note_off[0]
                if sounding.setdefault(place, []):
                    start, loudness = sounding[place].pop(0)
                    if start < now:
                        yield PlayedNote(start, place + self.min_pitch, now, loudness)
            elif id <= self.shift[1]:
                now += id - self.shift[0] + 1
            else:
                velocity = min(1 + (id - self.velocity_id) * self._bin_size, VELOCITIES)
        for place, started in sounding.items():  # as their pitches first came up
            for start, loudness in started:
                end = min(now, start + self.max_hung) if self.max_hung else now
                if start < end:
                    yield PlayedNote(start, place + self.min_pitch, end, loudness)

    def cut(self, ids: Iterable[int], steps: int) -> list[int]:
        """Returns `ids` up to the step `steps`; silence is added, or a shift shortened."""
        kept, now = [], 0
        first, last = self.shift
        for id in ids:
            shift = id - first + 1 if first <= id <= last else 0
            if now + shift > steps:
                break
            kept.append(id)
            now += shift
        return kept + self.shifts(steps - now)

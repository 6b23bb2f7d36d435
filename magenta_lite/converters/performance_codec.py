"""Codec of performances: note-ons, note-offs, time shifts and velocities."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from magenta_lite.converters.base import Report, pitch_outside
from magenta_lite.converters.grid import MAX_STEPS, to_step
from magenta_lite.converters.writing import new_sequence
from magenta_lite.typing import NoteSequence

VELOCITIES = 127  # 1 to 127
SUSTAIN_PEDAL = 64  # number of the control change


class PlayedNote(NamedTuple):
    """A note; fields define the sort order.

    Attributes:
        start: Onset in seconds or steps.
        pitch: MIDI pitch.
        end: Offset in seconds or steps.
        velocity: 1 to 127.
    """

    start: float
    pitch: int
    end: float
    velocity: int


@dataclasses.dataclass(frozen=True)
class PerformanceCodec:
    """Codec of ids from `first_id`: note-ons, note-offs, shifts by 1 to `max_shift`, velocities.

    Attributes:
        min_pitch: Lowest MIDI pitch.
        max_pitch: Highest MIDI pitch.
        velocity_bins: Number of velocity bins; 0 for no velocities.
        steps_per_second: Grid resolution.
        max_shift: Maximum shift of one event, in steps.
        first_id: First id of events; lower ids are reserved.
        initial_velocity: Velocity before the first velocity event.
    """

    min_pitch: int = 0
    max_pitch: int = 127
    velocity_bins: int = 32
    steps_per_second: int = 100
    max_shift: int = 100
    first_id: int = 0
    initial_velocity: int = 100

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
        """Vocabulary size, including the ids below `first_id`."""
        return self.velocity_id + self.velocity_bins

    @property
    def _bin_size(self) -> int:
        return -(-VELOCITIES // max(self.velocity_bins, 1))

    def notes(self, sequence: NoteSequence, report: Report) -> list[PlayedNote]:
        """Returns the sorted notes of a playable NoteSequence, with the sustain pedal applied.

        Notes out of range are dropped before the pedal is applied, as in the original, so that they
        do not cut off other notes.
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
                report.drop(pitch_outside(self.min_pitch, self.max_pitch))
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
        """Returns the ids of sorted notes with times in seconds."""
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
        """Returns the ids of time shifts by `steps`, the longest first."""
        whole, rest = divmod(steps, self.max_shift)
        return [self.shift[1]] * whole + [self.shift[0] + rest - 1] * (rest > 0)

    def steps(self, ids: Iterable[int]) -> int:
        """Returns the duration of `ids` in steps."""
        first, last = self.shift
        return sum(id - first + 1 for id in ids if first <= id <= last)

    def decoded(self, ids: Iterable[int], max_hung: int = 0) -> Iterator[PlayedNote]:
        """Yields the notes of ids, with times in steps, in the order of their ends.

        Every sequence of ids is valid: a note-off ends the oldest note of its pitch, if any; notes
        of zero length and ids below `first_id` are ignored; notes without a note-off end with the
        last step, or after `max_hung` steps if that is not 0.
        """
        sounding: dict[int, list[tuple[int, int]]] = {}  # start and velocity, the oldest first
        now, velocity = 0, self.initial_velocity
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
        for place, started in sounding.items():  # in the order of their first pitches
            for start, loudness in started:
                end = min(now, start + max_hung) if max_hung else now
                if start < end:
                    yield PlayedNote(start, place + self.min_pitch, end, loudness)

    def sequence(
        self, ids: Iterable[int], qpm: float, program: int, max_hung: int = 0
    ) -> NoteSequence:
        """Returns the NoteSequence of ids, whose times do not depend on `qpm`; see `decoded`."""
        sequence = new_sequence(qpm, metrical=False)
        for note in self.decoded(ids, max_hung):
            end = note.end / self.steps_per_second
            sequence.notes.add(
                pitch=note.pitch,
                velocity=note.velocity,
                start_time=note.start / self.steps_per_second,
                end_time=end,
                program=program,
            )
            sequence.total_time = max(sequence.total_time, end)
        return sequence

    def cut(self, ids: Iterable[int], steps: int) -> list[int]:
        """Returns `ids` truncated or padded with shifts to a duration of `steps`."""
        kept, now = [], 0
        first, last = self.shift
        for id in ids:
            shift = id - first + 1 if first <= id <= last else 0
            if now + shift > steps:
                break
            kept.append(id)
            now += shift
        return kept + self.shifts(steps - now)


def stretched(notes: Iterable[PlayedNote], factor: float) -> list[PlayedNote]:
    """Returns notes with all times multiplied by a factor."""
    return [note._replace(start=note.start * factor, end=note.end * factor) for note in notes]


def with_sustain(sequence: NoteSequence) -> NoteSequence:
    """Returns a NoteSequence with the sustain pedal applied to its notes."""
    if not any(change.control_number == SUSTAIN_PEDAL for change in sequence.control_changes):
        return sequence
    from note_seq import sequences_lib

    return sequences_lib.apply_sustain_control_changes(sequence)

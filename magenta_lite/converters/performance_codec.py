"""Codec of performances: note-ons, note-offs, time shifts and velocities."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from magenta_lite.converters.base import Report, pitch_outside
from magenta_lite.converters.grid import MAX_STEPS, to_steps
from magenta_lite.converters.note_arrays import NoteArrays, without
from magenta_lite.converters.pedal import held
from magenta_lite.converters.writing import new_sequence
from magenta_lite.typing import NoteSequence

VELOCITIES = 127  # 1 to 127


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

    def notes(self, sequence: NoteSequence, report: Report) -> np.ndarray:
        """Returns the sorted notes of a playable NoteSequence, with the sustain pedal applied.

        Notes out of range are dropped before the pedal is applied, as in the original, so that they
        do not cut off other notes.

        Returns:
            Float (N, 4): the fields of `PlayedNote`, with times in seconds.
        """
        notes = NoteArrays.of(sequence)
        kept = without(
            report,
            ("drum note", notes.is_drum),
            ("note of velocity 0", notes.velocity <= 0),
            (
                pitch_outside(self.min_pitch, self.max_pitch),
                (notes.pitch < self.min_pitch) | (notes.pitch > self.max_pitch),
            ),
        )
        notes = notes[kept]
        if not len(notes):
            return np.zeros((0, 4))
        sustained = held(notes, sequence)
        velocity = np.minimum(notes.velocity, VELOCITIES)
        played = np.stack([notes.start, notes.pitch, sustained.end, velocity], axis=1)
        played = played[sustained.kept]
        if not played[:, 2].max() * self.steps_per_second <= MAX_STEPS:
            report.drop(f"music longer than {MAX_STEPS:,} steps")
            return np.zeros((0, 4))
        return played[np.lexsort((played[:, 1], played[:, 0]))]

    def ids(self, notes: ArrayLike) -> np.ndarray:
        """Returns the ids (T,) of sorted notes, the fields of `PlayedNote` (N, 4), in seconds."""
        start, pitch, end, velocity = np.asarray(notes, float).reshape(-1, 4).T
        starts = to_steps(start, self.steps_per_second)
        ends = np.maximum(to_steps(end, self.steps_per_second), starts + 1)
        # Note n begins with change 2 n and ends with change 2 n + 1; they are sorted by step, then
        # by note.
        steps = np.stack([starts, ends], axis=1).ravel()
        order = np.argsort(steps, kind="stable")
        note, is_end = np.divmod(order, 2)
        bins = ((velocity.astype(int) - 1) // self._bin_size)[note]
        louder = np.zeros(len(order), bool)
        if self.velocity_bins:
            louder[is_end == 0] = np.diff(bins[is_end == 0], prepend=-1) != 0
        whole, rest = np.divmod(np.diff(steps[order], prepend=0), self.max_shift)
        last = np.cumsum(whole + (rest > 0) + louder + 1) - 1  # place of the id of each change
        ids = np.full(last[-1] + 1 if len(last) else 0, self.shift[1])
        firsts = np.where(is_end, self.note_off[0], self.note_on[0])
        ids[last] = firsts + (pitch.astype(int) - self.min_pitch)[note]
        ids[last[louder] - 1] = self.velocity_id + bins[louder]
        short = rest > 0
        ids[(last - louder)[short] - 1] = self.shift[0] + rest[short] - 1
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


def stretched(notes: np.ndarray, factor: float) -> np.ndarray:
    """Returns notes, the fields of `PlayedNote` (N, 4), with all times multiplied by a factor."""
    return notes * np.array(PlayedNote(factor, 1, factor, 1))


def excerpt(notes: np.ndarray, begin: float, end: float) -> np.ndarray:
    """Returns notes, the fields of `PlayedNote` (N, 4), that end by `end`, in time from `begin`."""
    start, pitch, stop, velocity = notes.T
    return np.stack([start - begin, pitch, np.minimum(stop, end) - begin, velocity], axis=1)

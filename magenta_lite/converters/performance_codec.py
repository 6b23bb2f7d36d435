"""Codec of performances: note-ons, note-offs, time shifts and velocities."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from magenta_lite.converters.base import Report, pitch_outside
from magenta_lite.converters.grid import MAX_STEPS, to_steps
from magenta_lite.converters.pedal import held
from magenta_lite.converters.score import Score, without
from magenta_lite.converters.writing import new_sequence
from magenta_lite.typing import Music, NoteSequence

VELOCITIES = 127  # 1 to 127
NONE = -1  # the id of a change that has none


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

    def notes(self, music: Music, report: Report) -> np.ndarray:
        """Returns the sorted notes of a playable piece, with the sustain pedal applied.

        Notes out of range are dropped before the pedal is applied, as in the original, so that they
        do not cut off other notes.

        Returns:
            Float (N, 4): the fields of `PlayedNote`, with times in seconds.
        """
        score = Score.of(music)
        notes = score.notes
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
        sustained = held(notes, score)
        velocity = np.minimum(notes.velocity, VELOCITIES)
        played = np.stack([notes.start, notes.pitch, sustained.end, velocity], axis=1)
        played = played[sustained.kept]
        if not played[:, 2].max() * self.steps_per_second <= MAX_STEPS:
            report.drop(f"music longer than {MAX_STEPS:,} steps")
            return np.zeros((0, 4))
        return played[np.lexsort((played[:, 1], played[:, 0]))]

    def ids(self, notes: ArrayLike) -> np.ndarray:
        """Returns the ids (T,) of sorted notes, the fields of `PlayedNote` (N, 4), in seconds."""
        rows = np.asarray(notes, float).reshape(-1, len(PlayedNote._fields))
        return self.ids_of_parts(rows, np.zeros(len(rows), int))[0]

    def ids_of_parts(
        self, notes: np.ndarray, parts: np.ndarray, until: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the ids of the notes of several parts, as if each were encoded on its own.

        Args:
            notes: The sorted notes of each part after the other, the fields of `PlayedNote` (N, 4),
                with times in seconds from the start of their part.
            parts: Number of the part of each note, 0 and up, in ascending order, int (N,).
            until: Step up to which shifts extend each part, at or after its last note; None for
                parts that end with their notes.

        Returns:
            The ids int (T,), and the number of the part of each id, int (T,).
        """
        start, pitch, end, velocity = notes.T
        starts = to_steps(start, self.steps_per_second)
        ends = np.maximum(to_steps(end, self.steps_per_second), starts + 1)
        # Note n begins with change 2 n and ends with change 2 n + 1; they are sorted by part, then
        # step, then note. A part with an end has one more change, without an id.
        steps, owners = np.stack([starts, ends], axis=1).ravel(), np.repeat(parts, 2)
        if until is not None:
            owners = np.append(owners, every := np.unique(parts))
            steps = np.append(steps, np.full(len(every), until))
        order = np.argsort(owners * (steps.max(initial=0) + 1) + steps, kind="stable")
        steps, owners = steps[order], owners[order]
        is_first = np.diff(owners, prepend=-1) != 0
        is_note, is_end = order < 2 * len(notes), order % 2 == 1
        note = np.where(is_note, order // 2, 0)

        louder = np.zeros(len(order), bool)
        bins = ((velocity.astype(int) - 1) // self._bin_size)[note]
        if self.velocity_bins:
            onsets = np.flatnonzero(is_note & ~is_end)
            changed = np.diff(bins[onsets], prepend=-1) != 0
            louder[onsets] = changed | (np.diff(owners[onsets], prepend=-1) != 0)
        waits = steps - np.where(is_first, 0, np.roll(steps, 1))
        places = np.where(is_end, self.note_off[0], self.note_on[0]) - self.min_pitch
        tokens = np.where(is_note, places + pitch.astype(int)[note], NONE)
        ids, counts = self.joined(waits, np.where(louder, self.velocity_id + bins, NONE), tokens)
        return ids, np.repeat(owners, counts)

    def joined(
        self, waits: np.ndarray, velocities: np.ndarray, tokens: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the ids of changes: shifts, the longest first; a velocity; and a token.

        Args:
            waits: Steps before each change, int (E,).
            velocities: Ids of velocities, int (E,), `NONE` for no id.
            tokens: Ids of note-ons and note-offs, int (E,), `NONE` for no id.

        Returns:
            The ids int (T,), and the number of ids of each change, int (E,).
        """
        whole, rest = np.divmod(waits, self.max_shift)
        louder, there = velocities != NONE, tokens != NONE
        counts = whole + (rest > 0) + louder + there
        after = np.cumsum(counts)
        ids = np.full(counts.sum(), self.shift[1])
        short = rest > 0
        ids[(after - counts + whole)[short]] = self.shift[0] + rest[short] - 1
        ids[after[louder] - 1 - there[louder]] = velocities[louder]
        ids[after[there] - 1] = tokens[there]
        return ids, counts

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

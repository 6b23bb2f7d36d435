"""What an event model sees of the events so far, and the classes that it predicts the next with.

Events of melodies are ids: 0 no event, 1 note-off, 2 and up note-ons from `min_pitch` up; drums and
performances have ids of their own. A model reads a vector for each event and predicts a class for
the next one. Several classes can mean the same event: itself, and "what was `d` steps ago".
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from magenta_lite.converters.event_sequences.chord_ids import CHORD_VECTORS
from magenta_lite.typing import Events

NO_EVENT_ID = 0
NOTE_OFF_ID = 1
FIRST_PITCH_ID = 2

KEYS = 12
# Row k: which pitch classes the major key of pitch class k contains.
MAJOR_KEYS = np.array(
    [[(c - k) % 12 in {0, 2, 4, 5, 7, 9, 11} for c in range(12)] for k in range(KEYS)]
)
RECENT_PITCHES = 3


@dataclasses.dataclass(frozen=True)
class EventEncoding:
    """How events become the vectors that a model reads, and the classes that it predicts.

    Without `key_features` a vector holds, one after the other: the event; what would come next if
    the music repeated itself at each of `distances`; the counter of the next step, bit i as 1 or
    -1; and whether the event repeated that of each of `distances` ago. Classes are the ids, then
    one for each distance.

    With `key_features` it holds: the sounding pitch; whether one sounds; whether none does;
    whether the last event began a note; whether the melody rises (1) or falls (-1); repeats at
    each of `distances`; the counter; whether the next step begins a bar; the major keys that fit
    most of the notes so far; and those that fit most of the last three pitches. Classes are
    pitches, no event, note-off, then one for each distance.

    With `chords` the chord of the next event stands before all of that.

    Attributes:
        num_ids: Number N of event ids.
        distances: Steps back that the model can look and repeat, the nearest first.
        counter_bits: Bits of the step counter.
        key_features: See above; for melodies only.
        min_pitch: MIDI pitch of id 2; matters to keys.
        steps_per_bar: Matters to the bar line.
        chords: What is read of a chord, a key of `CHORD_VECTORS`; empty without chords.
        usual_id: The event that happens most; matters to what is measured.
        onset_ids: Lowest and highest id with which a note begins; empty for `FIRST_PITCH_ID` and
            up. Matters to what is measured.
        shift_ids: Lowest and highest id that moves time on, by 1 step, 2 steps and so on; empty
            where every event is a step.
        start_id: The event that music made from nothing begins with.
    """

    num_ids: int
    distances: tuple[int, ...] = ()
    counter_bits: int = 0
    key_features: bool = False
    min_pitch: int = 0
    steps_per_bar: int = 16
    chords: str = ""
    usual_id: int = NO_EVENT_ID
    onset_ids: tuple[int, ...] = ()
    shift_ids: tuple[int, ...] = ()
    start_id: int = FIRST_PITCH_ID

    def __post_init__(self) -> None:
        for name in ("distances", "onset_ids", "shift_ids"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.onset_ids:
            object.__setattr__(self, "onset_ids", (FIRST_PITCH_ID, self.num_ids - 1))

    @property
    def num_pitches(self) -> int:
        """Number of note-on ids."""
        return self.num_ids - FIRST_PITCH_ID

    @property
    def input_size(self) -> int:
        """Width D of the vector of an event, its chord included."""
        repeats, chord = len(self.distances), self.chord_size
        if self.key_features:
            return chord + self.num_pitches + 4 + repeats + self.counter_bits + 1 + 2 * KEYS
        return chord + self.num_ids * (1 + repeats) + self.counter_bits + repeats

    @property
    def chord_size(self) -> int:
        """Width of the part of the vector that stands for a chord."""
        return CHORD_VECTORS[self.chords].shape[1] if self.chords else 0

    @property
    def num_classes(self) -> int:
        """Number V of classes."""
        return self.num_ids + len(self.distances)

    @property
    def reach(self) -> int:
        """How many events back, the last one included, a vector depends on."""
        return max(self.distances, default=0) + 1

    def own_class(self, ids: Any) -> Any:
        """Returns the class that means event `ids` and nothing else; ints or arrays of any kind."""
        if not self.key_features:
            return ids
        return (ids - FIRST_PITCH_ID) % self.num_ids

    def own_id(self, classes: Any) -> Any:
        """Returns the id that a class below `num_ids` means; the inverse of `own_class`."""
        return (classes + FIRST_PITCH_ID) % self.num_ids if self.key_features else classes


class History:
    """The events of several sequences side by side, one added at a time.

    Adding an event costs the same however many came before.

    Args:
        encoding: Says what a model sees of it.
        rows: How many sequences B.
    """

    def __init__(self, encoding: EventEncoding, rows: int = 1):
        self.encoding = encoding
        self.length = 0
        self._recent = np.full((rows, encoding.reach), -1)  # the last one last; -1 before the start
        self._counts = np.zeros((rows, 12), int)  # note-ons of each pitch class
        self._last_pitches = np.full((rows, RECENT_PITCHES), -1)  # different ones, the last first
        self._sounding = np.full(rows, -1)
        self._attack = np.zeros(rows, bool)
        self._direction = np.zeros(rows, int)

    def add(self, ids: Events, chords: Events | None = None) -> np.ndarray:
        """Adds the next event of each sequence; returns what a model then reads.

        Args:
            ids: Int (B,).
            chords: Ids int (B,) of the chords of the events after these, if the encoding has any.

        Returns:
            Float32 (B, D).
        """
        ids = np.asarray(ids, int)
        self._recent = np.concatenate([self._recent[:, 1:], ids[:, None]], axis=1)
        self.length += 1
        if self.encoding.key_features:
            self._follow_pitch(ids)
            parts = self._key_parts()
        else:
            size = self.encoding.num_ids
            ahead = [_one_hot(self.repeated(d), size) for d in self.encoding.distances]
            parts = [_one_hot(ids, size), *ahead, self._counter(), self._repeats()]
        if self.encoding.chords:
            parts.insert(0, CHORD_VECTORS[self.encoding.chords][np.asarray(chords, int)])
        return np.concatenate(parts, axis=1).astype(np.float32)

    def repeated(self, distance: int) -> np.ndarray:
        """Returns the events (B,) that stand `distance` before the next; no event before all."""
        return np.maximum(self._recent[:, -distance], NO_EVENT_ID)

    def classes(self, ids: Events) -> np.ndarray:
        """Returns the class (B,) that a model should predict where the next event is `ids` (B,).

        The furthest repeat goes first. Before there is anything to repeat, no event counts as one.
        """
        ids = np.asarray(ids, int)
        encoding = self.encoding
        classes = encoding.own_class(ids)
        for i, distance in enumerate(encoding.distances):
            same = self._recent[:, -distance] == ids
            if i == len(encoding.distances) - 1 and self.length < distance:
                same = ids == NO_EVENT_ID
            classes = np.where(same, encoding.num_ids + i, classes)
        return classes

    def ids(self, classes: ArrayLike) -> np.ndarray:
        """Returns the event (B,) that each of `classes` (B,) means as the next one."""
        classes = np.asarray(classes, int)
        ids = self.encoding.own_id(classes)
        for i, distance in enumerate(self.encoding.distances):
            ids = np.where(classes == self.encoding.num_ids + i, self.repeated(distance), ids)
        return ids

    def _follow_pitch(self, ids: np.ndarray) -> None:
        note, pitch = ids >= FIRST_PITCH_ID, ids - FIRST_PITCH_ID
        self._sounding = np.where(note, pitch, np.where(ids == NOTE_OFF_ID, -1, self._sounding))
        self._attack = note | (self._attack & (ids == NOTE_OFF_ID))
        first, second, third = self._last_pitches.T
        changed = note & (pitch != first)
        self._direction = np.where(changed & (first >= 0), np.sign(pitch - first), self._direction)
        again = np.stack([pitch, first, np.where(pitch == second, third, second)], axis=1)
        self._last_pitches = np.where(changed[:, None], again, self._last_pitches)
        self._counts += note[:, None] * self._pitch_classes(pitch)

    def _key_parts(self) -> list[np.ndarray]:
        encoding = self.encoding
        sounds = self._sounding >= 0
        recent = np.sum(
            [(pitch >= 0)[:, None] * self._pitch_classes(pitch) for pitch in self._last_pitches.T],
            axis=0,
        )
        bar = np.full(len(sounds), self.length % encoding.steps_per_bar == 0)
        flags = np.stack([sounds, ~sounds, self._attack, self._direction], axis=1)
        return [
            _one_hot(self._sounding, encoding.num_pitches),
            flags,
            self._repeats(),
            self._counter(),
            bar[:, None],
            best_keys(self._counts),
            best_keys(recent),
        ]

    def _pitch_classes(self, pitches: np.ndarray) -> np.ndarray:
        return _one_hot((pitches + self.encoding.min_pitch) % 12, 12)

    def _repeats(self) -> np.ndarray:
        back = [self._recent[:, -1 - d] for d in self.encoding.distances]
        return (
            np.stack([self._recent[:, -1] == ids for ids in back], axis=1)
            if back
            else (np.zeros((len(self._recent), 0)))
        )

    def _counter(self) -> np.ndarray:
        bits = self.length >> np.arange(self.encoding.counter_bits) & 1
        return np.tile(2 * bits - 1, (len(self._recent), 1))


def encode_events(
    encoding: EventEncoding, ids: Events, chords: Events | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what a model reads of a whole sequence and should answer.

    Args:
        encoding: How.
        ids: Int (T,).
        chords: Ids int (T,) of the chords of the events, if the encoding has any.

    Returns:
        Float32 (T - 1, D), the vectors of all events but the last, and int (T - 1,), the classes of
        all but the first.
    """
    history = History(encoding)
    inputs, classes = [], []
    for t, (id, following) in enumerate(itertools.pairwise(ids), start=1):
        inputs.append(history.add([id], None if chords is None else [chords[t]])[0])
        classes.append(history.classes([following])[0])
    return np.reshape(inputs, (-1, encoding.input_size)), np.array(classes, int)


def best_keys(counts: np.ndarray) -> np.ndarray:
    """Returns which major keys contain most of the notes: bool (B, 12) of `counts` (B, 12).

    `counts` has the notes of each pitch class; keys that tie are all among the best.
    """
    fitting = counts @ MAJOR_KEYS.T.astype(int)
    return fitting == fitting.max(axis=1, keepdims=True)


def _one_hot(values: np.ndarray, size: int) -> np.ndarray:
    """Returns int (B, size); all zeros for values that are outside."""
    return (values[:, None] == np.arange(size)).astype(int)

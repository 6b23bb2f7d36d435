"""Input features and labels of event models.

Events of melodies have the ids 0 no event, 1 note-off, 2 and up note-ons from `min_pitch` up; drums
and performances have other ids. A model reads a vector for each event and predicts a class of the
next one. Several classes can represent an event: its own, and repeats of the event `d` steps ago.
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
# Row k is the mask of the pitch classes of the major key of pitch class k.
MAJOR_KEYS = np.array(
    [[(c - k) % 12 in {0, 2, 4, 5, 7, 9, 11} for c in range(12)] for k in range(KEYS)]
)
RECENT_PITCHES = 3


@dataclasses.dataclass(frozen=True)
class EventEncoding:
    """The encoding of events as input vectors and classes of a model.

    Without `key_features` a vector consists of: the event; the events that would repeat each of
    `distances` at the next step; the counter of the next step, bit i as 1 or -1; and whether the
    event repeated that of each of `distances` ago. Classes are the ids, then one for each distance.

    With `key_features` it consists of: the sounding pitch; whether a note sounds; whether none
    sounds; whether the last event was an onset; whether the melody rises (1) or falls (-1); repeats
    at each of `distances`; the counter; whether the next step begins a bar; the major keys that fit
    most of the notes so far; and those that fit most of the last three pitches. Classes are
    pitches, no event, note-off, then one for each distance.

    With `chords` the chord of the next event precedes the other features.

    Attributes:
        num_ids: Number of event ids N.
        distances: Lookback distances in steps, in ascending order.
        counter_bits: Bits of the step counter.
        key_features: Whether to use the features of keys, for melodies only.
        min_pitch: MIDI pitch of id 2, for features of keys.
        steps_per_bar: Length of a bar in steps, for features of keys.
        chords: Reading of chords, a key of `CHORD_VECTORS`; empty without chords.
        usual_id: The most frequent event, for metrics.
        onset_ids: Lowest and highest id of onsets, for metrics; empty for `FIRST_PITCH_ID` and up.
        shift_ids: Lowest and highest id of time shifts by 1 step, 2 steps and so on; empty if every
            event is a step.
        start_id: The first event of pieces without a primer.
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
        """Width D of an input vector, including the chord."""
        repeats, chord = len(self.distances), self.chord_size
        if self.key_features:
            return chord + self.num_pitches + 4 + repeats + self.counter_bits + 1 + 2 * KEYS
        return chord + self.num_ids * (1 + repeats) + self.counter_bits + repeats

    @property
    def chord_size(self) -> int:
        """Width of the chord in an input vector."""
        return CHORD_VECTORS[self.chords].shape[1] if self.chords else 0

    @property
    def num_classes(self) -> int:
        """Number of classes V."""
        return self.num_ids + len(self.distances)

    @property
    def reach(self) -> int:
        """Number of past events that a vector depends on, including the last one."""
        return max(self.distances, default=0) + 1

    def own_class(self, ids: Any) -> Any:
        """Returns the class of event `ids` that is not a repeat; ints or arrays of any kind."""
        if not self.key_features:
            return ids
        return (ids - FIRST_PITCH_ID) % self.num_ids

    def own_id(self, classes: Any) -> Any:
        """Returns the id of a class below `num_ids`; the inverse of `own_class`."""
        return (classes + FIRST_PITCH_ID) % self.num_ids if self.key_features else classes


class History:
    """The past events of a batch of sequences.

    The cost of adding an event does not depend on the number of past events.

    Args:
        encoding: The encoding of events.
        rows: Number of sequences B.
    """

    def __init__(self, encoding: EventEncoding, rows: int = 1):
        self.encoding = encoding
        self.length = 0
        self._recent = np.full((rows, encoding.reach), -1)  # in order of time; -1 before the start
        self._counts = np.zeros((rows, 12), int)  # note-ons of each pitch class
        self._last_pitches = np.full((rows, RECENT_PITCHES), -1)  # distinct pitches, the last first
        self._sounding = np.full(rows, -1)
        self._attack = np.zeros(rows, bool)
        self._direction = np.zeros(rows, int)

    def add(self, ids: Events, chords: Events | None = None) -> np.ndarray:
        """Adds the next event of each sequence and returns the next input vectors.

        Args:
            ids: Int (B,).
            chords: Chord ids int (B,) of the following events, if the encoding has chords.

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
        """Returns the events (B,) `distance` before the next; no event before the start."""
        return np.maximum(self._recent[:, -distance], NO_EVENT_ID)

    def classes(self, ids: Events) -> np.ndarray:
        """Returns the label (B,) for the next events `ids` (B,).

        The farthest repeat takes precedence. Before the start, no event counts as a repeat.
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
        """Returns the next event (B,) of each of `classes` (B,)."""
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
    """Returns the input vectors and the labels of a whole sequence.

    Args:
        encoding: The encoding of events.
        ids: Event ids int (T,).
        chords: Chord ids int (T,) of the events, if the encoding has chords.

    Returns:
        Input vectors float32 (T - 1, D) of all events except the last, and labels int (T - 1,) of
        all events except the first.
    """
    history = History(encoding)
    inputs, classes = [], []
    for t, (id, following) in enumerate(itertools.pairwise(ids), start=1):
        inputs.append(history.add([id], None if chords is None else [chords[t]])[0])
        classes.append(history.classes([following])[0])
    return np.reshape(inputs, (-1, encoding.input_size)), np.array(classes, int)


def best_keys(counts: np.ndarray) -> np.ndarray:
    """Returns the mask bool (B, 12) of the major keys that contain most of the notes.

    Tied keys are all true.

    Args:
        counts: Number of notes of each pitch class, int (B, 12).
    """
    fitting = counts @ MAJOR_KEYS.T.astype(int)
    return fitting == fitting.max(axis=1, keepdims=True)


def _one_hot(values: np.ndarray, size: int) -> np.ndarray:
    """Returns one-hots int (B, size); zeros for values out of range."""
    return (values[:, None] == np.arange(size)).astype(int)

"""Input vectors and labels of event models in NumPy, as a reference for those in TensorFlow."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import ArrayLike

from magenta_lite.converters.event_sequences.chord_ids import CHORD_VECTORS
from magenta_lite.converters.event_sequences.encodings import (
    RECENT_PITCHES,
    EventEncoding,
    best_keys,
)
from magenta_lite.converters.melody import FIRST_PITCH_ID, NO_EVENT_ID, NOTE_OFF_ID
from magenta_lite.typing import Events


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


def _one_hot(values: np.ndarray, size: int) -> np.ndarray:
    """Returns one-hots int (B, size); zeros for values out of range."""
    return (values[:, None] == np.arange(size)).astype(int)

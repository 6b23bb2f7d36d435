"""Input features and labels of event models.

Events of melodies have the ids 0 no event, 1 note-off, 2 and up note-ons from `min_pitch` up; drums
and performances have other ids. A model reads a vector for each event and predicts a class of the
next one. Several classes can represent an event: its own, and repeats of the event `d` steps ago.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from magenta_lite.converters.event_sequences.chord_ids import CHORD_VECTORS
from magenta_lite.converters.melody import FIRST_PITCH_ID, NO_EVENT_ID

KEYS = 12
RECENT_PITCHES = 3
# Row k is the mask of the pitch classes of the major key of pitch class k.
MAJOR_KEYS = np.array(
    [[(c - k) % 12 in {0, 2, 4, 5, 7, 9, 11} for c in range(12)] for k in range(KEYS)]
)


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
        note_off_ids: Lowest and highest id of the note-offs of the same pitches as `onset_ids`;
            empty without them.
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
    note_off_ids: tuple[int, ...] = ()
    shift_ids: tuple[int, ...] = ()
    start_id: int = FIRST_PITCH_ID

    def __post_init__(self) -> None:
        for name in ("distances", "onset_ids", "note_off_ids", "shift_ids"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.onset_ids:
            object.__setattr__(self, "onset_ids", (FIRST_PITCH_ID, self.num_ids - 1))

    @property
    def num_pitches(self) -> int:
        """Number of note-on ids."""
        return self.num_ids - FIRST_PITCH_ID

    @property
    def held_notes(self) -> int:
        """Number of pitches that sound from their note-on to their note-off."""
        first, last = self.note_off_ids or (0, -1)
        return last - first + 1

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


def best_keys(counts: np.ndarray) -> np.ndarray:
    """Returns the mask bool (B, 12) of the major keys that contain most of the notes.

    Tied keys are all true. `counts` are the numbers of notes of each pitch class, int (B, 12).
    """
    fitting = counts @ MAJOR_KEYS.T.astype(int)
    return fitting == fitting.max(axis=1, keepdims=True)

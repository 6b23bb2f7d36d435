"""Estimates the chords of a tune: a major or minor triad for each half bar of 4/4."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

HALF_BAR = 8  # steps; a step is a 16th note

NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")

# Semitones above the tonic in the major and the natural minor scale.
MAJOR = (0, 2, 4, 5, 7, 9, 11)
MINOR = (0, 2, 3, 5, 7, 8, 10)

# Scores of pitch classes, relative to the root, for a major and a minor triad. The minor seventh
# suggests a dominant; other non-chord tones are passing notes or belong to another chord.
_MAJOR_FIT = (1.0, -0.7, -0.3, -0.8, 0.9, -0.4, -0.8, 0.8, -0.8, -0.3, 0.3, -0.5)
_MINOR_FIT = (1.0, -0.7, -0.3, 0.9, -0.8, -0.4, -0.8, 0.8, -0.5, -0.4, -0.2, -0.8)

# Prior scores of triads (semitones above the tonic, is minor) in a major and a minor key. Many
# tunes are in church modes, so the major triad on the flat seventh is in both.
_UNUSUAL = -0.9
_IN_MAJOR = {
    **{(0, 0): 0.45, (7, 0): 0.35, (5, 0): 0.25, (10, 0): -0.2},
    **{(9, 1): 0.1, (2, 1): 0.1, (4, 1): -0.2, (2, 0): -0.3},
}
_IN_MINOR = {
    **{(0, 1): 0.45, (7, 0): 0.25, (5, 1): 0.2, (10, 0): 0.25, (3, 0): 0.15, (8, 0): 0.1},
    **{(7, 1): 0.1, (5, 0): 0.0, (2, 1): -0.3},
}

# Key profiles of Krumhansl and Kessler (1982).
_MAJOR_PROFILE = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR_PROFILE = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)

_EMPTY_IS_NEUTRAL = 1e-9
_STAY_IN_BAR = 0.35
_STAY = 0.05
_FIFTH_DOWN = 0.15  # descending fifth of the roots, as from dominant to tonic
_AT_HOME = 0.6  # tonic at the beginning and the end


class Span(NamedTuple):
    """A note: MIDI pitch 0-127, start and end in steps."""

    pitch: int
    start: float
    end: float


class Key(NamedTuple):
    """A key: pitch class of the tonic, and whether it is minor."""

    tonic: int
    minor: bool

    @property
    def scale(self) -> tuple[int, ...]:
        """Pitch classes of the key."""
        return tuple((self.tonic + step) % 12 for step in (MINOR if self.minor else MAJOR))


class Triad(NamedTuple):
    """A chord: pitch class of the root, and whether it is minor."""

    root: int
    minor: bool

    @property
    def symbol(self) -> str:
        """Chord symbol, e.g. `F#m`."""
        return NAMES[self.root] + ("m" if self.minor else "")


TRIADS = tuple(Triad(root, minor) for minor in (False, True) for root in range(12))


def guess_key(notes: Sequence[Span]) -> Key:
    """Returns the key whose profile correlates best with the durations of the pitch classes.

    The last note counts as evidence for the tonic.
    """
    weights = _weights(notes, 1, 1e9)[0]
    last = max(notes, key=lambda note: (note.end, -note.pitch))
    weights[last.pitch % 12] += 0.15 * weights.sum()
    keys = [Key(tonic, minor) for minor in (False, True) for tonic in range(12)]
    profiles = [np.roll(_MINOR_PROFILE if key.minor else _MAJOR_PROFILE, key.tonic) for key in keys]
    fits = np.corrcoef([weights, *profiles])[0, 1:]
    return keys[int(np.nanargmax(fits))] if np.isfinite(fits).any() else Key(last.pitch % 12, False)


def guess_chords(notes: Sequence[Span], half_bars: int, key: Key) -> list[Triad]:
    """Returns the most plausible chord of each half bar, by Viterbi decoding over 24 triads.

    Notes are weighted by duration and by the beat on which they start. Common chords of the key,
    chords that last a bar, and descending fifths are preferred.

    Args:
        notes: Notes of the melody, or of all voices.
        half_bars: Number H of half bars.
        key: The key, e.g. from `guess_key`.

    Returns:
        H triads.
    """
    weights = _weights(notes, half_bars, HALF_BAR)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1.0)  # a full half bar is 1
    scores = 1.5 * weights @ _fits().T + _prior(key)  # (H, 24)
    home = TRIADS.index(Triad(*key))
    scores[0, home] += _AT_HOME
    scores[-1, home] += _AT_HOME
    return [TRIADS[i] for i in _best_path(scores)]


def _weights(notes: Sequence[Span], parts: int, steps: float) -> np.ndarray:
    """Returns the weighted duration of each pitch class in parts of `steps` steps: (parts, 12)."""
    weights = np.zeros((parts, 12))
    for note in notes:
        accent = 1.3 if note.start % 4 == 0 else 1.0
        for part in range(int(note.start // steps), min(int(note.end // steps) + 1, parts)):
            overlap = min(note.end, (part + 1) * steps) - max(note.start, part * steps)
            if overlap > _EMPTY_IS_NEUTRAL:
                weights[part, note.pitch % 12] += accent * overlap / HALF_BAR
    return weights


def _fits() -> np.ndarray:
    """Returns the score of each pitch class for each triad: (24, 12)."""
    rows = [np.roll(_MINOR_FIT if triad.minor else _MAJOR_FIT, triad.root) for triad in TRIADS]
    return np.stack(rows)


def _prior(key: Key) -> np.ndarray:
    """Returns the prior score of each triad in `key`: (24,)."""
    usual = _IN_MINOR if key.minor else _IN_MAJOR
    return np.array(
        [usual.get(((t.root - key.tonic) % 12, int(t.minor)), _UNUSUAL) for t in TRIADS]
    )


def _best_path(scores: np.ndarray) -> list[int]:
    """Returns the Viterbi path through `scores` (H, 24): a column per row."""
    roots = np.array([triad.root for triad in TRIADS])
    moves = _FIFTH_DOWN * ((roots[:, None] - roots[None, :]) % 12 == 7)
    same = np.eye(len(TRIADS))
    best = scores[0]
    came_from = []
    for i, row in enumerate(scores[1:], start=1):
        total = best[:, None] + moves + same * (_STAY_IN_BAR if i % 2 else _STAY)
        came_from.append(total.argmax(axis=0))
        best = total.max(axis=0) + row
    path = [int(best.argmax())]
    for back in reversed(came_from):
        path.append(int(back[path[-1]]))
    return path[::-1]

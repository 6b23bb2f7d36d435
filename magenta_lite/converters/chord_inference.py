"""Inference of chords from notes, with the results of note_seq's `chord_inference`.

A hidden Markov model of a key and a chord in each frame of time; the Viterbi algorithm finds the
likeliest sequence. Transitions to another key do not depend on the former key and chord, so that
each frame compares 12 x 97 x 97 transitions instead of 1,164 x 1,164.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import NamedTuple

import numpy as np

from magenta_lite.converters.score import NoteArrays

KEYS = 12
MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)
ROOT_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
# Semitones above the root by kind of chord.
KINDS = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "+": (0, 4, 8),
    "dim": (0, 3, 6),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "m7": (0, 3, 7, 10),
    "m7b5": (0, 3, 6, 10),
}
SYMBOLS = ("N.C.", *(root + kind for root, kind in itertools.product(ROOT_NAMES, KINDS)))
CHORDS = len(SYMBOLS)
UNPITCHED_PROGRAMS = (*range(96, 104), *range(112, 128))  # effects and percussion
MOST_FRAMES = 1000

KEY_CHANGE, CHORD_CHANGE = 0.001, 0.5  # probabilities in a frame
OUT_OF_KEY = 0.01  # probability that a pitch of a chord is not in the key
CONCENTRATION = 100.0  # of the pitches of a frame on those of its chord


class Model(NamedTuple):
    """Constants of the model.

    Attributes:
        pitches: Unit vector of the pitch classes of each chord, float (97, 12).
        first: Log-probability of each chord in each key, float (12, 97).
        within: Log-probability of the transition to a chord of the same key from each of its
            chords, float (12, 97, 97): key, chord, earlier chord.
        arrivals: The different log-probabilities of a chord after a change of key, float (A,).
        arrival: Index in `arrivals` of each chord in each key, int (12, 97).
    """

    pitches: np.ndarray
    first: np.ndarray
    within: np.ndarray
    arrivals: np.ndarray
    arrival: np.ndarray


@functools.cache
def model() -> Model:
    """Returns the constants of the model."""
    contained = np.zeros((CHORDS, KEYS), bool)
    for chord, (root, kind) in enumerate(itertools.product(range(KEYS), KINDS.values()), start=1):
        contained[chord, [(root + interval) % KEYS for interval in kind]] = True
    scales = np.zeros((KEYS, KEYS), bool)
    for key in range(KEYS):
        scales[key, [(key + interval) % KEYS for interval in MAJOR_SCALE]] = True
    inside = (scales[:, None] & contained).sum(axis=2)
    outside = (~scales[:, None] & contained).sum(axis=2)
    chances = (1 - OUT_OF_KEY) ** inside * OUT_OF_KEY**outside
    chances /= chances.sum(axis=1)[:, None]

    # A chord that changes shares its own probability among the other chords.
    change = CHORD_CHANGE * (chances[:, :, None] + chances[:, None] / (CHORDS - 1))
    within = (1 - KEY_CHANGE) * change
    same = np.arange(CHORDS)
    within[:, same, same] = (1 - KEY_CHANGE) * (1 - CHORD_CHANGE)
    arrivals, arrival = np.unique(np.log(KEY_CHANGE / 11 * chances), return_inverse=True)

    pitches = contained.astype(float)
    pitches[1:] /= np.linalg.norm(pitches[1:], axis=1)[:, None]
    return Model(pitches, np.log(chances), np.log(within), arrivals, arrival.reshape(KEYS, CHORDS))


def infer(notes: NoteArrays, seconds: float) -> list[str]:
    """Returns the likeliest chord symbols of frames of `seconds`, up to the end of the last note.

    Raises:
        ValueError: If there are no frames, or more than `MOST_FRAMES`, with the reason.
    """
    frames = math.ceil(notes.end.max(initial=0.0) / seconds)
    if frames == 0:
        raise ValueError("piece of no length, which has no chords")
    if frames > MOST_FRAMES:
        raise ValueError("piece that is too long to infer its chords")
    vectors = pitch_vectors(notes, seconds, frames)
    states = viterbi(CONCENTRATION * np.dot(vectors, model().pitches.T))
    return [SYMBOLS[state % CHORDS] for state in states]


def pitch_vectors(notes: NoteArrays, seconds: float, frames: int) -> np.ndarray:
    """Returns the durations of the pitch classes in each frame, as unit vectors (frames, 12)."""
    notes = notes[~notes.is_drum & ~np.isin(notes.program, UNPITCHED_PROGRAMS)]
    lines = seconds * np.arange(1, frames)  # between the frames
    first = np.searchsorted(lines, notes.start, side="right")
    last = np.maximum(np.searchsorted(lines, notes.end, side="left"), first)
    counts = last - first + 1
    note = np.repeat(np.arange(len(notes)), counts)
    frame = np.arange(len(note)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    edges = np.concatenate([[0.0], lines, [math.inf]])
    begins = np.where(frame == first[note], notes.start[note], edges[frame])
    ends = np.where(frame == last[note], notes.end[note], edges[frame + 1])
    cells = frame * KEYS + notes.pitch[note] % KEYS
    # Adds the notes in their order, on which the last digits depend.
    sums = np.bincount(cells, ends - begins, minlength=frames * KEYS).reshape(frames, KEYS)
    norms = np.linalg.norm(sums, axis=1)
    sums[norms > 0] /= norms[norms > 0, None]
    return sums


def viterbi(loglik: np.ndarray) -> list[int]:
    """Returns the likeliest states (F,), 97 times the key plus the chord.

    Of equally likely former states the first one is taken, with sums rounded as in note_seq.

    Args:
        loglik: Log-likelihood of the notes of each frame under each chord, float (F, 97).
    """
    constants = model()
    best = -np.log(KEYS) + constants.first + loglik[0]  # (12, 97)
    parents = np.zeros((len(loglik), KEYS, CHORDS), int)
    offset = np.arange(KEYS)[:, None] * CHORDS
    own_keys = np.eye(KEYS, dtype=bool)
    for frame in range(1, len(loglik)):
        stay = constants.within + best[:, None]  # (12, 97, 97)
        stay_from = stay.argmax(axis=2)
        stayed = np.take_along_axis(stay, stay_from[..., None], axis=2)[..., 0]
        stay_from += offset

        moves = constants.arrivals[:, None, None] + best  # (A, 12, 97)
        by_key = np.where(own_keys[:, None], -np.inf, moves.max(axis=2))  # (12, A, 12)
        former = by_key.argmax(axis=2)  # (12, A)
        move_from = former * CHORDS + moves.argmax(axis=2)[np.arange(former.shape[1]), former]
        move = np.take_along_axis(by_key, former[..., None], axis=2)[..., 0]
        moved = np.take_along_axis(move, constants.arrival, axis=1)  # (12, 97)
        move_from = np.take_along_axis(move_from, constants.arrival, axis=1)

        moves_on = (moved > stayed) | ((moved == stayed) & (move_from < stay_from))
        parents[frame] = np.where(moves_on, move_from, stay_from)
        best = np.where(moves_on, moved, stayed) + loglik[frame]
    states = [int(best.argmax())]
    for frame in range(len(loglik) - 1, 0, -1):
        states.append(int(parents[frame].flat[states[-1]]))
    return states[::-1]

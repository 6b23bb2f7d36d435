"""Chords of a melody as ids, and their input vectors.

An id is a class (0 no chord, then 12 roots, C to B, of each of `KINDS`) plus 256 for each semitone
from the root up to the bass. Stored examples contain the class only, which fits into a byte.
"""

from __future__ import annotations

import functools

import numpy as np

from magenta_lite.converters.chord_symbols import NO_CHORD_SYMBOL
from magenta_lite.converters.chords import NO_CHORD, ROOTS, TRIADS, canonical, chord_class

# Semitones above the root. The first four are `TRIADS`, whose classes both readings share.
KINDS = (
    (0, 4, 7),
    (0, 3, 7),
    (0, 4, 8),
    (0, 3, 6),
    (0, 4, 7, 10),
    (0, 4, 7, 11),
    (0, 3, 7, 10),
    (0, 3, 7, 11),
    (0, 3, 6, 10),
    (0, 3, 6, 9),
    (0, 4, 8, 10),
    (0, 4, 7, 9),
    (0, 3, 7, 9),
    (0, 5, 7),
    (0, 2, 7),
    (0, 5, 7, 10),
    (0, 2, 4, 7),
    (0, 2, 4, 7, 10),
    (0, 2, 3, 7, 10),
    (0, 2, 4, 7, 11),
    (0, 7),
)
CLASSES = 256  # ids of one bass, the values of a byte; not all are used


def _pitch_vectors() -> np.ndarray:
    """Returns the vector of each id: no chord, root, pitches and bass."""
    vectors = np.zeros((ROOTS * CLASSES, 1 + 3 * ROOTS), np.uint8)
    vectors[:, 0] = 1
    for kind, intervals in enumerate(KINDS):
        for root in range(ROOTS):
            chord = 1 + kind * ROOTS + root
            for above in range(ROOTS):
                vector = vectors[chord + above * CLASSES]
                vector[0] = 0
                vector[1 + root] = 1
                vector[[1 + ROOTS + (root + interval) % ROOTS for interval in intervals]] = 1
                vector[1 + 2 * ROOTS + (root + above) % ROOTS] = 1
    return vectors


# The uint8 vector of each id, by reading. `triads`: one-hot of 49 classes, without sevenths and
# bass. `pitches`: root, all pitches and bass.
CHORD_VECTORS = {
    "triads": np.eye(1 + len(TRIADS) * ROOTS, dtype=np.uint8),
    "pitches": _pitch_vectors(),
}


def chord_id(symbol: str, reading: str) -> int:
    """Returns the id of a chord symbol such as `Am7`, `C/E` or `N.C.`.

    The reading is a key of `CHORD_VECTORS`. For `pitches`, unknown chords are mapped to the kind
    with the fewest different pitches.

    Raises:
        UnusableChords: If it cannot be read, or has no class for `triads`.
    """
    return chord_class(symbol) if reading == "triads" else _id_of_pitches(symbol)


def stored_class(symbol: str, reading: str) -> int:
    """Returns the class of a chord symbol, without its bass; see `chord_id`."""
    return chord_id(symbol, reading) % CLASSES


@functools.lru_cache(maxsize=4096)
def _id_of_pitches(symbol: str) -> int:
    from note_seq import chord_symbols_lib

    if (symbol := canonical(symbol)) == NO_CHORD_SYMBOL:
        return NO_CHORD
    root = chord_symbols_lib.chord_symbol_root(symbol)
    pitches = chord_symbols_lib.chord_symbol_pitches(symbol)
    bass = chord_symbols_lib.chord_symbol_bass(symbol)
    intervals = {(pitch - root) % ROOTS for pitch in pitches}
    different = [len(intervals.symmetric_difference(kind)) for kind in KINDS]
    kind = different.index(min(different))
    return 1 + kind * ROOTS + root + CLASSES * ((bass - root) % ROOTS)

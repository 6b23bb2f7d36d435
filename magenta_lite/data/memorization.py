"""Memorization: the longest passage that a generated piece shares with the training set.

A piece is compared by its contour, a number for each note that is the same in every key.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

FACTOR = np.uint64(0x9E3779B97F4A7C15)
INVERSE = np.uint64(pow(int(FACTOR), -1, 2**64))


class Passage(NamedTuple):
    """A passage of a piece, from contour number `start` on, that the training example `row` has."""

    start: int
    length: int
    row: int


def report(converter: Any, sequences: list, examples: Any) -> Iterator[str]:
    """Yields a line per NoteSequence about its longest passage in the training set, in any key.

    Pieces and examples are compared by the `contour` of the converter.
    """
    pairs = zip(examples.events, examples.lengths, strict=True)
    rows = [converter.contour(events[:length]) for events, length in pairs]
    for i, sequence in enumerate(sequences, start=1):
        found = longest_shared(converter.contour(sequence), rows)
        name = examples.pieces[found.row] if examples.pieces else f"example {found.row}"
        place = f", in {name}" if found.length else ""
        yield f"Piece {i}: {found.length} notes in a row are also in the training set{place}"


def longest_shared(piece: np.ndarray, rows: list[np.ndarray]) -> Passage:
    """Returns the longest passage that a piece shares with any row, of length 0 if there is none.

    Args:
        piece: Contour, int (T,).
        rows: Contours of the training examples, int (T,) each.
    """
    joined = np.concatenate(rows).astype(np.uint64)
    row_of = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    found, low, high = Passage(0, 0, 0), 0, min(len(piece), max(len(row) for row in rows))
    # A shared passage of n numbers contains one of n - 1, so the length can be bisected.
    while low < high:
        length = (low + high + 1) // 2
        at = _first_match(piece.astype(np.uint64), joined, row_of, length)
        if at is None:
            high = length - 1
        else:
            found, low = at, length
    return found


def _first_match(piece, joined, row_of, length: int) -> Passage | None:
    """Returns the first shared passage of `length` numbers; None if there is none."""
    hashes, known = _hashes(piece, length), _hashes(joined, length)
    known[row_of[: len(known)] != row_of[length - 1 :]] = 0  # no passage spans two rows
    for start in np.flatnonzero(np.isin(hashes, known)):
        for match in np.flatnonzero(known == hashes[start]):
            same = joined[match : match + length] == piece[start : start + length]
            if same.all() and row_of[match] == row_of[match + length - 1]:
                return Passage(int(start), length, int(row_of[match]))
    return None


def _hashes(numbers, length: int):
    """Returns rolling hashes of every `length` consecutive numbers, uint64 (T - length + 1,)."""
    size = len(numbers)
    with np.errstate(over="ignore"):
        powers = np.cumprod(np.full(size, FACTOR), dtype=np.uint64)
        sums = np.cumsum((numbers + np.uint64(1)) * powers, dtype=np.uint64)
        runs = sums[length - 1 :] - np.concatenate([[np.uint64(0)], sums[:-length]])
        # Shifts every hash to position 0: the factor is odd and so has an inverse modulo 2 ** 64.
        return runs * np.cumprod(np.full(len(runs), INVERSE), dtype=np.uint64)

"""How much of a piece stands in the training set, too: the longest passage that both have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

FACTOR = np.uint64(0x9E3779B97F4A7C15)
INVERSE = np.uint64(pow(int(FACTOR), -1, 2**64))


class Passage(NamedTuple):
    """A passage of a piece.

    Attributes:
        start: Its first number.
        length: How many.
        row: Of the training set in which it stands.
    """

    start: int
    length: int
    row: int


def report(converter: Any, sequences: list, examples: Any) -> Iterator[str]:
    """Yields a line for each NoteSequence: what of it stands in the training set, in any key.

    Args:
        converter: With `contour`, a number for each note of a piece or of an example.
        sequences: NoteSequences.
        examples: A `collections.Examples`.
    """
    pairs = zip(examples.events, examples.lengths, strict=True)
    rows = [converter.contour(events[:length]) for events, length in pairs]
    for i, sequence in enumerate(sequences, start=1):
        found = longest_shared(converter.contour(sequence), rows)
        name = examples.pieces[found.row] if examples.pieces else f"example {found.row}"
        share = f", of {name}" if found.length else ""
        yield f"Piece {i}: {found.length} notes in a row stand in the training set, too{share}"


def longest_shared(piece: np.ndarray, rows: list[np.ndarray]) -> Passage:
    """Returns the longest run of numbers of a piece that stands in a row as well.

    Args:
        piece: Int (T,).
        rows: Int (T,) each.

    Returns:
        The passage; its length is 0 if they have no number in common.
    """
    joined = np.concatenate(rows).astype(np.uint64)
    row_of = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    found, low, high = Passage(0, 0, 0), 0, min(len(piece), max(len(row) for row in rows))
    # A passage of n that both have holds one of n - 1.
    while low < high:
        length = (low + high + 1) // 2
        at = _first_shared(piece.astype(np.uint64), joined, row_of, length)
        if at is None:
            high = length - 1
        else:
            found, low = at, length
    return found


def _first_shared(piece, joined, row_of, length: int) -> Passage | None:
    mine, theirs = _hashes(piece, length), _hashes(joined, length)
    theirs[row_of[: len(theirs)] != row_of[length - 1 :]] = 0  # none goes over the end of a row
    for start in np.flatnonzero(np.isin(mine, theirs)):
        for place in np.flatnonzero(theirs == mine[start]):
            same = joined[place : place + length] == piece[start : start + length]
            if same.all() and row_of[place] == row_of[place + length - 1]:
                return Passage(int(start), length, int(row_of[place]))
    return None


def _hashes(numbers, length: int):
    """Returns a hash of every run of `length` numbers (T - length + 1,), modulo 2 ** 64."""
    size = len(numbers)
    with np.errstate(over="ignore"):
        powers = np.cumprod(np.full(size, FACTOR), dtype=np.uint64)
        sums = np.cumsum((numbers + np.uint64(1)) * powers, dtype=np.uint64)
        runs = sums[length - 1 :] - np.concatenate([[np.uint64(0)], sums[:-length]])
        # As if every run began at the front: the factor is odd, so it can be divided by.
        return runs * np.cumprod(np.full(len(runs), INVERSE), dtype=np.uint64)

"""Memorization: the longest passage that a generated piece shares with the training set.

A piece is compared by its contour, a number for each note that is the same in every key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
    passages = longest_shared([converter.contour(sequence) for sequence in sequences], rows)
    for i, found in enumerate(passages, start=1):
        name = examples.pieces[found.row] if examples.pieces else f"example {found.row}"
        place = f", in {name}" if found.length else ""
        yield f"Piece {i}: {found.length} notes in a row are also in the training set{place}"


def longest_shared(pieces: Sequence[np.ndarray], rows: Sequence[np.ndarray]) -> list[Passage]:
    """Returns the longest passage that each piece shares with any row, of length 0 without one.

    Args:
        pieces: Contours, int (T,) each.
        rows: Contours of the training examples, int (T,) each.
    """
    joined = np.concatenate(rows).astype(np.uint64)
    row_of = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    found = [Passage(0, 0, 0)] * len(pieces)
    # A shared passage of n numbers contains one of n - 1, so the length is found bit by bit, the
    # highest first. The rows are hashed once for all pieces that try the same length.
    longest = max(map(len, rows))
    step = 1 << longest.bit_length()
    while step := step // 2:
        tried = np.array([passage.length + step for passage in found])
        for length in np.unique(tried[tried <= longest]).tolist():
            first_match = _matcher(joined, row_of, length)
            for i in np.flatnonzero(tried == length).tolist():
                found[i] = first_match(pieces[i].astype(np.uint64)) or found[i]
    return found


def _matcher(joined, row_of, length: int) -> Callable[[np.ndarray], Passage | None]:
    """Returns a function that returns the first passage of `length` numbers that a piece shares."""
    known = _hashes(joined, length)
    starts = np.flatnonzero(row_of[: len(known)] == row_of[length - 1 :])  # none spans two rows
    known = known[starts]
    ordered = np.unique(known)  # sorted once; `np.isin` would sort for each piece

    def first_match(piece: np.ndarray) -> Passage | None:
        hashes = _hashes(piece, length)
        at = np.searchsorted(ordered, hashes)
        for start in np.flatnonzero(ordered[np.minimum(at, len(ordered) - 1)] == hashes):
            for match in starts[known == hashes[start]]:
                if (joined[match : match + length] == piece[start : start + length]).all():
                    return Passage(int(start), length, int(row_of[match]))
        return None

    return first_match


def _hashes(numbers, length: int):
    """Returns rolling hashes of every `length` consecutive numbers, uint64 (T - length + 1,)."""
    size = len(numbers)
    with np.errstate(over="ignore"):
        powers = np.cumprod(np.full(size, FACTOR), dtype=np.uint64)
        sums = np.cumsum((numbers + np.uint64(1)) * powers, dtype=np.uint64)
        runs = sums[length - 1 :] - np.concatenate([[np.uint64(0)], sums[:-length]])
        # Shifts every hash to position 0: the factor is odd and so has an inverse modulo 2 ** 64.
        return runs * np.cumprod(np.full(len(runs), INVERSE), dtype=np.uint64)

"""Assigns pieces to splits, and removes duplicate windows.

Duplicates of a piece, in any key, count as one piece: all of them are in the same split. Local
builds and Beam pipelines share these steps.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from magenta_lite.converters.base import Report

SPLITS = ("train", "validation", "test")
TEST_SHARE = 0.05
VALIDATION_SHARE = 0.05

# Numbers of pieces from which on one is held out for validation and one for test. Of fewer pieces,
# training needs all.
PIECES_FOR_VALIDATION = 3
PIECES_FOR_TEST = 6
FEW = 5  # pieces; metrics over fewer pieces are not representative


class Window(NamedTuple):
    """One stored example.

    Attributes:
        place: Indices of source, piece and window, which define the order of a collection.
        piece: Name of the piece.
        events: Bytes of an array (T, *event_shape) of the converter's event_dtype.
        controls: Bytes of the chord classes uint8 (T,); empty without chords.
        split: Official split of the data set; empty if the split follows from `content`.
        train_only: Whether it is dropped if its split is not `train`.
        position: Its first step and the length of the piece in steps; None for independent windows.
        key: Key that all duplicates of the window share; only one split keeps windows of a key.
        content: The `EncodedPiece.content` of its piece.
    """

    place: tuple[int, int, int]
    piece: str
    events: bytes
    controls: bytes = b""
    split: str = ""
    train_only: bool = False
    position: tuple[int, int] | None = None
    key: bytes = b""
    content: bytes = b""


class EncodedPiece(NamedTuple):
    """The examples of one piece.

    Attributes:
        name: Name of the piece.
        split: See `Window`.
        examples: Events, controls and `train_only` of each example; see `Window`.
        keys: The `Window.key` of each example.
        positions: The `Window.position` of each example; None for independent windows.
        facts: Metadata of the piece as JSON values.
    """

    name: str
    split: str
    examples: list[tuple[bytes, bytes, bool]]
    keys: list[bytes]
    positions: list[tuple[int, int]] | None = None
    facts: dict[str, Any] = {}  # noqa: RUF012

    @property
    def content(self) -> bytes:
        """A transposition-invariant hash of the music, the same for all duplicates."""
        return key_of(*sorted(set(self.keys)))


def key_of(*parts: bytes) -> bytes:
    """Returns a 16-byte hash of `parts`."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(b"%d " % len(part) + part)
    return digest.digest()


def piece_hash(name: str) -> int:
    """Returns a 64-bit hash of a piece's name, which decides its split; machine-independent."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big")


def hashes_by_content(pieces: Iterable[EncodedPiece]) -> dict[bytes, int]:
    """Returns the `piece_hash` of each distinct piece without an official split, by its content.

    For duplicates this is their largest hash. The largest hashes are in the training split, so
    that more duplicates can move a piece only into training.
    """
    hashes: dict[bytes, int] = {}
    for piece in pieces:
        if not piece.split:
            content = piece.content
            hashes[content] = max(hashes.get(content, 0), piece_hash(piece.name))
    return hashes


def split_bounds(hashes: Iterable[int]) -> tuple[int, int]:
    """Returns (a, b): pieces with hashes below a are test, below b validation, others train.

    The bounds are fixed fractions of the hash range, so that new pieces do not move old ones. They
    are adjusted where a split would have less than half or more than twice its share of the
    distinct pieces. Of three or more at least one is for validation; of six or more, one for test.
    """
    ranked = sorted(set(hashes))
    n = len(ranked)
    if n < PIECES_FOR_VALIDATION:
        return 0, 0
    least, most = max(1, n // 40), max(1, n // 10)
    test = bisect.bisect_left(ranked, int(TEST_SHARE * 2**64))
    held = bisect.bisect_left(ranked, int((TEST_SHARE + VALIDATION_SHARE) * 2**64))
    test = min(max(test, least), most) if n >= PIECES_FOR_TEST else 0
    held = test + min(max(held - test, least), most)
    return ranked[test], ranked[held]


def split_of(place: int, bounds: tuple[int, int]) -> str:
    """Returns the split of a piece with the hash `place`; `bounds` are from `split_bounds`."""
    return "test" if place < bounds[0] else "validation" if place < bounds[1] else "train"


def split_of_window(window: Window, hashes: dict[bytes, int], bounds: tuple[int, int]) -> str:
    """Returns the official split of a window, or the one by `hashes_by_content`."""
    return window.split or split_of(hashes[window.content], bounds)


def settle(windows: Iterable[tuple[str, Window]]) -> tuple[str, list[Window], Report]:
    """Decides which of the windows with the same `key` are stored, and in which split.

    Only one split keeps windows: training before test before validation. Of identical windows in
    that split the first is kept.

    Returns:
        The split, its windows in order, and a report of the dropped windows.
    """
    windows = [pair for pair in windows if pair[0] == "train" or not pair[1].train_only]
    windows = sorted(windows, key=lambda pair: pair[1].place)
    present = {split for split, _ in windows}
    winner = next((s for s in ("train", "test", "validation") if s in present), "train")
    kept: dict[tuple, Window] = {}
    report = Report()
    for split, window in windows:
        if split != winner:
            continue
        if kept.setdefault(_numbers(window), window) is not window:
            report.drop("same window again in the split", window.piece)
    for split, window in windows:
        if split != winner:
            moved = _numbers(window) not in kept
            reason = f"{split} window that {winner} has too" + (", in some key" if moved else "")
            report.drop(reason, window.piece)
    return winner, list(kept.values()), report


def _numbers(window: Window) -> tuple:
    return window.events, window.controls, window.position


def few_held_out(split: str, pieces: Iterable[str] | None) -> str:
    """Returns a warning if a held-out split has too few pieces for meaningful metrics, or "".

    `pieces` has the piece of each of its windows; None if unknown.
    """
    names = set(pieces or ())
    if not names or len(names) >= FEW:
        return ""
    count = "one piece" if len(names) == 1 else f"{len(names)} pieces"
    return f"The {split} split is {count}: its metrics say little about other music"

"""Which pieces are held out, and which of the windows that are the same music are stored.

Copies of a piece, in whatever key, count as one piece: they are held out together or not at all.
The local builds and those on Beam share these steps.
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

# Of so many pieces one is held out for validation, of so many another one for test: with fewer,
# the pieces are worth more in training than the measurement.
PIECES_FOR_VALIDATION = 3
PIECES_FOR_TEST = 6
FEW = 5  # pieces; the numbers of fewer are those of single pieces


class Window(NamedTuple):
    """One stored example.

    Attributes:
        place: Numbers of source, piece and window: the stable order of a collection.
        piece: Name of the piece it comes from.
        events: The converter's numbers, the bytes of an array (T, *event_shape) of its event_dtype.
        controls: The bytes of its chord classes uint8 (T,); empty without chords.
        split: Its split where the data set says so; empty: by `content`.
        train_only: Whether it is left out where its split is not `train`.
        position: Its first step and the steps of the piece, where pieces are kept whole.
        key: What it has in common with all windows that are the same music: one split keeps any.
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
    """What one piece gave.

    Attributes:
        name: Of the piece.
        split: As in a `Window`.
        examples: Events, controls and `train_only`, as in a `Window`.
        keys: The `Window.key` of each example.
        positions: As in a `Window`; None where windows stand for themselves.
        facts: What is kept beside the examples, as plain JSON values.
    """

    name: str
    split: str
    examples: list[tuple[bytes, bytes, bool]]
    keys: list[bytes]
    positions: list[tuple[int, int]] | None = None
    facts: dict[str, Any] = {}  # noqa: RUF012

    @property
    def content(self) -> bytes:
        """What it has in common with its copies: a hash of all its music, whatever its key."""
        return key_of(*sorted(set(self.keys)))


def key_of(*parts: bytes) -> bytes:
    """Returns 16 bytes that stand for `parts`."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(b"%d " % len(part) + part)
    return digest.digest()


def piece_hash(name: str) -> int:
    """Returns 64 bits that say where the piece `name` falls; the same on every machine."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big")


def hashes_by_content(pieces: Iterable[EncodedPiece]) -> dict[bytes, int]:
    """Returns where each different piece falls whose split no data set says.

    Of copies the largest `piece_hash` counts. As training has the largest, more copies of a piece
    take it into training if they take it anywhere.
    """
    hashes: dict[bytes, int] = {}
    for piece in pieces:
        if not piece.split:
            content = piece.content
            hashes[content] = max(hashes.get(content, 0), piece_hash(piece.name))
    return hashes


def split_bounds(hashes: Iterable[int]) -> tuple[int, int]:
    """Returns (a, b): hashes below a are test, below b validation, others train.

    The bounds cut off fixed shares of the hash range, so that new pieces do not move old ones,
    unless that would hold out less than half or more than twice its share of the pieces. From
    three pieces on one at least is held out for validation, from six on one for test, too.

    Args:
        hashes: One of each different piece.
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
    """Returns the split of what falls at `place`; `bounds` as from `split_bounds`."""
    return "test" if place < bounds[0] else "validation" if place < bounds[1] else "train"


def split_of_window(window: Window, hashes: dict[bytes, int], bounds: tuple[int, int]) -> str:
    """Returns the split of a window by its data set, else by `hashes_by_content`."""
    return window.split or split_of(hashes[window.content], bounds)


def settle(windows: Iterable[tuple[str, Window]]) -> tuple[str, list[Window], Report]:
    """Decides which of the windows that share one `key` are stored, and where.

    Training goes first, then test, then validation: the others lose theirs. Of equal windows
    inside the split the first is kept.

    Args:
        windows: Pairs of split and window.

    Returns:
        The split, its windows in order, and what was left out.
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
    """Returns a sentence where a held-out split has so few pieces that its numbers say little.

    Args:
        split: `validation` or `test`.
        pieces: The piece of each of its windows; None where that is not known.
    """
    names = set(pieces or ())
    if not names or len(names) >= FEW:
        return ""
    count = "one piece" if len(names) == 1 else f"{len(names)} pieces"
    return f"The {split} split is {count}: its numbers say little about other music"

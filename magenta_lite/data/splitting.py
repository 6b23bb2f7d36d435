"""Assigns pieces to splits, and removes duplicate windows.

Related pieces are in the same split. Local builds and Beam pipelines share these steps.
"""

from __future__ import annotations

import hashlib
import itertools
import statistics
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from magenta_lite.converters.base import Report
from magenta_lite.data import related

SPLITS = ("train", "validation", "test")
TEST_SHARE = 0.05  # of the windows
VALIDATION_SHARE = 0.05

# Numbers of groups of related pieces from which on one is held out for validation and one for test.
# Of fewer groups, training needs all.
GROUPS_FOR_VALIDATION = 3
GROUPS_FOR_TEST = 6
MOST_HELD_OUT = 0.2  # of the groups, in one split
OVERFULL = 1.5  # times the share of a split, beyond which it takes no further group
# Splits end at multiples of this share of the hash range, so that new pieces rarely move old ones.
GRID = 0.02

FEW = 5  # pieces; metrics over fewer pieces are not representative
FEW_WINDOWS = 200  # metrics over fewer windows are imprecise
TRAIN_ONLY = "windows for training only"

PRIORITY = ("train", "test", "validation")  # of the splits, for windows that several have
UNUSED, KEPT, AGAIN, FIRST_LOST = -1, 0, 1, 2  # what `decide` returns
# By what `decide` returns: of windows that another split keeps, by the sum of both indices in
# `PRIORITY`, and whether that split has them in other keys only.
REASONS = (
    "",
    "same window again in the split",
    *(
        f"{split} window that {winner} has too{how}"
        for split, winner in (("test", "train"), ("validation", "train"), ("validation", "test"))
        for how in ("", ", in some key")
    ),
)

# Hashes of the key and of the content of windows, uint64 (N, 2), and the index of their pieces, int
# (N,); all windows of a key are in one of the parts.
WindowParts = Iterable[tuple[np.ndarray, np.ndarray]]


class Window(NamedTuple):
    """One stored example.

    Attributes:
        piece: Name of the piece.
        events: Bytes of an array (T, *event_shape) of the converter's event_dtype.
        controls: Bytes of the chord classes uint8 (T,); empty without chords.
        split: Official split of the data set; empty if `assign` decides.
        train_only: Whether it is dropped if its split is not `train`.
        position: Its first step and the length of the piece in steps; None for independent windows.
    """

    piece: str
    events: bytes
    controls: bytes = b""
    split: str = ""
    train_only: bool = False
    position: tuple[int, int] | None = None


class EncodedPiece(NamedTuple):
    """The examples of one piece.

    Attributes:
        name: Name of the piece.
        split: See `Window`.
        examples: Events, controls and `train_only` of each example; see `Window`.
        keys: Key of each example, which all its duplicates share; only one split keeps windows of a
            key.
        positions: The `Window.position` of each example; None for independent windows.
        facts: Metadata of the piece as JSON values.
        passages: Its `related.passages`.
    """

    name: str
    split: str
    examples: list[tuple[bytes, bytes, bool]]
    keys: list[bytes]
    positions: list[tuple[int, int]] | None = None
    facts: dict[str, Any] = {}  # noqa: RUF012
    passages: np.ndarray = related.NONE

    @property
    def content(self) -> bytes:
        """A transposition-invariant hash of the music, the same for all duplicates."""
        return key_of(*sorted(set(self.keys)))

    @property
    def contents(self) -> list[bytes]:
        """A 16-byte hash of each example and its key; equal windows have the same."""
        contents = [events + controls for events, controls, _ in self.examples]
        if self.positions:  # all windows have one key, and their positions tell them apart
            contents = [b"%d %d" % position for position in self.positions]
        return [key_of(key, content) for key, content in zip(self.keys, contents, strict=True)]


def key_of(*parts: bytes) -> bytes:
    """Returns a 16-byte hash of `parts`."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(b"%d " % len(part) + part)
    return digest.digest()


class Outline(NamedTuple):
    """What decides on the split of a piece.

    Attributes:
        content: The `EncodedPiece.content`.
        order: Two hashes of its name: the piece with the lowest first one represents its group, and
            the second one decides on the split.
        folder: The folder of its file, in the folder of the user; empty if it is in no other.
        passages: Its `related.passages`.
    """

    content: bytes
    order: tuple[int, int]
    folder: str
    passages: related.Passages


def outline(piece: EncodedPiece) -> Outline:
    """Returns the outline of a piece."""
    folder = PurePosixPath(piece.name.partition("#")[0]).parent.as_posix()
    return Outline(
        piece.content,
        (piece_hash(f"order of {piece.name}"), piece_hash(piece.name)),
        "" if folder == "." else folder,
        piece.passages,
    )


def piece_hash(name: str) -> int:
    """Returns a 64-bit hash of a piece's name, which decides its split; machine-independent."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big")


def assign(
    pieces: Sequence[Outline], windows: WindowParts, by_folder: bool = False
) -> dict[bytes, str]:
    """Returns the split of each piece by its content.

    Related pieces, and pieces of the same content, are a group, which is in one split. The groups
    with the smallest hashes are held out, until each held-out split has its share of the different
    windows. Windows that several groups have do not count, because training gets them. A group far
    larger than a split is in training.

    Args:
        pieces: The pieces, in any order.
        windows: The windows of the pieces.
        by_folder: Whether the pieces in one folder are related, instead of those with common
            passages.
    """
    if not pieces:
        return {}
    numbers: dict[bytes, int] = {}  # of each content
    firsts: list[Outline] = []
    owned = np.full(len(pieces), -1)  # number of the content of each piece that is the first of it
    orders: list[tuple[int, int]] = []
    folders: dict[str, int] = {}
    links: list[tuple[int, int]] = []
    ranked = sorted(range(len(pieces)), key=lambda i: (pieces[i].content, pieces[i].order))
    for i in ranked:
        piece = pieces[i]
        number = numbers.setdefault(piece.content, len(numbers))
        if number == len(firsts):
            firsts.append(piece)
            owned[i] = number
            orders.append(piece.order)
        orders[number] = min(orders[number], piece.order)
        if by_folder and piece.folder:
            links.append((number, folders.setdefault(piece.folder, number)))
    passages = [related.NONE if by_folder else piece.passages for piece in firsts]
    groups = related.groups(passages, links)
    order: dict[int, tuple[int, int]] = {}
    for group, place in zip(groups.tolist(), orders, strict=True):
        order[group] = min(order.get(group, place), place)
    # The last entry is of the pieces without a number.
    sizes, total = _own_windows(windows, np.append(groups, -1)[owned], len(groups))
    places = sorted((place, group) for group, (_, place) in order.items())
    splits = _fill([(group, place, sizes[group]) for place, group in places], total)
    return {
        content: splits.get(group, "train")
        for content, group in zip(numbers, groups.tolist(), strict=True)
    }


def _own_windows(windows: WindowParts, groups: np.ndarray, count: int) -> tuple[np.ndarray, int]:
    """Returns the number of different windows that only one group has, int (N,), and of all.

    Args:
        windows: The windows of all pieces.
        groups: The group of each piece; -1 for pieces that do not count.
        count: N, the number of groups.
    """
    sizes, total = np.zeros(count, int), 0
    for hashes, pieces in windows:
        counted = groups[pieces] >= 0
        hashes, owners = hashes[counted], groups[pieces[counted]]
        several = related.may_recur(hashes[:, 0])
        sizes += np.bincount(owners[~several], minlength=count)
        total += int((~several).sum())
        hashes, owners = hashes[several], owners[several]
        if not len(hashes):
            continue
        order = np.lexsort((owners, hashes[:, 0]))
        hashes, owners = hashes[order], owners[order]
        starts = _starts(hashes[:, :1])
        ends = np.append(starts[1:], len(hashes)) - 1
        single = _spread(owners[starts] == owners[ends], starts, len(hashes))
        _, different = np.unique(hashes[:, 1], return_index=True)
        own = different[single[different]]
        sizes += np.bincount(owners[own], minlength=count)
        total += len(different)
    return sizes, total


def _starts(rows: np.ndarray) -> np.ndarray:
    """Returns the index of the first of each run of equal rows (N, C), int (R,)."""
    return np.flatnonzero(np.append(True, (rows[1:] != rows[:-1]).any(axis=1)))


def _spread(values: np.ndarray, starts: np.ndarray, count: int) -> np.ndarray:
    """Returns the value of the run of each of `count` rows, for one value a run."""
    return np.repeat(values, np.diff(np.append(starts, count)))


def _fill(groups: list[tuple[int, int, int]], total: int) -> dict[int, str]:
    """Returns the held-out groups and their splits.

    Args:
        groups: Number, hash and own windows of each group, by ascending hash.
        total: Number of different windows of all groups.
    """
    groups = [group for group in groups if group[2]]
    if len(groups) < GROUPS_FOR_VALIDATION:
        return {}
    median = statistics.median_low(size for *_, size in groups)
    splits: dict[int, str] = {}
    shares = [("validation", VALIDATION_SHARE)]
    if len(groups) >= GROUPS_FOR_TEST:
        shares.insert(0, ("test", TEST_SHARE))
    left = iter(groups)
    for split, share in shares:
        goal, most = share * total, max(1, int(MOST_HELD_OUT * len(groups)))
        held = taken = 0
        end = 0  # of the split, on the grid
        while taken < most and (group := next(left, None)):
            number, place, size = group
            too_much = held + size > OVERFULL * goal
            if held >= goal and (too_much or place >= end):
                left = itertools.chain([group], left)
                break
            if too_much and (taken or size > median):
                continue
            splits[number], held, taken = split, held + size, taken + 1
            end = (int(place / 2**64 / GRID) + 1) * GRID * 2**64
    return splits


def decide(
    keys: np.ndarray, contents: np.ndarray, splits: np.ndarray, train_only: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Decides which windows are stored.

    Of the windows with the same key, only one split keeps any: training before test before
    validation. Of identical windows in that split the first is kept.

    Args:
        keys: The `EncodedPiece.keys` of each window, in order of their places, uint64 (N, 2).
        contents: Hashes of the content, which tell windows of one key apart, uint64 (N, 2).
        splits: Index in `PRIORITY` of the split of each window, int (N,).
        train_only: See `Window`, bool (N,).

    Returns:
        `KEPT`, the index in `REASONS` of the reason to drop it, or `UNUSED` for a `train_only`
        window of another split, int (N,); and the index of the first window with the same key,
        int (N,).
    """
    decided = np.where((splits == 0) | ~train_only, KEPT, UNUSED)
    groups = np.arange(len(keys))
    several = np.flatnonzero(related.may_recur(keys[:, 0]))
    if len(several):
        decided[several], firsts = _decide_all(
            keys[several], contents[several], splits[several], train_only[several]
        )
        groups[several] = several[firsts]
    return decided, groups


def _decide_all(
    keys: np.ndarray, contents: np.ndarray, splits: np.ndarray, train_only: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Does the same as `decide` for at least one window."""
    count = len(keys)
    order = np.lexsort((contents[:, 1], contents[:, 0], keys[:, 1], keys[:, 0]))  # is stable
    keys, contents, splits = keys[order], contents[order], splits[order]
    same_key, same_window = _starts(keys), _starts(np.concatenate([keys, contents], axis=1))
    used = (splits == 0) | ~train_only[order]
    winners = np.minimum.reduceat(np.where(used, splits, len(SPLITS)), same_key)
    winners = _spread(winners, same_key, count)
    wins = used & (splits == winners)
    firsts = np.minimum.reduceat(np.where(wins, order, count), same_window)
    firsts = _spread(firsts, same_window, count)
    lost = FIRST_LOST + 2 * (splits + winners - 1) + (firsts == count)
    decided = np.select([~used, wins & (order == firsts), wins], [UNUSED, KEPT, AGAIN], lost)
    groups = _spread(np.minimum.reduceat(order, same_key), same_key, count)
    back = np.empty(count, int)
    back[order] = np.arange(count)
    return decided[back], groups[back]


def few_held_out(split: str, pieces: Iterable[str] | None) -> str:
    """Returns a warning if a held-out split has too few pieces for meaningful metrics, or "".

    `pieces` has the piece of each of its windows; None if unknown.
    """
    names = set(pieces or ())
    if not names or len(names) >= FEW:
        return ""
    count = "one piece" if len(names) == 1 else f"{len(names)} pieces"
    return f"The {split} split is {count}: its metrics say little about other music"


def small_validation(sizes: dict[str, int], report: Report) -> str:
    """Returns a warning if the validation split has few windows, with the reason, or "".

    Args:
        sizes: Number of windows of each split.
        report: The report of the build.
    """
    size, total = sizes.get("validation", 0), sum(sizes.values()) - report.kept[TRAIN_ONLY]
    if not size or (size >= FEW_WINDOWS and size >= VALIDATION_SHARE * total):
        return ""
    shared = sum(n for why, n in report.dropped.items() if why.startswith("validation window that"))
    reason = "the other pieces are related to each other, or their split is given"
    if shared > size:
        reason = f"{shared:,} more of its windows are in other splits, too"
    elif size >= VALIDATION_SHARE * total:
        reason = "there are few in all"
    windows = "1 window" if size == 1 else f"{size:,} windows"
    return (
        f"The validation split has {windows}, {size / total:.1%} of all, because {reason}: its "
        "metrics are imprecise"
    )

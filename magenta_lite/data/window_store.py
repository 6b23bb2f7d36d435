"""The windows of a build in temporary files, so that memory does not grow with their number."""

from __future__ import annotations

import dataclasses
import os
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from magenta_lite.converters.base import PLACES_KEPT, Report
from magenta_lite.data import splitting
from magenta_lite.data.splitting import EncodedPiece, Outline, Window

# A window without its bytes: its entries of `EncodedPiece.keys` and `contents`; the number of its
# piece; the offset of its bytes in the file and the sizes of events and controls; the position.
ROW = np.dtype(
    [
        ("key", ">u8", 2),
        ("content", ">u8", 2),
        ("piece", "u4"),
        ("train_only", "?"),
        ("offset", "u8"),
        ("events", "u4"),
        ("controls", "u4"),
        ("position", "i8", 2),
    ]
)
NO_POSITION = -1
READ_ROWS = 2**16  # rows that are read at once
PART_ROWS = 2**20  # rows that are split or settled at once


class PackedPiece(NamedTuple):
    """An `EncodedPiece` in the form in which workers send it.

    Attributes:
        name: Name of the piece.
        split: See `Window`.
        outline: Its `splitting.outline`.
        facts: Metadata of the piece as JSON values.
        rows: `ROW` of each window; offsets count from the first byte of the first one until the
            windows are written.
        windows: Bytes of the events and controls of the windows; empty once they are written.
    """

    name: str
    split: str
    outline: Outline
    facts: dict[str, Any]
    rows: np.ndarray
    windows: list[bytes]


def pack(piece: EncodedPiece) -> PackedPiece:
    """Returns a piece in the form in which workers send it."""
    rows = np.zeros(len(piece.examples), ROW)
    rows["key"] = np.frombuffer(b"".join(piece.keys), ">u8").reshape(-1, 2)
    rows["content"] = np.frombuffer(b"".join(piece.contents), ">u8").reshape(-1, 2)
    rows["events"] = [len(events) for events, _, _ in piece.examples]
    rows["controls"] = [len(controls) for _, controls, _ in piece.examples]
    rows["train_only"] = [train_only for *_, train_only in piece.examples]
    rows["position"] = NO_POSITION if piece.positions is None else piece.positions
    sizes = rows["events"].astype(np.uint64) + rows["controls"]
    rows["offset"] = np.cumsum(sizes) - sizes
    windows = [part for events, controls, _ in piece.examples for part in (events, controls)]
    return PackedPiece(
        piece.name, piece.split, splitting.outline(piece), piece.facts, rows, windows
    )


def unpack(piece: PackedPiece, split: str, stored: np.ndarray) -> Iterator[Window]:
    """Yields the `stored` windows of a packed piece, bool (N,), whose place is their index."""
    for i in np.flatnonzero(stored).tolist():
        row = piece.rows[i]
        first, steps = row["position"].tolist()
        yield Window(
            place=(0, 0, i),
            piece=piece.name,
            events=piece.windows[2 * i],
            controls=piece.windows[2 * i + 1],
            split=split,
            train_only=bool(row["train_only"]),
            position=None if first == NO_POSITION else (first, steps),
        )


class WindowStore:
    """The windows of a build.

    Args:
        folder: Folder of the temporary files, which have no names; None for that of the system.
    """

    def __init__(self, folder: Path | None = None):
        self._windows = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._rows = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._passages = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._writing = threading.Lock()
        self._names: list[str] = []
        self._sources: list[int] = []
        self._splits: list[str] = []  # empty if its outline decides
        self._outlines: list[Outline] = []
        self._count = 0  # of rows
        self._decided = np.zeros(0, np.int8)  # `splitting.decide` of each row
        # Index in `splitting.PRIORITY` of the split of each piece.
        self._of_piece = np.zeros(0, int)

    def write(self, piece: PackedPiece) -> PackedPiece:
        """Writes the bytes of a piece's windows, in any order of the pieces and in any thread."""
        with self._writing:
            start = self._windows.tell()
            self._windows.writelines(piece.windows)
        piece.rows["offset"] += np.uint64(start)
        return piece._replace(windows=[])

    def add(self, piece: PackedPiece, source: int) -> None:
        """Adds a piece whose windows are written, in the order of the pieces.

        Args:
            piece: The piece.
            source: Index of its source.
        """
        piece.rows["piece"] = len(self._names)
        self._rows.write(piece.rows.tobytes())
        self._count += len(piece.rows)
        self._names.append(piece.name)
        self._sources.append(source)
        self._splits.append(piece.split)
        passages = piece.outline.passages
        start = self._passages.tell()
        self._passages.write(passages[:].tobytes())
        stored = StoredPassages(self._passages, start, len(passages))
        self._outlines.append(piece.outline._replace(passages=stored))

    def settle(self, by_folder: bool) -> Report:
        """Decides which windows are stored, and in which split; returns what is left out.

        Args:
            by_folder: See `splitting.assign`.
        """
        for file in (self._windows, self._rows, self._passages):
            file.flush()
        free = [i for i, split in enumerate(self._splits) if not split]
        assigned = splitting.assign(
            [self._outlines[i] for i in free], by_folder, self._hashes(free)
        )
        for i in free:
            self._splits[i] = assigned[self._outlines[i].content]
        self._outlines.clear()
        self._of_piece = np.array([splitting.PRIORITY.index(split) for split in self._splits], int)
        self._decided = np.zeros(self._count, np.int8)
        only = 0
        counts: Counter[int] = Counter()
        places: dict[int, list[tuple[int, int, int]]] = {}  # of each reason: order, and piece
        for index, rows in self._parts():
            decided, groups = splitting.decide(
                rows["key"], rows["content"], self._of_piece[rows["piece"]], rows["train_only"]
            )
            self._decided[index] = decided
            only += int(rows["train_only"][decided == splitting.KEPT].sum())
            for reason in np.unique(decided[decided > splitting.KEPT]).tolist():
                dropped = np.flatnonzero(decided == reason)
                counts[reason] += len(dropped)
                dropped = dropped[np.lexsort((dropped, groups[dropped]))]
                pieces = rows["piece"][dropped]
                first = np.sort(np.unique(pieces, return_index=True)[1])[:PLACES_KEPT]
                places.setdefault(reason, []).extend(
                    zip(
                        index[groups[dropped[first]]].tolist(),
                        index[dropped[first]].tolist(),
                        pieces[first].tolist(),
                        strict=True,
                    )
                )
        return self._report(counts, places, only)

    def _report(self, counts: Counter[int], places: dict[int, Any], only: int) -> Report:
        report = Report()
        for reason in sorted(counts, key=lambda reason: min(places[reason])):
            text = splitting.REASONS[reason]
            names = [self._names[piece] for *_, piece in sorted(places[reason])]
            for name in names:
                report.drop(text, name)
            report.drop(text, n=counts[reason] - len(names))
        if only:
            report.keep(splitting.TRAIN_ONLY, only)
        return report

    def splits(self) -> dict[str, StoredWindows]:
        """Returns the stored windows of each split, in stable order."""
        counts = np.zeros(len(splitting.PRIORITY), int)
        for rows, kept in self._kept():
            counts += np.bincount(self._of_piece[rows["piece"][kept]], minlength=len(counts))
        sizes = dict(zip(splitting.PRIORITY, counts.tolist(), strict=True))
        return {split: StoredWindows(self, split, sizes[split]) for split in splitting.SPLITS}

    def used_sources(self) -> set[int]:
        """Returns the indices of the sources with stored windows."""
        used = np.zeros(len(self._names), bool)
        for rows, kept in self._kept():
            used[rows["piece"][kept]] = True
        return {self._sources[i] for i in np.flatnonzero(used).tolist()}

    def decisions(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yields the split of each piece, and which of its windows are stored, bool (N,)."""
        counts = np.zeros(len(self._names), int)
        for rows in self._chunks():
            counts += np.bincount(rows["piece"], minlength=len(counts))
        stored = np.split(self._decided == splitting.KEPT, np.cumsum(counts))
        yield from zip(self._splits, stored, strict=False)  # nothing is behind the last piece

    def windows(self, split: str) -> Iterator[Window]:
        """Yields the stored windows of a split, in stable order."""
        number = splitting.PRIORITY.index(split)
        start = 0
        for rows, kept in self._kept():
            wanted = np.flatnonzero(kept & (self._of_piece[rows["piece"]] == number))
            for i, row in zip((start + wanted).tolist(), rows[wanted], strict=True):
                piece, size = int(row["piece"]), int(row["events"])
                read = os.pread(
                    self._windows.fileno(), size + int(row["controls"]), int(row["offset"])
                )
                first, steps = row["position"].tolist()
                yield Window(
                    place=(self._sources[piece], piece, i),
                    piece=self._names[piece],
                    events=read[:size],
                    controls=read[size:],
                    split=split,
                    train_only=bool(row["train_only"]),
                    position=None if first == NO_POSITION else (first, steps),
                )
            start += len(rows)

    def _hashes(self, pieces: list[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields the `splitting.WindowParts` of some pieces, by their index in the list."""
        numbers = np.full(len(self._names), -1)
        numbers[pieces] = np.arange(len(pieces))
        for _, rows in self._parts():
            owners = numbers[rows["piece"]]
            counted = (owners >= 0) & ~rows["train_only"]
            hashes = np.stack([rows["key"][:, 0], rows["content"][:, 0]], axis=1)
            yield hashes[counted].astype(np.uint64), owners[counted]

    def _parts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields the rows in parts, and their indices; all rows of a key are in one part."""
        count = -(-self._count // PART_ROWS)
        half = np.uint64(32)
        for part in range(count):
            index, found = [], []
            start = 0
            for rows in self._chunks():
                parts = (rows["key"][:, 0] >> half) * np.uint64(count) >> half
                within = np.flatnonzero(parts == part)
                index.append(start + within)
                found.append(rows[within])
                start += len(rows)
            yield np.concatenate(index), np.concatenate(found)

    def _kept(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields the rows in order, and whether they are stored."""
        start = 0
        for rows in self._chunks():
            yield rows, self._decided[start : start + len(rows)] == splitting.KEPT
            start += len(rows)

    def _chunks(self) -> Iterator[np.ndarray]:
        for start in range(0, self._count, READ_ROWS):
            size = min(READ_ROWS, self._count - start) * ROW.itemsize
            yield np.frombuffer(os.pread(self._rows.fileno(), size, start * ROW.itemsize), ROW)


@dataclasses.dataclass(frozen=True)
class StoredWindows:
    """The windows of one split, which are read again whenever they are iterated over."""

    store: WindowStore
    split: str
    size: int

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Window]:
        return self.store.windows(self.split)


@dataclasses.dataclass(frozen=True)
class StoredPassages:
    """The `related.passages` of a piece, in a file."""

    file: Any
    start: int
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: slice, /) -> np.ndarray:
        first, end, _ = index.indices(self.count)
        read = os.pread(self.file.fileno(), 8 * (end - first), self.start + 8 * first)
        return np.frombuffer(read, np.uint64)

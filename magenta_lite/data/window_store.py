"""The windows of a build in files, so that memory does not grow with their number."""

from __future__ import annotations

import dataclasses
import itertools
import os
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from magenta_lite.converters.base import PLACES_KEPT, EventFormat, Report
from magenta_lite.data import examples, splitting
from magenta_lite.data.examples import RecordWriter
from magenta_lite.data.records import FRAME
from magenta_lite.data.splitting import EncodedPiece, Outline, Window

# A window without its content: its entries of `EncodedPiece.keys` and `contents`; its order in
# `train`; the number of its piece; offset and size of its record in the file; place and size of the
# events, and size of the controls, in the record; the position.
ROW = np.dtype(
    [
        ("key", ">u8", 2),
        ("content", ">u8", 2),
        ("order", ">u8", 2),
        ("piece", "u4"),
        ("train_only", "?"),
        ("offset", "u8"),
        ("size", "u4"),
        ("start", "u4"),
        ("events", "u4"),
        ("controls", "u4"),
        ("position", "i8", 2),
    ]
)
PLACE = ("piece", "train_only", "start", "events", "controls")
NO_POSITION = -1
READ_ROWS = 2**16  # rows that are read at once
PART_ROWS = 2**20  # rows that are split or settled at once
READ_BYTES = 2**26  # records within this size are read at once


class PackedPiece(NamedTuple):
    """An `EncodedPiece` in the form in which workers send it.

    Attributes:
        name: Name of the piece.
        split: See `Window`.
        outline: Its `splitting.outline`.
        facts: Metadata of the piece as JSON values.
        rows: `ROW` of each window; offsets count from the first byte of the first one until the
            records are written.
        records: Bytes of the records of the windows; empty once they are written.
    """

    name: str
    split: str
    outline: Outline
    facts: dict[str, Any]
    rows: np.ndarray
    records: list[bytes]


class PackedFile(NamedTuple):
    """The pieces of a part of a source in the form in which workers send them.

    Attributes:
        pieces: The pieces that have at least one window.
        report: Counts what was kept and dropped.
        number: Index of the part in its source.
        last: Whether the source has no further part.
    """

    pieces: list[PackedPiece]
    report: Report
    number: int
    last: bool


def pack(piece: EncodedPiece, format: EventFormat) -> PackedPiece:
    """Returns a piece in the form in which workers send it."""
    rows = np.zeros(len(piece.examples), ROW)
    writer, records, orders = RecordWriter(format), [], []
    positions = piece.positions or [None] * len(piece.examples)
    for (events, controls, _), position in zip(piece.examples, positions, strict=True):
        window = events, controls, piece.name, position
        records.append(writer.record(*window))
        orders.append(examples.order_of("train", *window))
    for name, hashes in (("key", piece.keys), ("content", piece.contents), ("order", orders)):
        rows[name] = np.frombuffer(b"".join(hashes), ">u8").reshape(-1, 2)
    data = [record.data for record in records]
    rows["size"] = list(map(len, data))
    rows["offset"] = np.cumsum(rows["size"]) - rows["size"]
    rows["start"] = [record.start for record in records]
    rows["events"] = [record.size for record in records]
    rows["controls"] = [len(controls) for _, controls, _ in piece.examples]
    rows["train_only"] = [train_only for *_, train_only in piece.examples]
    rows["position"] = NO_POSITION if piece.positions is None else piece.positions
    return PackedPiece(piece.name, piece.split, splitting.outline(piece), piece.facts, rows, data)


def places_of(rows: np.ndarray) -> np.ndarray:
    """Returns the offset and the size of the records of some rows, uint64 (N, 2)."""
    return np.stack([rows["offset"], rows["size"]], axis=1)


def extent(places: np.ndarray) -> tuple[int, int]:
    """Returns the offsets of the first byte at some places (N, 2), and of that behind them."""
    return int(places[:, 0].min()), int(places.sum(axis=1).max())


def _positions(rows: np.ndarray) -> list[tuple[int, int] | None]:
    """Returns the `Window.position` of some rows; all windows of a data set have one, or none."""
    if not len(rows) or rows["position"][0, 0] == NO_POSITION:
        return [None] * len(rows)
    return list(map(tuple, rows["position"].tolist()))


def unpack(
    piece: PackedPiece, split: str, stored: np.ndarray, format: EventFormat
) -> Iterator[Window]:
    """Yields the `stored` windows of a packed piece, bool (N,), as if each were its first."""
    writer, rows = RecordWriter(format), piece.rows[stored]
    columns: list[Iterable[Any]] = [rows[name].tolist() for name in PLACE[1:]]
    columns.append(_positions(rows))
    records = itertools.compress(piece.records, stored)
    for record, only, start, size, controls, position in zip(records, *columns, strict=True):
        events, controls = writer.read(record, start, size, controls)
        yield Window(piece.name, events, controls, split, only, position)


class WindowStore:
    """The windows of a build.

    Args:
        format: The format of their events.
        folder: Folder of the temporary files, which have no names; None for that of the system.
        records: Open file to which their records are appended; None for a temporary one.
    """

    def __init__(
        self, format: EventFormat, folder: Path | None = None, records: BinaryIO | None = None
    ):
        self._writer = RecordWriter(format)
        self._records = records or tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
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

    def write(self, file: PackedFile) -> PackedFile:
        """Writes the records of a file, in any order of files and in any thread."""
        pieces = []
        with self._writing:
            for piece in file.pieces:
                piece.rows["offset"] += np.uint64(self._records.tell())
                self._records.writelines(piece.records)
                pieces.append(piece._replace(records=[]))
            self._records.flush()
        return file._replace(pieces=pieces)

    def add(self, piece: PackedPiece, source: int) -> None:
        """Adds a piece whose records are written, in the order of the pieces.

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
        self._rows.flush()
        self._passages.flush()
        free = [i for i, split in enumerate(self._splits) if not split]
        outlines = [self._outlines[i] for i in free]
        assigned = splitting.assign(outlines, self._hashes(free), by_folder)
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

    def rows(self, split: str) -> Iterator[np.ndarray]:
        """Yields the `ROW`s of the stored windows of a split, in stable order."""
        number = splitting.PRIORITY.index(split)
        for rows, kept in self._kept():
            yield rows[kept & (self._of_piece[rows["piece"]] == number)]

    def records(self, places: np.ndarray) -> Iterator[bytes]:
        """Yields the records at some places, uint64 (N, 2): offset and size."""
        if not len(places):
            return
        file, (start, end) = self._records.fileno(), extent(places)
        pairs = zip(*places.T.tolist(), strict=True)
        if end - start > READ_BYTES:
            for offset, size in pairs:
                yield os.pread(file, size, offset)
            return
        read = os.pread(file, end - start, start)
        for offset, size in pairs:
            yield read[offset - start : offset - start + size]

    def read(self, rows: np.ndarray, split: str) -> Iterator[Window]:
        """Yields the windows of some rows of a split, as if each were the first of its piece."""
        columns: list[Iterable[Any]] = [rows[name].tolist() for name in PLACE]
        columns.append(_positions(rows))
        records = self.records(places_of(rows))
        for record, piece, only, start, size, controls, position in zip(
            records, *columns, strict=True
        ):
            events, controls = self._writer.read(record, start, size, controls)
            yield Window(self._names[piece], events, controls, split, only, position)

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
        for rows in self.store.rows(self.split):
            yield from self.store.read(rows, self.split)

    @property
    def bytes(self) -> int:
        """Size of their examples, without what surrounds them in a file."""
        sizes = (int(rows["size"].sum()) for rows in self.store.rows(self.split))
        return sum(sizes) - FRAME * self.size

    def records(self) -> Iterator[bytes]:
        """Yields their records in the order in which TFDS writes them.

        Raises:
            ValueError: If two windows have the same `examples.key_of`.
        """
        count, half = np.uint64(-(-self.size // PART_ROWS)), np.uint64(32)
        for part in range(int(count)):
            found, orders = [], []
            for rows in self.store.rows(self.split):
                order = self._order(rows)
                within = (order[:, 0] >> half) * count >> half == part
                found.append(places_of(rows)[within])
                orders.append(order[within])
            order = np.concatenate(orders)
            ranked = np.lexsort((order[:, 1], order[:, 0]))
            order = order[ranked]
            if (order[1:] == order[:-1]).all(axis=1).any():
                raise ValueError(f"Two windows of {self.split} have the same key")
            yield from self.store.records(np.concatenate(found)[ranked])

    def _order(self, rows: np.ndarray) -> np.ndarray:
        """Returns the `examples.order_of` some of the rows, uint64 (N, 2)."""
        if self.split == "train":
            return rows["order"].astype(np.uint64)
        windows = self.store.read(rows, self.split)
        hashes = [
            examples.order_of(self.split, w.events, w.controls, w.piece, w.position)
            for w in windows
        ]
        return np.frombuffer(b"".join(hashes), ">u8").reshape(-1, 2).astype(np.uint64)


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

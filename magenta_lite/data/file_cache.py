"""The encoded files of a source, on disk, so that a build reads only what no build has read yet.

A build that was killed goes on from the files that are done, and one more file costs only itself.
The folder of one source in one encoding has

- `CODE.records`: the records of the windows of all files, in the order in which they were read;
- `CODE.sqlite`: a row for each part of a source (a file; or a file of an archive, and at last what
  else is in the archive), written after its records; what is committed survives SIGKILL;
- `data_sets.json`: the names of the configs that were built with it, the newest one at the end.

CODE is a hash of what decides on the content besides the files: the settings of the converter, the
version of the data set, and the code of this package. Files of another CODE are removed.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from magenta_lite.converters.base import Report
from magenta_lite.data.splitting import Outline
from magenta_lite.data.window_store import ROW, PackedFile, PackedPiece, extent, places_of
from magenta_lite.files import replaced

FOLDER = ".files"  # of the caches of a builder, beside its configs
DATA_SETS = "data_sets.json"
PACKAGE = Path(__file__).parents[1]
ENCODING = ("converters", "data")  # folders of the package whose code decides on what is encoded
COLUMNS = "source, number, last, start, size, pieces, report, rows, passages"
DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


def code_of(settings: Any) -> str:
    """Returns the CODE for settings that are JSON values."""
    text = json.dumps([settings, _hash_of_code()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.cache
def _hash_of_code() -> str:
    digest = hashlib.sha256()
    for folder in ENCODING:
        for path in sorted((PACKAGE / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(PACKAGE)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


class FileCache:
    """The encoded files of one source in one encoding; opened by one process at a time.

    Args:
        folder: Its folder, which is created.
        code: See above.
        data_set: Name of the config that is built with it.
        say: Called with a line if the folder is damaged, and therefore emptied.

    Attributes:
        records: The open file of the records.

    Raises:
        OSError: If the folder cannot be written, as the methods do.
    """

    def __init__(self, folder: Path, code: str, data_set: str, say: Callable[[str], object]):
        self.folder, self._code = folder, code
        self._using = threading.Lock()
        self._asked: set[bytes] = set()
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if not path.name.startswith((code, DATA_SETS)):
                path.unlink()
        others = [name for name in data_sets_of(folder) if name != data_set]
        with replaced(folder / DATA_SETS) as partial:
            partial.write_text(json.dumps([*others, data_set]))
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            say(f"{folder} is damaged ({error}); all files are read again")
            for path in folder.glob(f"{code}.*"):
                path.unlink()
            self._open()

    def _open(self) -> None:
        self.records = (self.folder / f"{self._code}.records").open("a+b")
        path = (self.folder / f"{self._code}.sqlite").absolute()
        # Without locks of SQLite: file systems without locks are used with a warning; see `locks`.
        self._parts = sqlite3.connect(
            f"{path.as_uri()}?vfs=unix-none",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            with _os_errors():
                self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        # Exclusive, so that the journal needs no memory that processes share.
        for setting in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL"):
            self._parts.execute(f"PRAGMA {setting}")
        self._parts.execute(
            f"CREATE TABLE IF NOT EXISTS parts ({COLUMNS}, PRIMARY KEY (source, number))"
        )
        (problem,) = self._parts.execute("PRAGMA quick_check(1)").fetchone()
        if problem != "ok":
            raise sqlite3.DatabaseError(problem)
        self._parts.execute(f"SELECT {COLUMNS} FROM parts LIMIT 0")
        (end,) = self._parts.execute("SELECT max(start + size) FROM parts").fetchone()
        if self.records.tell() < (end or 0):
            raise sqlite3.DatabaseError("records are missing")

    def close(self) -> None:
        """Closes the files."""
        self._parts.close()
        self.records.close()

    def __enter__(self) -> FileCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def done(self, source: bytes) -> tuple[tuple[int, ...], bool]:
        """Returns the numbers of the parts of a source that are here, and whether these are all."""
        self._asked.add(source)
        with self._using:
            found = self._parts.execute(
                "SELECT number, last FROM parts WHERE source = ? ORDER BY number", (source,)
            ).fetchall()
        numbers = tuple(number for number, _ in found)
        return numbers, any(last for _, last in found) and numbers[-1] == len(numbers) - 1

    def read(self, source: bytes, number: int) -> PackedFile:
        """Returns a part of a source that is here; its records are in `records`."""
        with self._using:
            last, pieces, report, rows, passages = self._parts.execute(
                "SELECT last, pieces, report, rows, passages FROM parts"
                " WHERE source = ? AND number = ?",
                (source, number),
            ).fetchone()
        rows, passages = np.frombuffer(bytearray(rows), ROW), np.frombuffer(passages, np.uint64)
        packed, start, first = [], 0, 0
        for name, split, content, order, folder, facts, windows, count in json.loads(pieces):
            outline = Outline(
                bytes.fromhex(content),
                tuple(order),
                folder,
                passages[first : first + count],
            )
            packed.append(
                PackedPiece(name, split, outline, facts, rows[start : start + windows], [])
            )
            start, first = start + windows, first + count
        return PackedFile(packed, Report.from_json(json.loads(report)), number, bool(last))

    def keep(self, source: bytes, file: PackedFile) -> None:
        """Keeps a part of a source whose records are written; may be called in any thread."""
        pieces, rows, passages = [], [], []
        for piece in file.pieces:
            outline = piece.outline
            lengths = len(piece.rows), len(outline.passages)
            place = outline.content.hex(), outline.order, outline.folder
            pieces.append((piece.name, piece.split, *place, piece.facts, *lengths))
            rows.append(piece.rows.tobytes())
            passages.append(outline.passages[:].tobytes())
        all_rows = [piece.rows for piece in file.pieces]
        start, end = extent(places_of(np.concatenate(all_rows))) if all_rows else (0, 0)
        row = (
            *(source, file.number, file.last, start, end - start),
            *(json.dumps(pieces), json.dumps(file.report.to_json())),
            *(b"".join(rows), b"".join(passages)),
        )
        marks = ", ".join("?" * len(row))
        with self._using, _os_errors():
            self._parts.execute(f"INSERT OR REPLACE INTO parts ({COLUMNS}) VALUES ({marks})", row)

    def clean(self) -> None:
        """Removes all sources that were not asked for; and all, if most records were of those."""
        with _os_errors():
            for (source,) in self._parts.execute("SELECT DISTINCT source FROM parts").fetchall():
                if source not in self._asked:
                    self._parts.execute("DELETE FROM parts WHERE source = ?", (source,))
            (size,) = self._parts.execute("SELECT sum(size) FROM parts").fetchone()
        if self.records.tell() > 2 * (size or 0):
            self.close()
            for path in self.folder.glob(f"{self._code}.*"):
                path.unlink()


def data_sets_of(folder: Path) -> list[str]:
    """Returns the names of the configs that were built with the cache in a folder."""
    try:
        return list(map(str, json.loads((folder / DATA_SETS).read_text("utf-8"))))
    except (OSError, ValueError, TypeError):  # missing or damaged
        return []


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """Raises OSError instead of the errors of SQLite that do not mean that its file is damaged."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 255
        if code in DAMAGE:
            raise
        number = errno.ENOSPC if code == sqlite3.SQLITE_FULL else errno.EIO
        raise OSError(number, os.strerror(number)) from error

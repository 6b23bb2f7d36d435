"""Reads music files as NoteSequences: MIDI, ABC, MusicXML, NoteSequence TFRecords, MuseNet tokens.

Archives and Doom WADs are read, too. A file that cannot be used is counted in the report of
`read_source` with its reason; the others are still read.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from magenta_lite.converters.base import Report
from magenta_lite.data import archives, formats
from magenta_lite.data.formats import UnreadableError, is_music
from magenta_lite.errors import first_line

MAX_BYTES = 64 * 2**20  # largest size of a music file
NO_MUSIC = "not a music file"


@dataclasses.dataclass(frozen=True)
class Source:
    """A file, a member of a zip archive, or a whole tar archive.

    Subclasses may override how its bytes (`read_bytes`) or its pieces (`read`) are read.

    Attributes:
        path: Path of the file.
        name: Path relative to the listed folder, independent of where the folder is.
        member: Name in a zip archive; empty for a file on disk.
        split: Official split, `train`, `validation` or `test`; empty if it follows from the name.
        style: Style of the music from a `styles.csv`; empty if unknown.
    """

    path: str
    name: str
    member: str = ""
    split: str = ""
    style: str = ""

    def read(self) -> tuple[list[Piece], Report]:
        """Returns its pieces and a report of unusable ones; see `read_source`."""
        return read_source(self)

    def read_as(self, converter_config: Any) -> tuple[list[Piece], Report]:
        """Returns its pieces in the form a converter needs, and a report.

        Sources of notes do not depend on the converter; sources of sound do.
        """
        return self.read()

    def read_bytes(self) -> bytes:
        """Returns the bytes of the file.

        Raises:
            UnreadableError: If the file is empty, too large, or in a damaged archive.
            OSError: If the file cannot be opened.
        """
        return _read_zip_member(self) if self.member else _read_path(self.path)


@dataclasses.dataclass
class Piece:
    """One piece of music.

    Attributes:
        name: Name of its source, with a suffix `#X:12` for a tune of a book or `#3` for a record.
        sequence: NoteSequence, or `Audio` for sound.
        split: See `Source`.
        facts: Metadata that are stored with its examples, as JSON values.
    """

    name: str
    sequence: Any
    split: str = ""
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)


def read_source(source: Source) -> tuple[list[Piece], Report]:
    """Reads all pieces of a source.

    Files and tunes that cannot be used are counted in the report with their reasons; nothing is
    raised for them.
    """
    report = Report()
    pieces: list[Piece] = []
    try:
        for name, read in _files_in(source, report):
            pieces += _read_pieces(name, read, source, report)
    except (UnreadableError, OSError) as error:  # of a nested archive
        report.drop(reason_of(error), source.name)
    if pieces:
        report.keep("pieces", len(pieces))
    return pieces, report


def _read_pieces(
    name: str, read: Callable[[], bytes], source: Source, report: Report
) -> Iterator[Piece]:
    try:
        for piece, sequence in formats.sequences_in(name, read(), report):
            if source.style:
                sequence.sequence_metadata.genre.insert(0, source.style)
            yield Piece(piece, sequence, source.split)
    except (UnreadableError, OSError) as error:
        report.drop(reason_of(error), name)
    except Exception as error:  # a bug of a library must not stop the reading of other files
        report.drop(f"file that cannot be read ({error!r})", name)


def why_no_music(name: str) -> str:
    """Returns the reason why a file of this name is not read."""
    return archives.OTHER if archives.is_other_archive(name) else NO_MUSIC


def reason_of(error: Exception) -> str:
    """Returns the message of an error without the path of the file."""
    return getattr(error, "strerror", None) or first_line(error)


def _files_in(source: Source, report: Report) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yields name and reader of each file of a source."""
    if not archives.is_archive(source.member or source.path):
        yield source.name, source.read_bytes
        return
    file = io.BytesIO(source.read_bytes()) if source.member else source.path
    for packed in archives.files_in(source.name, file, report, depth=2 if source.member else 1):
        if is_music(packed.name):
            yield packed.name, functools.partial(_read_packed, packed)
        else:
            report.drop(why_no_music(packed.name), packed.name)


def _read_packed(packed: archives.Packed) -> bytes:
    _check_size(packed.size)
    try:
        return packed.read()
    except archives.ERRORS as error:
        raise UnreadableError(f"archive cannot be read: {first_line(error)}") from error


def _read_path(path: str) -> bytes:
    _check_size(os.path.getsize(path))
    return Path(path).read_bytes()


def _read_zip_member(source: Source) -> bytes:
    try:
        stat = os.stat(source.path)
        archive = _open_zip(source.path, stat.st_size, stat.st_mtime_ns)
        inner = archives.is_archive(source.member)
        limit = archives.MAX_INNER_BYTES if inner else MAX_BYTES
        _check_size(archive.getinfo(source.member).file_size, limit)
        return archive.read(source.member)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, zlib.error) as error:
        raise UnreadableError(f"zip archive cannot be read: {first_line(error)}") from error


@functools.lru_cache(maxsize=2)
def _open_zip(path: str, size: int, mtime: int) -> zipfile.ZipFile:
    """Opens an archive and keeps it open: reading its directory for every member is too slow."""
    return zipfile.ZipFile(path)


def _check_size(size: int, limit: int = MAX_BYTES) -> None:
    if size == 0:
        raise UnreadableError("the file is empty")
    if size > limit:
        raise UnreadableError(f"larger than {limit // 2**20} MB")

"""Music files as NoteSequences: MIDI, ABC, MusicXML, NoteSequence TFRecords, archives, Doom WADs,
lists of MuseNet's tokens.

A file that cannot be used costs nothing but itself: `read_source` counts it with its reason.
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

MAX_BYTES = 64 * 2**20  # a MIDI file this large is not one
NO_MUSIC = "not a music file"


@dataclasses.dataclass(frozen=True)
class Source:
    """A file, a member of a zip archive, or a whole tar archive.

    A subclass may find its bytes elsewhere (`read_bytes`) or make its pieces otherwise (`read`).

    Attributes:
        path: Where the file is.
        name: Its path below the folder that was asked for; stays the same when the folder moves.
        member: Name inside a zip archive.
        split: `train`, `validation` or `test` where a data set says so; empty: by its name.
        style: Of its music, where a list of styles says so.
    """

    path: str
    name: str
    member: str = ""
    split: str = ""
    style: str = ""

    def read(self) -> tuple[list[Piece], Report]:
        """Returns its pieces and a report of what cannot be used; see `read_source`."""
        return read_source(self)

    def read_as(self, converter_config: Any) -> tuple[list[Piece], Report]:
        """Returns its pieces as a converter wants them, and a report. Notes are always the same."""
        return self.read()

    def read_bytes(self) -> bytes:
        """Returns the bytes of the file. Raises: UnreadableError, OSError."""
        return _read_zip_member(self) if self.member else _read_path(self.path)


@dataclasses.dataclass
class Piece:
    """One piece of music.

    Attributes:
        name: Of its source, with `#X:12` for a tune of a book or `#3` for a record.
        sequence: Its NoteSequence; of sound its `Audio`.
        split: As that of a `Source`.
        facts: What else is known of it and kept beside its examples, as plain JSON values.
    """

    name: str
    sequence: Any
    split: str = ""
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)


def read_source(source: Source) -> tuple[list[Piece], Report]:
    """Reads all pieces of a source.

    Never raises for what is in a file: a file or tune that cannot be used is counted in the
    report under its reason.
    """
    report = Report()
    pieces: list[Piece] = []
    try:
        for name, read in _files_in(source, report):
            pieces += _read_pieces(name, read, source, report)
    except (UnreadableError, OSError) as error:  # an archive inside another one
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
    except Exception as error:  # a library's own fault with one odd file must not cost the rest
        report.drop(f"file that cannot be read ({error!r})", name)


def why_no_music(name: str) -> str:
    """Returns the reason for which a file of this name is not read."""
    return archives.OTHER if archives.is_other_archive(name) else NO_MUSIC


def reason_of(error: Exception) -> str:
    """Returns why a file cannot be used, without its path, which stands beside it."""
    return getattr(error, "strerror", None) or first_line(error)


def _files_in(source: Source, report: Report) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yields name and reader of each file that a source stands for."""
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
    """Stays open: reading the directory of an archive for each member would take for ever."""
    return zipfile.ZipFile(path)


def _check_size(size: int, limit: int = MAX_BYTES) -> None:
    if size == 0:
        raise UnreadableError("the file is empty")
    if size > limit:
        raise UnreadableError(f"larger than {limit // 2**20} MB")

"""Reads music files: MIDI, ABC, MusicXML, TFRecords of NoteSequences, MuseNet tokens.

Archives and Doom WADs are read, too. A file that cannot be used is counted in the report of
`read_source` with its reason; the others are still read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import zipfile
from collections.abc import Iterator
from typing import Any, ClassVar

from magenta_lite.converters.base import Report
from magenta_lite.converters.score import Score, header_of
from magenta_lite.data import archives, formats, workers
from magenta_lite.data.formats import UnreadableError, is_music
from magenta_lite.data.workers import Limits
from magenta_lite.errors import first_line
from magenta_lite.files import open_regular

MAX_BYTES = 64 * 2**20  # largest size of a music file
NO_MUSIC = "not a music file"
# Files that are read within milliseconds, within limits of their own: suffixes and size.
QUICK = (".mid", ".midi", ".abc")
QUICK_BYTES = 2**16


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

    LIMITS: ClassVar[Limits] = Limits(seconds=120, megabytes=1024)

    @property
    def is_quick(self) -> bool:
        """Whether it may be read without a worker process, which takes seconds to start."""
        if self.member or not self.path.lower().endswith(QUICK):
            return False
        try:
            return os.path.getsize(self.path) <= QUICK_BYTES
        except OSError:
            return True

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
        music: NoteSequence or `Score`, or `Audio` for sound.
        split: See `Source`.
        facts: Metadata that are stored with its examples, as JSON values.
        passages: The `related.passages` of sound that is synthesized; None to find them in
            `music`.
    """

    name: str
    music: Any
    split: str = ""
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    passages: Any = None

    @functools.cached_property
    def sequence(self) -> Any:
        """The NoteSequence, or the `Audio`."""
        return self.music.sequence() if isinstance(self.music, Score) else self.music


def read_source(source: Source) -> tuple[list[Piece], Report]:
    """Reads all pieces of a source.

    Files and tunes that cannot be used are counted in the report with their reasons; nothing is
    raised for them.
    """
    report = Report()
    pieces: list[Piece] = []
    for file in files_of(source, report):
        pieces += _read_pieces(file, report)
    if pieces:
        report.keep("pieces", len(pieces))
    return pieces, report


def files_of(source: Source, report: Report) -> Iterator[Source]:
    """Yields the music files in an archive, each to be read before the next; or the source itself.

    The report counts the other files, and why an archive cannot be read.
    """
    if not archives.is_archive(source.member or source.path):
        yield source
        return
    try:
        for packed in _packed_in(source, report):
            if is_music(packed.name):
                yield PackedSource(
                    source.path, packed.name, packed.name, source.split, source.style, packed
                )
            else:
                report.drop(why_no_music(packed.name), packed.name)
    except Exception as error:  # damage that a library does not expect
        report.drop(reason_of(error), source.name)


def _packed_in(source: Source, report: Report) -> Iterator[archives.Packed]:
    if not source.member:
        yield from archives.files_in(source.name, source.path, report)
        return
    with _unreadable("zip archive"):
        member = _zip_member(source)
        _check_size(member.size, archives.MAX_INNER_BYTES)
        file = member.unpacked()
    with file:
        yield from archives.files_in(source.name, file, report, depth=2)


@dataclasses.dataclass(frozen=True)
class PackedSource(Source):
    """A file of an archive that is being read."""

    packed: archives.Packed | None = None

    def read_bytes(self) -> bytes:
        """Returns the bytes of the file; raises UnreadableError if it cannot be used."""
        assert self.packed is not None
        with _unreadable("archive"):
            _check_size(self.packed.size)
            return self.packed.read()


def _read_pieces(source: Source, report: Report) -> Iterator[Piece]:
    try:
        for piece, music in formats.music_in(source.name, source.read_bytes(), report):
            if source.style:
                header_of(music).sequence_metadata.genre.insert(0, source.style)
            yield Piece(piece, music, source.split)
    except Exception as error:  # a bug of a library must not stop the reading of other files
        report.drop(reason_of(error), source.name)


def why_no_music(name: str) -> str:
    """Returns the reason why a file of this name is not read."""
    return archives.OTHER if archives.is_other_archive(name) else NO_MUSIC


def reason_of(error: Exception) -> str:
    """Returns the reason for a report, without the path of the file."""
    if isinstance(error, UnreadableError | OSError):
        return getattr(error, "strerror", None) or first_line(error)
    return workers.reason_of(error)


def _read_path(path: str) -> bytes:
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        _check_size(size)
        return file.read(size)


def _read_zip_member(source: Source) -> bytes:
    with _unreadable("zip archive"):
        member = _zip_member(source)
        _check_size(member.size)
        return member.read()


def _zip_member(source: Source) -> archives.Packed:
    stat = os.stat(source.path)
    archive = _open_zip(source.path, stat.st_size, stat.st_mtime_ns)
    return archives.zip_member(archive, archive.getinfo(source.member))


@contextlib.contextmanager
def _unreadable(what: str) -> Iterator[None]:
    """Raises UnreadableError for the errors of archives."""
    try:
        yield
    except UnreadableError:
        raise
    except archives.ERRORS as error:
        raise UnreadableError(f"{what} cannot be read: {first_line(error)}") from error


@functools.lru_cache(maxsize=2)
def _open_zip(path: str, size: int, mtime: int) -> zipfile.ZipFile:
    """Opens an archive and keeps it open: reading its directory for every member is too slow."""
    return archives.open_zip(path)


def _check_size(size: int, limit: int = MAX_BYTES) -> None:
    if size == 0:
        raise UnreadableError("the file is empty")
    if size > limit:
        raise UnreadableError(f"larger than {limit // 2**20} MB")

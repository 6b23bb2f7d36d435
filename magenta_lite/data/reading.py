"""Music files as NoteSequences: MIDI, ABC, MusicXML, NoteSequence TFRecords, archives, Doom WADs,
lists of MuseNet's tokens.

A file that cannot be used costs nothing but itself: `read_source` counts it with its reason.
"""

from __future__ import annotations

import csv
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
from magenta_lite.data.formats import UnreadableError, kind_of
from magenta_lite.errors import UserError, first_line

SPLITS = ("train", "validation", "test")
MAX_BYTES = 64 * 2**20  # a MIDI file this large is not one
NO_MUSIC = "not a music file"
STYLES = "styles.csv"  # in a folder of music: name of a file below it, style


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


def list_sources(root: str | Path) -> tuple[list[Source], Report]:
    """Finds the music below a folder, or in one file or archive.

    Args:
        root: A folder, searched with all below it, or a file.

    Returns:
        The sources in order of their names, and a report of what is no music. A folder whose music
        lies in folders `train` and `validation` or `test` is split so. Where it holds a
        `styles.csv`, rows of a name and a style, those files have that style.

    Raises:
        UserError: If `root` does not exist, holds sound and no notes, or its list of styles cannot
            be read.
    """
    from magenta_lite.data import audio  # which needs this module

    root = Path(root).expanduser()
    if not root.exists():
        raise UserError(f"There is no file or folder {root}")
    report = Report()
    sources: list[Source] = []
    sounds = 0
    for path in [root] if root.is_file() else walk(root, report):
        name = path.name if path == root else path.relative_to(root).as_posix()
        if name == STYLES:
            continue
        if path.name.lower().endswith(".zip"):
            sources += _zip_members(path, name, report)
        elif path.name.lower().endswith(".wad"):
            from magenta_lite.data import wad  # which needs this module

            sources += wad.songs_of(path, name, report)
        elif _is_music(path, root) or archives.is_archive(path.name):
            sources.append(Source(str(path), name))
        else:
            sounds += audio.is_sound(path)
            report.drop(_why_no_music(path.name), name)
    if sounds and not sources:
        raise UserError(
            f"{root} holds sound but no notes, and notes are wanted here; give MIDI, ABC or "
            "MusicXML files, or choose a configuration that reads sound"
        )
    sources = _with_styles(sources, root / STYLES, report)
    return sorted(split_by_folder(sources), key=lambda source: source.name), report


def _with_styles(sources: list[Source], table: Path, report: Report) -> list[Source]:
    """Gives sources the styles that a table says they have."""
    if not table.is_file():
        return sources
    rows = read_table(table, "list of files and styles")
    for number, row in enumerate(rows, start=1):
        if len(row) != 2:
            raise UserError(f"Row {number} of {table} must be a file and its style: {row}")
    styles = {name.strip(): style.strip() for name, style in rows}
    for name in sorted(styles.keys() - {source.name for source in sources}):
        report.drop(f"style in {STYLES} of what is not there", name)
    return [dataclasses.replace(source, style=styles.get(source.name, "")) for source in sources]


def read_table(path: Path, what: str) -> list[list[str]]:
    """Returns the rows of a comma-separated file that hold anything.

    Raises:
        UserError: If it is no such file; `what` says what it should be.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [row for row in csv.reader(file) if any(row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no {what}: {first_line(error)}") from error


def is_music(path: Path) -> bool:
    """Returns whether the name of a file is that of one with notes."""
    return kind_of(path.name) not in (None, "tokens")


def _is_music(path: Path, root: Path) -> bool:
    """Returns whether a file is read; text is a list of tokens only where it was asked for."""
    kind = kind_of(path.name)
    return kind is not None and (kind != "tokens" or path == root)


def split_by_folder(sources: list[Any]) -> list[Any]:
    """Gives sources the split whose folder they are in, if all are in such folders."""
    folders = [source.name.partition("/")[0] for source in sources]
    if "train" not in folders or len(set(folders)) < 2 or not set(folders) <= set(SPLITS):
        return sources
    pairs = zip(sources, folders, strict=True)
    return [dataclasses.replace(source, split=folder) for source, folder in pairs]


def _why_no_music(name: str) -> str:
    return archives.OTHER if archives.is_other_archive(name) else NO_MUSIC


def walk(root: Path, report: Report) -> Iterator[Path]:
    """Yields the files below a folder and below linked folders, in order, but for hidden ones.

    Args:
        root: The folder.
        report: Counts what is there and cannot be read; a folder with several names is read once.
    """

    def tell(error: OSError) -> None:
        name = Path(error.filename).relative_to(root).as_posix()
        report.drop(f"folder that cannot be opened: {error.strerror}", name)

    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=tell):
        stat = os.stat(folder)
        if (stat.st_dev, stat.st_ino) in seen:  # else links in a circle would go on for ever
            name = Path(folder).relative_to(root).as_posix()
            report.drop("folder that is read already under another name", name)
            folders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in sorted(files):
            path = Path(folder) / file
            if file.startswith("."):
                continue
            if path.is_file():
                yield path
            else:  # opening a pipe would wait for ever
                what = "link to a file that is not there" if path.is_symlink() else "not a file"
                report.drop(what, path.relative_to(root).as_posix())


def _zip_members(path: Path, name: str, report: Report) -> list[Source]:
    """Returns sources for the files of notes in a zip archive, and for archives inside it."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info.filename for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, OSError) as error:
        report.drop(f"zip archive cannot be read: {first_line(error)}", name)
        return []
    sources = []
    for member in members:
        if archives.is_hidden(member):
            continue
        if _is_packed_music(member) or archives.is_archive(member):
            sources.append(Source(str(path), f"{name}/{member}", member))
        else:
            report.drop(_why_no_music(member), f"{name}/{member}")
    return sources


def _is_packed_music(name: str) -> bool:
    return kind_of(name) not in (None, "tokens")


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


def reason_of(error: Exception) -> str:
    """Returns why a file cannot be used, without its path, which stands beside it."""
    return getattr(error, "strerror", None) or first_line(error)


def read_file(path: str | Path) -> list[Piece]:
    """Reads a file that a user named.

    Raises:
        UserError: If it does not exist or holds no usable piece; says why.
    """
    sources, report = list_sources(path)
    pieces: list[Piece] = []
    for source in sources:
        found, more = read_source(source)
        pieces += found
        report.merge(more)
    if not pieces:
        reasons = "; ".join(report.dropped) or "nothing in it"
        raise UserError(f"{path} holds no music that can be read: {reasons}")
    return pieces


def _files_in(source: Source, report: Report) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yields name and reader of each file that a source stands for."""
    if not archives.is_archive(source.member or source.path):
        yield source.name, source.read_bytes
        return
    file = io.BytesIO(source.read_bytes()) if source.member else source.path
    for packed in archives.files_in(source.name, file, report, depth=2 if source.member else 1):
        if _is_packed_music(packed.name):
            yield packed.name, functools.partial(_read_packed, packed)
        else:
            report.drop(_why_no_music(packed.name), packed.name)


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

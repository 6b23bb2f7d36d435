"""Lists the sources of notes in a folder, a file or an archive."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from magenta_lite.converters.base import Report
from magenta_lite.data import archives, audio, wad
from magenta_lite.data.folders import name_in, read_table, split_by_folder, walk
from magenta_lite.data.formats import is_music, kind_of
from magenta_lite.data.reading import Piece, Source, read_source, why_no_music
from magenta_lite.errors import UserError, first_line
from magenta_lite.files import printable

STYLES = "styles.csv"  # rows of a file name, relative to the folder, and a style


def list_sources(root: str | Path) -> tuple[list[Source], Report]:
    """Lists the music below a folder, or in one file or archive.

    Args:
        root: A folder, which is searched recursively, or a file.

    Returns:
        The sources sorted by name, and a report of the files that are not music. Folders named
        `train`, `validation` and `test` define the splits; a file `styles.csv` with rows of a file
        name and a style defines the styles.

    Raises:
        UserError: If `root` does not exist, holds sound and no notes, or its list of styles cannot
            be read.
    """
    root = Path(root).expanduser()
    if not root.exists():
        raise UserError(f"There is no file or folder {root}")
    report = Report()
    sources: list[Source] = []
    sounds = 0
    for path in [root] if root.is_file() else walk(root, report):
        name = name_in(root, path)
        if name == STYLES:
            continue
        if path.name.lower().endswith(".zip"):
            sources += _zip_members(path, name, report)
        elif path.name.lower().endswith(".wad"):
            sources += wad.songs_of(path, name, report)
        elif _is_read(path, root) or archives.is_archive(path.name):
            sources.append(Source(str(path), name))
        else:
            sounds += audio.is_sound(path)
            report.drop(why_no_music(path.name), name)
    if sounds and not sources:
        raise UserError(
            f"{root} holds sound but no notes, and notes are wanted here; give MIDI, ABC or "
            "MusicXML files, or choose a configuration that reads sound"
        )
    sources = _with_styles(sources, root / STYLES, report)
    return sorted(split_by_folder(sources), key=lambda source: source.name), report


def read_all(path: str | Path) -> tuple[list[Piece], Report]:
    """Returns all pieces of a file or folder, and a report of what cannot be used.

    Raises:
        UserError: As of `list_sources`.
    """
    sources, report = list_sources(path)
    pieces: list[Piece] = []
    for source in sources:
        found, more = read_source(source)
        pieces += found
        report.merge(more)
    return pieces, report


def read_file(path: str | Path) -> list[Piece]:
    """Reads a file that a user named.

    Raises:
        UserError: If it does not exist or has no usable piece; the message has the reason.
    """
    pieces, report = read_all(path)
    if not pieces:
        reasons = "; ".join(report.dropped) or "nothing in it"
        raise UserError(f"{path} holds no music that can be read: {reasons}")
    return pieces


def _with_styles(sources: list[Source], table: Path, report: Report) -> list[Source]:
    """Returns sources with the styles from a table."""
    if not table.is_file():
        return sources
    rows = read_table(table, "list of files and styles")
    for number, row in enumerate(rows, start=1):
        if len(row) != 2:
            raise UserError(f"Row {number} of {table} must be a file and its style: {row!r:.100}")
    styles = {name.strip(): style.strip() for name, style in rows}
    for name in sorted(styles.keys() - {source.name for source in sources}):
        report.drop(f"style in {STYLES} of what is not there", name)
    return [dataclasses.replace(source, style=styles.get(source.name, "")) for source in sources]


def _is_read(path: Path, root: Path) -> bool:
    """Returns whether a file is read; text files are token lists only if named explicitly."""
    return is_music(path.name) or (path == root and kind_of(path.name) is not None)


def _zip_members(path: Path, name: str, report: Report) -> list[Source]:
    """Returns sources for the music files and the nested archives in a zip archive."""
    try:
        with archives.open_zip(path) as archive:
            names = [info.filename for info in archives.files_of(archive)]
    except Exception as error:  # damage that the library does not expect
        report.drop(f"zip archive cannot be read: {first_line(error)}", name)
        return []
    members = [member for member in names if not archives.is_hidden(member)]
    if not members:
        report.drop(archives.EMPTY, name)
    sources = []
    for member in members:
        place = f"{name}/{printable(member)}"
        if is_music(member) or archives.is_archive(member):
            sources.append(Source(str(path), place, member))
        else:
            report.drop(why_no_music(member), place)
    return sources

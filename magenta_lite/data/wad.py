"""The songs in Doom's WAD files, such as those of the free game Freedoom: lumps in MIDI format.

A WAD file consists of a header ("IWAD" or "PWAD", number of lumps, offset of the directory), the
lumps, and a directory of 16 bytes per lump: offset, size, name.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from magenta_lite.converters.base import Report
from magenta_lite.data import reading
from magenta_lite.data.folders import walk
from magenta_lite.data.formats import UnreadableError
from magenta_lite.errors import UserError
from magenta_lite.files import open_regular, printable

SUFFIX = ".wad"

# The folder of Debian's packages `freedoom` and `freedm`.
INSTALLED_FOLDER = Path("/usr/share/games/doom")
INSTALLED = ("freedoom1.wad", "freedoom2.wad", "freedm.wad")

HEADER = struct.Struct("<4sii")
ENTRY = struct.Struct("<ii8s")
MAX_LUMPS = 2**17  # ten times those of the largest games


class Lump(NamedTuple):
    """An entry of a WAD's directory; `offset` and `size` are in bytes."""

    name: str
    offset: int
    size: int


@dataclasses.dataclass(frozen=True)
class Song(reading.Source):
    """A MIDI lump of the WAD file `path`; `member` is the lump's name."""

    def read_bytes(self) -> bytes:
        """Returns the MIDI file.

        Raises:
            UnreadableError: If the WAD file has no such lump any more.
        """
        lump = _last_lumps(self.path, os.stat(self.path).st_mtime_ns).get(self.member)
        if lump is None:
            raise UnreadableError(f"the WAD file has no lump {self.member}")
        return _read_lump(self.path, lump)


def read_directory(path: str | Path) -> list[Lump]:
    """Returns the lumps of a WAD file.

    Raises:
        UnreadableError: If it is not a WAD file, or damaged.
    """
    size = os.path.getsize(path)
    with open_regular(path) as file:
        header = file.read(HEADER.size)
        if len(header) < HEADER.size or header[:4] not in (b"IWAD", b"PWAD"):
            raise UnreadableError("not a WAD file")
        _, count, start = HEADER.unpack(header)
        if count < 0 or start < 0 or start + count * ENTRY.size > size:
            raise UnreadableError("damaged WAD file: its directory lies outside it")
        if count > MAX_LUMPS:
            raise UnreadableError(f"damaged WAD file: more than {MAX_LUMPS:,} lumps")
        file.seek(start)
        entries = file.read(count * ENTRY.size)
    return [
        Lump(printable(name.split(b"\0")[0].decode("latin-1")), offset, length)
        for offset, length, name in ENTRY.iter_unpack(entries)
    ]


@functools.lru_cache(maxsize=1)  # one song after the other is read
def _last_lumps(path: str | Path, changed: int) -> dict[str, Lump]:
    """Returns the lumps that are not empty by name, as of the time when the file was `changed`.

    As in the game, the last lump of a name replaces those before it.
    """
    del changed  # distinguishes what is cached
    return {lump.name: lump for lump in read_directory(path) if lump.size > 0}


def songs_of(path: str | Path, name: str, report: Report) -> list[Song]:
    """Returns the songs `name/LUMP.mid` of one WAD file.

    The report counts the other lumps, or the file `name` if it cannot be read.
    """
    try:
        size, changed = os.path.getsize(path), os.stat(path).st_mtime_ns
        songs, room, lumps = [], size, _last_lumps(path, changed)
        if not lumps:
            report.drop("no lump in the WAD file", name)
        for lump in lumps.values():
            place = f"{name}/{lump.name}"
            if not 0 <= lump.offset <= size - lump.size:
                report.drop("lump outside the WAD file, which is damaged or cut off", place)
                continue
            start = _read_lump(path, lump._replace(size=min(lump.size, 4)))
            if start == b"MThd" and lump.size > reading.MAX_BYTES:
                report.drop(f"larger than {reading.MAX_BYTES // 2**20} MB", place)
            elif start == b"MThd" and lump.size > room:
                report.drop("lump that overlaps others of the WAD file, which is damaged", place)
            elif start == b"MThd":
                room -= lump.size
                songs.append(Song(str(path), f"{place}.mid", lump.name))
            elif start == b"MUS\x1a":
                report.drop("song in Doom's MUS format, not MIDI", place)
            else:
                report.drop("lump of a WAD file that is not a song", name)
    except (UnreadableError, OSError) as error:
        report.drop(reading.reason_of(error), name)
        return []
    return songs


def list_songs(path: str | Path = "") -> tuple[list[Song], Report]:
    """Returns the distinct songs of WAD files, sorted by name, and a report of the dropped lumps.

    `path` is a WAD file or a folder, which is searched recursively; empty selects the installed
    Freedoom. A song that is in several files is taken from the first.

    Raises:
        UserError: If there is no WAD file.
    """
    report = Report()
    songs: dict[bytes, Song] = {}
    for file, name in _wad_files(path, report):
        for song in songs_of(file, name, report):
            try:
                digest = hashlib.sha256(song.read_bytes()).digest()
            except (UnreadableError, OSError) as error:
                report.drop(reading.reason_of(error), song.name)
                continue
            if songs.setdefault(digest, song) is not song:
                report.drop("same song again", song.name)
    return sorted(songs.values(), key=lambda song: song.name), report


def _wad_files(path: str | Path, report: Report) -> Iterable[tuple[Path, str]]:
    """Returns path and name of each WAD file. Raises: UserError if there is none."""
    if not path:
        files = [INSTALLED_FOLDER / name for name in INSTALLED]
        found = [(file, file.name) for file in files if file.is_file()]
        missing = (
            f"Freedoom is not installed in {INSTALLED_FOLDER}: apt-get install freedoom freedm, "
            "or name a WAD file"
        )
    else:
        root = Path(path).expanduser()
        files = [root] if root.is_file() else list(walk(root, report))
        found = [
            (file, file.name if file == root else file.relative_to(root).as_posix())
            for file in files
            if file.is_file() and file.suffix.lower() == SUFFIX
        ]
        missing = f"There is no WAD file {root}" + ("" if root.is_file() else " or below it")
    if not found:
        raise UserError(missing)
    return found


def _read_lump(path: str | Path, lump: Lump) -> bytes:
    with open_regular(path) as file:
        file.seek(lump.offset)
        return file.read(lump.size)

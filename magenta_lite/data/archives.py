"""Files in zip and tar archives, including nested archives."""

from __future__ import annotations

import bz2
import contextlib
import functools
import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

from magenta_lite.converters.base import Report
from magenta_lite.errors import first_line
from magenta_lite.files import open_regular, printable

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
ARCHIVES = (".zip", *TARS)
# Other archive and compression formats, which are not read.
OTHERS = (".7z", ".rar", ".gz", ".bz2", ".xz", ".zst", ".lzh", ".lha", ".sit", ".cab")
OTHER = "archive that is neither zip nor tar; unpack it"

# Zip bombs: real members of this size and more shrink far less. Without members that share their
# bytes, an archive unpacks to a fixed multiple of its size.
BOMB_BYTES = 2**20
BOMB_RATIO = 200
MAX_MEMBERS = 2_000_000

DEPTH = 4  # levels of nested archives
MAX_INNER_BYTES = 512 * 2**20  # of a nested archive, which is read into memory

ERRORS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    OSError,
    RuntimeError,  # an encrypted zip file
    NotImplementedError,  # an unknown compression method
    zlib.error,
    lzma.LZMAError,
    ValueError,  # numbers or names in headers that are none
    struct.error,
)


class Packed(NamedTuple):
    """A file in an archive.

    Attributes:
        name: Names of the archive, of nested archives and of the file, joined by slashes.
        size: Size in bytes that the archive states.
        read: Returns the bytes of the file; raises one of `ERRORS` if that fails.
    """

    name: str
    size: int
    read: Callable[[], bytes]


def is_archive(name: str) -> bool:
    """Returns whether a file name has the suffix of a zip or tar archive."""
    return name.lower().endswith(ARCHIVES)


def is_other_archive(name: str) -> bool:
    """Returns whether a file name has the suffix of an archive format that is not read."""
    return name.lower().endswith(OTHERS) and not is_archive(name)


def is_hidden(name: str) -> bool:
    """Returns whether a name in an archive is hidden, or part of macOS metadata."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def files_in(
    name: str, file: str | os.PathLike | BinaryIO, report: Report, depth: int = 1
) -> Iterator[Packed]:
    """Yields the files of an archive and of nested archives, without hidden files.

    Args:
        name: Name of the archive, whose suffix decides its format.
        file: Path, or the open file.
        report: Counts archives that cannot be read, with the reasons.
        depth: Nesting depth of the archive, 1 for an archive on disk.
    """
    kind = "zip" if name.lower().endswith(".zip") else "tar"
    try:
        for number, member in enumerate(_zipped(file) if kind == "zip" else _tarred(file)):
            if number == MAX_MEMBERS:
                report.drop(f"archive of more than {MAX_MEMBERS:,} files; the others", name)
                return
            if is_hidden(member.name):
                continue
            inner = member._replace(name=f"{name}/{printable(member.name)}")
            if not is_archive(inner.name):
                yield inner
            elif depth == DEPTH:
                report.drop(f"archive inside {DEPTH} others", inner.name)
            elif inner.size > MAX_INNER_BYTES:
                limit = f"{MAX_INNER_BYTES // 2**20} MB"
                report.drop(f"archive of more than {limit} inside another", inner.name)
            else:
                yield from files_in(inner.name, io.BytesIO(inner.read()), report, depth + 1)
    except ERRORS as error:
        report.drop(f"{kind} archive cannot be read: {first_line(error)}", name)


def members_of(archive: zipfile.ZipFile) -> Iterator[zipfile.ZipInfo]:
    """Yields the files of a zip archive, at most `MAX_MEMBERS`.

    Raises:
        zipfile.BadZipFile: If there are more, or if they share their bytes, as in a zip bomb.
    """
    members = [info for info in archive.infolist() if not info.is_dir()]
    if len(members) > MAX_MEMBERS:
        raise zipfile.BadZipFile(f"more than {MAX_MEMBERS:,} files")
    places = [info.header_offset for info in members]
    packed = sum(info.compress_size for info in members)
    if len(set(places)) < len(places) or packed > archive.start_dir:
        raise zipfile.BadZipFile("its files overlap")
    yield from members


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Returns the bytes of a file in a zip archive.

    Raises:
        zipfile.BadZipFile: If it is damaged, or unpacks to suspiciously many bytes.
    """
    if info.file_size > max(BOMB_BYTES, BOMB_RATIO * info.compress_size):
        raise zipfile.BadZipFile(f"it unpacks to more than {BOMB_RATIO} times its size")
    return archive.read(info)


def _zipped(file) -> Iterator[Packed]:
    with zipfile.ZipFile(file) as archive:
        for info in members_of(archive):
            read = functools.partial(read_member, archive, info)
            yield Packed(info.filename, info.file_size, read)


def _tarred(file) -> Iterator[Packed]:
    """Yields the files of a tar archive; each must be read before the next."""
    with contextlib.ExitStack() as stack:
        packed = file if hasattr(file, "read") else stack.enter_context(open_regular(file))
        start = packed.read(6)
        packed.seek(0)
        unpack = next((f for magic, f in UNPACK.items() if start.startswith(magic)), None)
        whole = stack.enter_context(unpack(packed)) if unpack else packed
        forward: Any = _Forward(whole)
        archive: Any = stack.enter_context(tarfile.open(fileobj=forward, mode="r:"))
        while (member := archive.next()) is not None:
            archive.members.clear()  # a list of all would need much memory
            if member.isfile():
                read = functools.partial(_content, archive, member)
                yield Packed(member.name.removeprefix("./"), member.size, read)


UNPACK: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}


class _Forward:
    """A file that is read from its beginning to its end, by parts of a limited size.

    The headers of a tar archive can state any size and any place of the next entry.
    """

    def __init__(self, file: Any):
        self._file = file

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, place: int) -> int:
        if place < self.tell():
            raise tarfile.ReadError("an entry points backwards")
        return self._file.seek(place)

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MAX_INNER_BYTES:
            raise tarfile.ReadError(f"an entry states a size of {size:,} bytes")
        return self._file.read(size)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file: Any = archive.extractfile(member)  # of a regular file, not None
    return file.read()

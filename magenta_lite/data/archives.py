"""Files in zip and tar archives, including nested archives."""

from __future__ import annotations

import bz2
import contextlib
import functools
import gzip
import lzma
import os
import shutil
import struct
import sys
import tarfile
import tempfile
import weakref
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
EMPTY = "no file in the archive"

# Zip bombs: real members of this size and more shrink far less. Without members that share their
# bytes, an archive unpacks to a fixed multiple of its size.
BOMB_BYTES = 2**20
BOMB_RATIO = 200
MAX_MEMBERS = 2_000_000  # of a tar archive
MAX_HEADER = 2**15  # bytes of a header of a tar archive, for which tarfile needs quadratic time
MAX_DIRECTORY = 32 * 2**20  # bytes of the directory of a zip archive; 200 bytes of memory per 46

DEPTH = 4  # levels of nested archives
MAX_INNER_BYTES = 512 * 2**20  # of a nested archive
BYTES_IN_MEMORY = 16 * 2**20  # a larger nested archive is unpacked to a temporary file

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
        size: Size in bytes that the archive states; there are never more.
        open: Opens the file. This and reading it raise one of `ERRORS` if that fails.
    """

    name: str
    size: int
    open: Callable[[], Any]

    def read(self) -> bytes:
        """Returns the bytes of the file."""
        with self.open() as file:
            return file.read()

    def unpacked(self) -> Any:
        """Returns a temporary file with the bytes of the file."""
        copy = tempfile.SpooledTemporaryFile(BYTES_IN_MEMORY)  # noqa: SIM115
        with self.open() as file:
            shutil.copyfileobj(file, copy, 2**20)
        copy.seek(0)
        return copy


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
    is_empty = True
    try:
        for number, member in enumerate(_zipped(file) if kind == "zip" else _tarred(file)):
            if number == MAX_MEMBERS:
                report.drop(f"archive of more than {MAX_MEMBERS:,} files; the others", name)
                return
            if is_hidden(member.name):
                continue
            is_empty = False
            inner = member._replace(name=f"{name}/{printable(member.name)}")
            if not is_archive(inner.name):
                yield inner
            elif depth == DEPTH:
                report.drop(f"archive inside {DEPTH} others", inner.name)
            elif inner.size > MAX_INNER_BYTES:
                limit = f"{MAX_INNER_BYTES // 2**20} MB"
                report.drop(f"archive of more than {limit} inside another", inner.name)
            else:
                yield from _files_in_nested(inner, report, depth + 1)
        if is_empty:
            report.drop(EMPTY, name)
    except ERRORS as error:
        report.drop(f"{kind} archive cannot be read: {first_line(error)}", name)


def _files_in_nested(archive: Packed, report: Report, depth: int) -> Iterator[Packed]:
    try:
        unpacked = archive.unpacked()
    except ERRORS as error:  # which must not cost the other files
        report.drop(f"archive cannot be read: {first_line(error)}", archive.name)
        return
    with unpacked:
        yield from files_in(archive.name, unpacked, report, depth)


def open_zip(file: str | os.PathLike | BinaryIO) -> zipfile.ZipFile:
    """Opens a zip archive: a path, or an open file.

    Raises:
        zipfile.BadZipFile: If it is not a zip archive, or its directory is damaged or too large, or
            its files share their bytes, as in a zip bomb.
        OSError: If it cannot be opened.
    """
    opened = open_regular(file) if isinstance(file, str | os.PathLike) else file
    limited: Any = _Limited(opened, MAX_DIRECTORY)
    try:
        archive = zipfile.ZipFile(limited)
        limited.most = sys.maxsize
        files = files_of(archive)
        if len({info.header_offset for info in files}) < len(files):
            raise zipfile.BadZipFile("its files overlap")
        if sum(info.compress_size for info in files) > archive.start_dir:
            raise zipfile.BadZipFile("its files overlap")
    except BaseException:
        opened.close()
        raise
    weakref.finalize(archive, opened.close)
    return archive


def files_of(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Returns the entries of a zip archive without the folders."""
    return [info for info in archive.infolist() if not info.filename.endswith("/")]


def zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Packed:
    """Returns a file in a zip archive; opening it fails if it is a zip bomb."""

    def open_member() -> Any:
        if info.file_size > max(BOMB_BYTES, BOMB_RATIO * info.compress_size):
            raise zipfile.BadZipFile(f"it unpacks to more than {BOMB_RATIO} times its size")
        return archive.open(info)

    return Packed(info.filename, info.file_size, open_member)


def _zipped(file) -> Iterator[Packed]:
    with open_zip(file) as archive:
        for info in files_of(archive):
            yield zip_member(archive, info)


def _tarred(file) -> Iterator[Packed]:
    """Yields the files of a tar archive; each must be read before the next."""
    with contextlib.ExitStack() as stack:
        packed = file if hasattr(file, "read") else stack.enter_context(open_regular(file))
        start = packed.read(6)
        packed.seek(0)
        unpack = next((f for magic, f in UNPACK.items() if start.startswith(magic)), None)
        whole = stack.enter_context(unpack(packed)) if unpack else packed
        forward: Any = _Forward(whole, MAX_HEADER)
        archive: Any = stack.enter_context(tarfile.open(fileobj=forward, mode="r:"))
        while (member := archive.next()) is not None:
            archive.members.clear()  # a list of all would need much memory
            forward.most = MAX_INNER_BYTES
            if member.isfile():
                read = functools.partial(archive.extractfile, member)
                yield Packed(member.name.removeprefix("./"), member.size, read)
            forward.most = MAX_HEADER


UNPACK: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}


class _Limited:
    """A file of which at most `most` bytes are read at once.

    An archive can state any size of its headers, or of its directory.
    """

    def __init__(self, file: Any, most: int):
        self.file, self.most = file, most

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def read(self, size: int | None = None) -> bytes:
        if size is None:
            return self.file.read()
        if not 0 <= size <= self.most:
            raise ValueError(f"a header of {size:,} bytes; at most {self.most:,} are read")
        return self.file.read(size)


class _Forward(_Limited):
    """A file that is read from its beginning to its end: headers can state any place."""

    def seek(self, place: int) -> int:
        if place < self.tell():
            raise ValueError("an entry points backwards")
        return self.file.seek(place)

"""Files in zip and tar archives, including nested archives."""

from __future__ import annotations

import functools
import io
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

from magenta_lite.converters.base import Report
from magenta_lite.errors import first_line

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
ARCHIVES = (".zip", *TARS)
# Other archive and compression formats, which are not read.
OTHERS = (".7z", ".rar", ".gz", ".bz2", ".xz", ".zst", ".lzh", ".lha", ".sit", ".cab")
OTHER = "archive that is neither zip nor tar; unpack it"

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
        for member in _zipped(file) if kind == "zip" else _tarred(file):
            if is_hidden(member.name):
                continue
            inner = member._replace(name=f"{name}/{member.name}")
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


def _zipped(file) -> Iterator[Packed]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield Packed(info.filename, info.file_size, lambda info=info: archive.read(info))


def _tarred(file) -> Iterator[Packed]:
    given: dict[str, Any] = (
        {"name": file} if isinstance(file, str | os.PathLike) else {"fileobj": file}
    )
    with tarfile.open(**given) as archive:
        for member in archive:
            if member.isfile():
                read = functools.partial(_content, archive, member)
                yield Packed(member.name.removeprefix("./"), member.size, read)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file: Any = archive.extractfile(member)  # of a regular file, not None
    return file.read()

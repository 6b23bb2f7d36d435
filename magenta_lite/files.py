"""Atomic writing of files, and names for output files."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

PARTIAL = ".partial-"  # prefix of what is being written
OUTPUT = re.compile(r"(.+)-(?:\d{3,}-of-\d{3,}|overview)\b")

# Characters that a terminal, UTF-8 or a line of text cannot hold.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def printable(name: str) -> str:
    """Returns a file name that can be printed and stored; bytes that are no UTF-8 are Latin-1."""
    name = re.sub("[\udc80-\udcff]", lambda byte: chr(ord(byte[0]) - 0xDC00), name)
    return UNPRINTABLE.sub("\ufffd", name)


def open_regular(path: str | os.PathLike) -> BinaryIO:
    """Opens a regular file for reading; does not wait for the other end of a pipe.

    Raises:
        OSError: If it is something else, or cannot be opened.
    """
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    if stat.S_ISREG(os.fstat(number).st_mode):
        return os.fdopen(number, "rb")
    os.close(number)
    raise OSError("not a regular file")


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, and renames it to `path` at the end.

    After an error, `path` is unchanged. The file or folder is on disk before it is renamed, and the
    new name is on disk at the end, so that `path` is whole even after a power failure.
    """
    partial = path.with_name(f"{PARTIAL}{path.name}")
    _remove(partial)  # of a killed process
    try:
        yield partial
        flush(partial)
        os.replace(partial, path)
        flush_names(path.parent)
    finally:
        with contextlib.suppress(OSError):  # an error from above is the one to report
            _remove(partial)


def flush(path: Path) -> None:
    """Writes a file, or all of a folder, from the caches of the operating system to the disk."""
    if path.is_dir():
        for inner in path.iterdir():
            flush(inner)
        flush_names(path)
        return
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def flush_names(folder: Path) -> None:
    """Writes the names of a folder's files to the disk, if its file system can do that."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # of some network file systems
            raise
    finally:
        os.close(file)


def remove_partial(folder: Path) -> None:
    """Removes what killed processes left of `replaced` in a folder, which need not exist."""
    for path in folder.glob(f"{PARTIAL}*"):
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def unused_name(folder: Path, stem: str) -> str:
    """Returns the first of `stem`, `stem-2`, `stem-3` … without outputs in a folder.

    Outputs are named `STEM-001-of-004…` and `STEM-overview…`.
    """
    taken = {found[1] for path in folder.iterdir() if (found := OUTPUT.match(path.name))}
    names = (f"{stem}-{number}" if number > 1 else stem for number in itertools.count(1))
    return next(name for name in names if name not in taken)

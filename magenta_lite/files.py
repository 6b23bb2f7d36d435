"""Atomic writing of files, and names for output files."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

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

    After an error, `path` is unchanged.
    """
    partial = path.with_name(f".partial-{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):  # already renamed on success
            partial.unlink()


def unused_name(folder: Path, stem: str) -> str:
    """Returns the first of `stem`, `stem-2`, `stem-3` … without outputs in a folder.

    Outputs are named `STEM-001-of-004…` and `STEM-overview…`.
    """
    taken = {found[1] for path in folder.iterdir() if (found := OUTPUT.match(path.name))}
    names = (f"{stem}-{number}" if number > 1 else stem for number in itertools.count(1))
    return next(name for name in names if name not in taken)

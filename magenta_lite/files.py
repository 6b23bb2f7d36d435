"""Atomic writing of files, and names for output files."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path

OUTPUT = re.compile(r"(.+)-(?:\d{3,}-of-\d{3,}|overview)\b")


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

"""Files that are whole or not there, whenever a process ends."""

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
    """Gives a path beside `path` to write to; what was written takes its place at the end.

    After an error `path` is as it was.
    """
    partial = path.with_name(f".partial-{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):  # it is gone where all went well
            partial.unlink()


def unused_name(folder: Path, stem: str) -> str:
    """Returns the first of `stem`, `stem-2`, `stem-3` … that names no output in a folder yet.

    Args:
        folder: Where outputs `STEM-001-of-004…` and `STEM-overview…` are.
        stem: What their names begin with.
    """
    taken = {found[1] for path in folder.iterdir() if (found := OUTPUT.match(path.name))}
    names = (f"{stem}-{number}" if number > 1 else stem for number in itertools.count(1))
    return next(name for name in names if name not in taken)

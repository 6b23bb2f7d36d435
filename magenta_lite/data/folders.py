"""Folders that a user named: the files below them, their tables, and the splits they stand for."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from magenta_lite.converters.base import Report
from magenta_lite.data.splitting import SPLITS
from magenta_lite.errors import UserError, first_line


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


def split_by_folder(sources: list[Any]) -> list[Any]:
    """Gives sources the split whose folder they are in, if all are in such folders."""
    folders = [source.name.partition("/")[0] for source in sources]
    if "train" not in folders or len(set(folders)) < 2 or not set(folders) <= set(SPLITS):
        return sources
    pairs = zip(sources, folders, strict=True)
    return [dataclasses.replace(source, split=folder) for source, folder in pairs]

"""Folders of the user: their files, tables and splits."""

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
    """Yields the files below a folder, sorted, without hidden ones; follows links.

    Args:
        root: The folder.
        report: Counts files and folders that cannot be read. A folder that is linked several times
            is read once.
    """

    def count(error: OSError) -> None:
        name = Path(error.filename).relative_to(root).as_posix()
        report.drop(f"folder that cannot be opened: {error.strerror}", name)

    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=count):
        stat = os.stat(folder)
        if (stat.st_dev, stat.st_ino) in seen:  # circular links
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
            else:  # opening a pipe would block
                what = "link to a file that is not there" if path.is_symlink() else "not a file"
                report.drop(what, path.relative_to(root).as_posix())


def read_table(path: Path, what: str) -> list[list[str]]:
    """Returns the non-empty rows of a CSV file.

    Raises:
        UserError: If it is not a CSV file; `what` describes it in the message.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [row for row in csv.reader(file) if any(row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} is no {what}: {first_line(error)}") from error


def split_by_folder(sources: list[Any]) -> list[Any]:
    """Returns sources with the splits of their top folders, if all are named after splits."""
    folders = [source.name.partition("/")[0] for source in sources]
    if "train" not in folders or len(set(folders)) < 2 or not set(folders) <= set(SPLITS):
        return sources
    pairs = zip(sources, folders, strict=True)
    return [dataclasses.replace(source, split=folder) for source, folder in pairs]

"""Folders of the user: their files, tables and splits."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from magenta_lite.converters.base import Report
from magenta_lite.data.splitting import SPLITS
from magenta_lite.errors import UserError, first_line
from magenta_lite.files import printable

MAX_TABLE = 32 * 2**20  # bytes
MAX_ROWS = 500_000


def name_in(root: Path, path: str | Path) -> str:
    """Returns the name of a file for reports: its path in the folder `root`, or its own name."""
    inner = Path(path).relative_to(root)
    return printable(inner.as_posix() if inner.parts else root.name)


def walk(root: Path, report: Report) -> Iterator[Path]:
    """Yields the files below a folder, sorted, without hidden ones; follows links.

    Args:
        root: The folder.
        report: Counts files and folders that cannot be read. A folder that is linked several times
            is read once.
    """

    def count(error: OSError) -> None:
        report.drop(
            f"folder that cannot be opened: {error.strerror}", name_in(root, error.filename)
        )

    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True, onerror=count):
        try:
            stat = os.stat(folder)
        except OSError as error:  # it has just been removed
            count(error)
            folders.clear()
            continue
        if (stat.st_dev, stat.st_ino) in seen:  # circular links
            report.drop("folder that is read already under another name", name_in(root, folder))
            folders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for file in sorted(files):
            path = Path(folder) / file
            if file.startswith("."):
                continue
            if os.path.isfile(path):  # unlike Path.is_file, false where access is denied
                yield path
            else:  # opening a pipe would block
                what = "link to a file that is not there" if path.is_symlink() else "not a file"
                report.drop(what, name_in(root, path))


def read_table(path: Path, what: str) -> list[list[str]]:
    """Returns the non-empty rows of a CSV file.

    Raises:
        UserError: If it is not a CSV file; `what` describes it in the message.
    """
    try:
        if path.stat().st_size > MAX_TABLE:
            raise UserError(f"{path} is larger than {MAX_TABLE // 2**20} MB")
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(itertools.islice(filter(any, csv.reader(file)), MAX_ROWS + 1))
        if len(rows) > MAX_ROWS:
            raise UserError(f"{path} has more than {MAX_ROWS:,} rows")
        return rows
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise UserError(f"{path} is no {what}: {first_line(error)}") from error


def split_by_folder(sources: list[Any]) -> list[Any]:
    """Returns sources with the splits of their top folders, if all are named after splits."""
    folders = [source.name.partition("/")[0] for source in sources]
    if "train" not in folders or len(set(folders)) < 2 or not set(folders) <= set(SPLITS):
        return sources
    pairs = zip(sources, folders, strict=True)
    return [dataclasses.replace(source, split=folder) for source, folder in pairs]

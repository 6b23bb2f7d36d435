"""Labels of sound files: artist, genre and lyrics.

They come from a table `labels.csv` in the folder, with a row per file, or from a JSON file beside a
sound file (`song.json` beside `song.mp3`), which takes precedence over the table.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from magenta_lite.converters.base import Report
from magenta_lite.data.folders import read_table
from magenta_lite.errors import UserError, unknown_name
from magenta_lite.files import open_regular

TABLE = "labels.csv"
COLUMNS = ("file", "artist", "genre", "lyrics", "lyrics_file")
MAX_TEXT = 2**20  # bytes of a file of labels or lyrics


@dataclasses.dataclass(frozen=True)
class Labels:
    """Names of artist and genre, and lyrics, of a whole piece; unknown ones are empty."""

    artist: str = ""
    genre: str = ""
    lyrics: str = ""


FIELDS = tuple(field.name for field in dataclasses.fields(Labels))


class Found(NamedTuple):
    """The labels by the name of the sound file, and the names of the files they were read from."""

    of: dict[str, Labels]
    files: frozenset[str]


def read_labels(root: Path, paths: Mapping[str, str], report: Report) -> Found:
    """Reads the labels of sound files.

    Args:
        root: Their folder, or the only file.
        paths: Their paths by name; names are printable, and paths need not be.
        report: Counts labels of missing files, and labels that cannot be read.

    Raises:
        UserError: If the table has missing or unknown columns, is not a CSV file, or names a file
            of lyrics that does not exist.
    """
    known: dict[str, dict[str, str]] = {}
    files = set()
    if root.is_dir() and (root / TABLE).is_file():
        files.add(TABLE)
        known = _read_table(root, set(paths), report, files)
    for name, path in sorted(paths.items()):
        sidecar = Path(path).with_suffix(".json")
        if sidecar.is_file():
            files.add(str(PurePosixPath(name).with_suffix(".json")))
            known[name] = known.get(name, {}) | _read_sidecar(sidecar, name, report)
    return Found({name: Labels(**values) for name, values in known.items()}, frozenset(files))


def _read_table(
    root: Path, names: set[str], report: Report, files: set[str]
) -> dict[str, dict[str, str]]:
    path = root / TABLE
    header, *rows = read_table(path, "table of labels") or [[]]
    header = [column.strip().lower() for column in header]
    for column in header:
        if column not in COLUMNS:
            raise unknown_name(f"column of {path}", column, COLUMNS)
    if "file" not in header or len(header) < 2 or len(set(header)) < len(header):
        raise UserError(
            f"The first row of {path} must name its columns: file and any of "
            f"{', '.join(COLUMNS[1:])}, each once"
        )
    known = {}
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise UserError(
                f"Row {number} of {path} has {len(row)} fields and its first row {len(header)}; "
                'text with a comma in it needs quotes: "Oh, my"'
            )
        values = {column: text.strip() for column, text in zip(header, row, strict=True)}
        name = values.pop("file")
        lyrics_file = values.pop("lyrics_file", "")
        if name not in names:
            report.drop(f"labels in {TABLE} of what is not there", name)
            continue
        if lyrics_file:
            files.add(PurePosixPath(lyrics_file).as_posix())
            if not os.path.exists(root / lyrics_file):
                raise UserError(
                    f"Row {number} of {path} names the lyrics {lyrics_file}, which are not in "
                    f"{root}; correct the row, or leave its lyrics_file empty"
                )
            text = _read_lyrics(root, lyrics_file, report)
            values["lyrics"] = text or values.get("lyrics", "")
        known[name] = values
    return known


def _read_lyrics(root: Path, name: str, report: Report) -> str:
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        report.drop("file of lyrics outside the folder", name)
        return ""
    return _read_text(root / name, "file of lyrics", name, report)


def _read_sidecar(path: Path, name: str, report: Report) -> dict[str, str]:
    """Returns the labels in a JSON file, and ignores its other values."""
    text = _read_text(path, "file of labels", name, report)
    if not text:
        return {}
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits, or deep nesting
        what = getattr(error, "msg", type(error).__name__)
        report.drop(f"file of labels that is not JSON: {what}", name)
        return {}
    if not isinstance(tree, dict):
        report.drop("file of labels that is not JSON object", name)
        return {}
    values = {}
    for key in FIELDS:
        if isinstance(tree.get(key), str):
            values[key] = tree[key].strip()
        elif tree.get(key) is not None:
            report.drop(f"label {key} that is not text", name)
    return values


def _read_text(path: Path, what: str, name: str, report: Report) -> str:
    """Returns the text of a file; if it cannot be read, reports that and returns an empty text."""
    try:
        with open_regular(path) as file:
            data = file.read(MAX_TEXT + 1)
        if len(data) > MAX_TEXT:
            report.drop(f"{what} larger than {MAX_TEXT // 2**20} MB", name)
            return ""
        return "\n".join(data.decode("utf-8-sig").splitlines()).strip()
    except OSError as error:
        report.drop(f"{what} that cannot be read: {error.strerror or error}", name)
    except UnicodeDecodeError:
        report.drop(f"{what} that is no UTF-8 text", name)
    except ValueError:  # a NUL
        report.drop(f"{what} whose name cannot be one", name)
    return ""

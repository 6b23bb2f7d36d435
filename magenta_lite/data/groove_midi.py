"""The Groove MIDI Dataset (Gillick et al. 2019): drummers' takes, listed with their splits.

Its `info.csv` names every take and the split that the papers use.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from magenta_lite.data.building import SPLITS
from magenta_lite.data.reading import Source
from magenta_lite.encoders.base import Report
from magenta_lite.errors import UserError

URL = "https://storage.googleapis.com/magentadata/datasets/groove/groove-v1.0.0-midionly.zip"

INFO = "info.csv"
COLUMNS = ("midi_filename", "split")


def list_grooves(path: str | Path) -> tuple[list[Source], Report]:
    """Finds the takes of a copy of the data set.

    Args:
        path: The zip file as published, or the unpacked folder.

    Returns:
        A source for each take, in order of their names, with its official split; and a report of
        what is listed but missing, or there but not listed.

    Raises:
        UserError: If `path` is empty, does not exist or is not the data set.
    """
    if not path:
        raise UserError(
            f"groove_midi is downloaded only to be trained on; get {URL} and give its path: "
            "groove_midi:PATH"
        )
    path = Path(path).expanduser()
    if not path.exists():
        raise UserError(f"There is no file or folder {path}")
    try:
        files, table = _unpacked(path) if path.is_dir() else _zipped(path)
        rows = list(csv.DictReader(io.StringIO(table.decode("utf-8-sig"))))
    except (zipfile.BadZipFile, UnicodeDecodeError, csv.Error, OSError) as error:
        raise UserError(f"{path} cannot be read as the Groove MIDI Dataset: {error}") from error
    if not rows or any(row.get(column) is None for row in rows for column in COLUMNS):
        raise UserError(f"{INFO} of {path} has not the columns {' and '.join(COLUMNS)}")
    return _sources(rows, files)


def _unpacked(folder: Path) -> tuple[dict[str, tuple[str, str]], bytes]:
    """Returns path and member of each MIDI file by its name beside `info.csv`; and that table."""
    tables = sorted(folder.glob(INFO)) + sorted(folder.glob(f"*/{INFO}"))
    if not tables:
        raise _no_info(folder)
    root = tables[0].parent
    files = {file.relative_to(root).as_posix(): (str(file), "") for file in root.rglob("*.mid")}
    return files, tables[0].read_bytes()


def _zipped(path: Path) -> tuple[dict[str, tuple[str, str]], bytes]:
    with zipfile.ZipFile(path) as archive:
        members = [PurePosixPath(name) for name in archive.namelist()]
        tables = [member for member in members if member.name == INFO]
        if not tables:
            raise _no_info(path)
        root = min(tables, key=lambda table: len(table.parts)).parent
        files = {
            member.relative_to(root).as_posix(): (str(path), str(member))
            for member in members
            if member.suffix == ".mid" and member.is_relative_to(root)
        }
        return files, archive.read(str(root / INFO))


def _no_info(path: Path) -> UserError:
    return UserError(
        f"{path} has no {INFO}, so it is not the Groove MIDI Dataset; "
        "any other music is given without the name in front: --data=PATH"
    )


def _sources(
    rows: list[Mapping[str, str]], files: dict[str, tuple[str, str]]
) -> tuple[list[Source], Report]:
    report = Report()
    splits = {row["midi_filename"]: row["split"] for row in rows}
    sources = []
    for name, split in sorted(splits.items()):
        if name not in files:
            report.drop(f"listed in {INFO} but missing", name)
        elif split not in SPLITS:
            report.drop(f"split in {INFO} is none of {', '.join(SPLITS)}", name)
        else:
            file, member = files[name]
            sources.append(Source(file, name, member, split))
    for name in sorted(files.keys() - splits.keys()):
        report.drop(f"not listed in {INFO}", name)
    return sources, report

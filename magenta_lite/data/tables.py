"""Published data sets of MIDI files whose splits are listed in a CSV table."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from magenta_lite.converters.base import Report
from magenta_lite.data import archives
from magenta_lite.data.folders import MAX_ROWS, walk
from magenta_lite.data.formats import UnreadableError
from magenta_lite.data.reading import Source
from magenta_lite.data.splitting import SPLITS
from magenta_lite.errors import UserError
from magenta_lite.files import printable

COLUMNS = ("midi_filename", "split")
SUFFIXES = (".mid", ".midi")


@dataclasses.dataclass(frozen=True)
class TabledDataset:
    """A data set whose splits are listed in a table.

    Attributes:
        name: Name of the data set; users write `NAME:PATH` for a copy.
        title: Title of the data set, for messages.
        url: URL of the published zip file.
        table: File name of the table, a CSV file with the columns `COLUMNS`.
    """

    name: str
    title: str
    url: str
    table: str

    def sources(self, path: str | Path) -> tuple[list[Source], Report]:
        """Lists the files in a copy of the data set.

        Args:
            path: The published zip file, or the unpacked folder.

        Returns:
            A source for each file, sorted by name, with its official split; and a report of the
            files that are listed but missing, or present but not listed.

        Raises:
            UserError: If `path` is empty, does not exist or is not the data set.
        """
        if not path:
            raise UserError(
                f"{self.name} is downloaded only for training; get {self.url} and give its "
                f"path: {self.name}:PATH"
            )
        path = Path(path).expanduser()
        if not path.exists():
            raise UserError(f"There is no file or folder {path}")
        report = Report()
        try:
            files = _files_in(path, report)
            tables = [file for file in files if file.name == self.table]
            if not tables:
                raise UserError(
                    f"{path} has no {self.table}, so it is not the {self.title}; "
                    "other music is given without the name of the data set: --data=PATH"
                )
            table = min(tables, key=lambda file: (len(file.parts), file))
            text = files[table].read_bytes().decode("utf-8-sig")
            rows = list(itertools.islice(csv.DictReader(io.StringIO(text)), MAX_ROWS + 1))
            if len(rows) > MAX_ROWS:
                raise UnreadableError(f"more than {MAX_ROWS:,} rows")
        except (
            UnreadableError,
            UnicodeDecodeError,
            zipfile.BadZipFile,
            csv.Error,
            OSError,
        ) as error:
            raise UserError(
                f"{path} cannot be read as the {self.title}: {error}; its {self.table} has the "
                f"columns {' and '.join(COLUMNS)}"
            ) from error
        if not rows or any(row.get(column) is None for row in rows for column in COLUMNS):
            raise UserError(f"{self.table} of {path} lacks the columns {' and '.join(COLUMNS)}")
        beside = {
            file.relative_to(table.parent).as_posix(): source
            for file, source in files.items()
            if file.suffix in SUFFIXES and file.is_relative_to(table.parent)
        }
        return self._listed(rows, beside, report)

    def _listed(
        self, rows: Sequence[Mapping[str, str]], files: Mapping[str, Source], report: Report
    ) -> tuple[list[Source], Report]:
        splits = {row["midi_filename"]: row["split"] for row in rows}
        sources = []
        for file, split in sorted(splits.items()):
            name = printable(file)
            if split not in SPLITS:
                raise UserError(
                    f"{self.table} puts {name:.200} into the split {split!r:.100}, which is none "
                    f"of {', '.join(SPLITS)}"
                )
            if file not in files:
                report.drop(f"listed in {self.table} but missing", name)
                continue
            sources.append(dataclasses.replace(files[file], name=name, split=split))
        for name in sorted(files.keys() - splits.keys()):
            report.drop(f"not listed in {self.table}", name)
        return sources, report


def _files_in(path: Path, report: Report) -> dict[PurePosixPath, Source]:
    """Returns the files in a folder or a zip file by their paths in it."""
    if path.is_dir():
        names = [(file.relative_to(path).as_posix(), str(file), "") for file in walk(path, report)]
    else:
        with archives.open_zip(path) as archive:
            names = [(name, str(path), name) for name in archive.namelist()]
    return {PurePosixPath(name): Source(file, name, member) for name, file, member in names}

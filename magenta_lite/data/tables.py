"""Published data sets of MIDI files whose splits are listed in a CSV table."""

from __future__ import annotations

import csv
import dataclasses
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from magenta_lite.converters.base import Report
from magenta_lite.data.folders import walk
from magenta_lite.data.reading import Source
from magenta_lite.data.splitting import SPLITS
from magenta_lite.errors import UserError

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
                f"{self.name} is downloaded only to be trained on; get {self.url} and give its "
                f"path: {self.name}:PATH"
            )
        path = Path(path).expanduser()
        if not path.exists():
            raise UserError(f"There is no file or folder {path}")
        try:
            report = Report()
            unpacked = path.is_dir()
            files, table = self._unpacked(path, report) if unpacked else self._zipped(path)
            rows = list(csv.DictReader(io.StringIO(table.decode("utf-8-sig"))))
        except (zipfile.BadZipFile, UnicodeDecodeError, csv.Error, OSError) as error:
            raise UserError(f"{path} cannot be read as the {self.title}: {error}") from error
        if not rows or any(row.get(column) is None for row in rows for column in COLUMNS):
            raise UserError(f"{self.table} of {path} has not the columns {' and '.join(COLUMNS)}")
        return self._listed(rows, files, report)

    def _unpacked(self, folder: Path, report: Report) -> tuple[dict[str, tuple[str, str]], bytes]:
        """Returns path and zip member of each MIDI file by its name, and the table's content."""
        tables = sorted(folder.glob(self.table)) + sorted(folder.glob(f"*/{self.table}"))
        if not tables:
            raise self._no_table(folder)
        root = tables[0].parent
        files = {
            file.relative_to(root).as_posix(): (str(file), "")
            for file in walk(root, report)
            if file.suffix in SUFFIXES
        }
        return files, tables[0].read_bytes()

    def _zipped(self, path: Path) -> tuple[dict[str, tuple[str, str]], bytes]:
        with zipfile.ZipFile(path) as archive:
            members = [PurePosixPath(name) for name in archive.namelist()]
            tables = [member for member in members if member.name == self.table]
            if not tables:
                raise self._no_table(path)
            root = min(tables, key=lambda table: len(table.parts)).parent
            files = {
                member.relative_to(root).as_posix(): (str(path), str(member))
                for member in members
                if member.suffix in SUFFIXES and member.is_relative_to(root)
            }
            return files, archive.read(str(root / self.table))

    def _no_table(self, path: Path) -> UserError:
        return UserError(
            f"{path} has no {self.table}, so it is not the {self.title}; "
            "any other music is given without the name in front: --data=PATH"
        )

    def _listed(
        self, rows: Sequence[Mapping[str, str]], files: dict[str, tuple[str, str]], report: Report
    ) -> tuple[list[Source], Report]:
        splits = {row["midi_filename"]: row["split"] for row in rows}
        sources = []
        for name, split in sorted(splits.items()):
            if split not in SPLITS:
                raise UserError(
                    f"{self.table} puts {name} into the split {split!r}, which is none of "
                    f"{', '.join(SPLITS)}"
                )
            if name not in files:
                report.drop(f"listed in {self.table} but missing", name)
                continue
            file, member = files[name]
            sources.append(Source(file, name, member, split))
        for name in sorted(files.keys() - splits.keys()):
            report.drop(f"not listed in {self.table}", name)
        return sources, report

"""How much of a folder each family of models can use. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from magenta_lite.converters.base import Report
from magenta_lite.data import building, progress, reading
from magenta_lite.data.splitting import key_of
from magenta_lite.data.workers import Busy, Crash, Part


class Gain(NamedTuple):
    """The number of pieces of a file that have windows in the encoding of one converter.

    `windows` has a hash of each.
    """

    pieces: int
    windows: list[bytes]
    report: Report


@dataclasses.dataclass
class Row:
    """The counts of one configuration over all sources; windows are distinct.

    `about` describes what its models generate, `reasons` counts the unused files.
    """

    config: str
    about: str
    files: int = 0
    pieces: int = 0
    windows: int = 0
    reasons: Counter = dataclasses.field(default_factory=Counter)


def table(rows: Sequence[Row], width: int) -> str:
    """Returns rows as lines of text, at most `width` columns wide.

    Below the table stands the most frequent reason for each configuration that cannot use more than
    half of the files.
    """
    lines = [f"{'windows':>9} {'pieces':>8} {'files':>8}  configuration: what it generates"]
    for row in rows:
        counts = f"{row.windows:>9,} {row.pieces:>8,} {row.files:>8,}"
        lines.append(_cut(f"{counts}  {row.config}: {row.about}", width))
    poor = [row for row in rows if row.reasons.total() > row.files]
    if poor:
        lines.append("Where most files give nothing, the first reason is")
    for row in poor:
        reason, n = row.reasons.most_common(1)[0]
        lines.append(_cut(f"{n:>9,} {reason} ({row.config})", width))
    return "\n".join(lines)


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"


def gains(task: building.Task, converters: Sequence[Any]) -> Iterator[Part]:
    """Yields the name and the gains of each file of a source, and of its report."""
    source, report = task.source, Report()
    for file in reading.files_of(source, report):
        yield file.name, functools.partial(_gains_of, file, converters)
    yield source.name, lambda: [Gain(0, [], report)] * len(converters)


def _gains_of(file: reading.Source, converters: Sequence[Any]) -> list[Gain]:
    """Reads one file and encodes it with each of several converter sections."""
    found = []
    pieces, read = file.read_as(converters[0])
    for converter in converters:
        report = Report()
        report.merge(read)
        encoded = building.encode_pieces(file.name, pieces, report, converter)
        windows = [
            key_of(events, controls)
            for piece in encoded.pieces
            for events, controls, _ in piece.examples
        ]
        found.append(Gain(len(encoded.pieces), windows, report))
    return found


def overview(
    sources: Sequence[reading.Source], configs: Sequence[Any], about: Callable[[Any], str]
) -> tuple[list[Row], Report]:
    """Returns the counts of sources for each `ExperimentConfig`: all of notes, or one of sound.

    The report counts the files that any of them uses, and the reasons of the first for the others.
    """
    files = Report()
    rows = [Row(config.name, about(config)) for config in configs]
    windows: list[set[bytes]] = [set() for _ in configs]
    work = functools.partial(gains, converters=[config.converter for config in configs])
    progress = _Progress(len(sources))
    tasks = list(map(building.Task, sources))
    answers_of = building.each_source(tasks, work, progress.tell)
    for source, answers in zip(sources, answers_of, strict=True):
        found = list(answers)
        reasons = []
        for i, row in enumerate(rows):
            report, before = Report(), row.pieces
            for answer in found:
                if isinstance(answer, Crash):
                    report.drop(answer.reason)
                    continue
                windows[i].update(answer[i].windows)
                row.pieces += answer[i].pieces
                report.merge(answer[i].report)
            if row.pieces > before:  # only pieces with windows are counted
                row.files += 1
            else:
                reasons.append(report.main_reason())
                row.reasons[reasons[-1]] += 1
        unused = len(reasons) == len(rows)
        files.merge(building.file_report(source.name, not unused, reasons[0] if unused else ""))
        progress.add()
    for row, known in zip(rows, windows, strict=True):
        row.windows = len(known)
    return rows, files


class _Progress:
    """Prints the number of read files, at most every `progress.PROGRESS_SECONDS` seconds."""

    def __init__(self, sources: int):
        self._sources, self._done, self._printed = sources, 0, time.monotonic()

    def add(self) -> None:
        self._done += 1
        if time.monotonic() - self._printed >= progress.PROGRESS_SECONDS:
            self.tell()

    def tell(self, longest: Busy | None = None) -> None:
        self._printed = time.monotonic()
        progress.say(f"Read {self._done:,} of {self._sources:,} files{progress.about(longest)}")

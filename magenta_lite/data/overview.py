"""How much of a folder each family of models can use. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from magenta_lite.converters.base import Report
from magenta_lite.data import building, reading
from magenta_lite.data.splitting import key_of
from magenta_lite.data.workers import Crash

CRASH = "file whose reading ended the process"


class Gain(NamedTuple):
    """The number of pieces of a source that have windows in the encoding of one converter.

    `windows` has a hash of each; `reason` is the main reason if there are none.
    """

    pieces: int
    windows: list[bytes]
    reason: str


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


def gains(source: reading.Source, converters: Sequence[Any]) -> list[Gain]:
    """Reads one source and encodes it with each of several converter sections."""
    found = []
    pieces, read = source.read_as(converters[0])
    for converter in converters:
        report = Report()
        report.merge(read)
        encoded = building.encode_pieces(source.name, pieces, report, converter)
        windows = [
            key_of(events, controls)
            for piece in encoded.pieces
            for events, controls, _ in piece.examples
        ]
        found.append(Gain(len(encoded.pieces), windows, report.main_reason()))
    return found


def overview(
    sources: Sequence[reading.Source], configs: Sequence[Any], about: Callable[[Any], str]
) -> list[Row]:
    """Returns the counts of sources for each `ExperimentConfig`: all of notes, or one of sound."""
    rows = [Row(config.name, about(config)) for config in configs]
    windows: list[set[bytes]] = [set() for _ in configs]
    work = functools.partial(gains, converters=[config.converter for config in configs])
    progress = _Progress(len(sources))
    for answer in building.each_source(sources, work, progress.tell):
        lost = isinstance(answer, Crash)
        each = [Gain(0, [], CRASH)] * len(rows) if lost else answer
        for row, gain, known in zip(rows, each, windows, strict=True):
            known.update(gain.windows)
            row.pieces += gain.pieces
            if gain.windows:
                row.files += 1
            else:
                row.reasons[gain.reason] += 1
        progress.add()
    for row, known in zip(rows, windows, strict=True):
        row.windows = len(known)
    return rows


class _Progress:
    """Prints the number of read files, at most every `building.PROGRESS_SECONDS` seconds."""

    def __init__(self, sources: int):
        self._sources, self._done, self._printed = sources, 0, time.monotonic()

    def add(self) -> None:
        self._done += 1
        if time.monotonic() - self._printed >= building.PROGRESS_SECONDS:
            self.tell()

    def tell(self) -> None:
        self._printed = time.monotonic()
        building.say(f"Read {self._done:,} of {self._sources:,} files")

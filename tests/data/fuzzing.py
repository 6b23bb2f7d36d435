"""Reads mutants in the package's workers, and judges the reports."""

from __future__ import annotations

import functools
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mutants import mutant

from magenta_lite.converters import CONVERTERS
from magenta_lite.converters.audio import AudioConverterConfig
from magenta_lite.converters.base import Report
from magenta_lite.data import audio, building, formats, groove_midi, jsb_chorales, listing, reading
from magenta_lite.data.workers import Crash, Limits, Part, WorkerPool
from magenta_lite.errors import UserError
from magenta_lite.files import UNPRINTABLE

LIMITS = Limits(seconds=10, megabytes=reading.Source.LIMITS.megabytes)
MOST_MEGABYTES = 1000
UNEXPECTED = ("cannot be read (", "cannot be encoded (")  # behind which a Python error stands
SOUND = ("sound", "labels")
LISTS = {
    "Groove MIDI Dataset": groove_midi.list_grooves,
    "JSB Chorales": jsb_chorales.list_chorales,
}
SINGLE = ("tokens", "JSB Chorales")  # not listed in a folder
CONFIGS = [converter.config_class() for converter in CONVERTERS.values()]


class Outcome(NamedTuple):
    """What became of a mutant.

    Attributes:
        number: Its number.
        kind: Its kind.
        is_read: Whether a piece was read.
        reasons: The reasons of its report.
        seconds: Time to read and encode it.
        megabytes: Largest memory of the process.
        problem: What is wrong with the report; empty if nothing is.
    """

    number: int
    kind: str
    is_read: bool
    reasons: list[str]
    seconds: float
    megabytes: float
    problem: str


def outcomes(numbers: Sequence[int], workers: int = 2, batch: int = 100) -> Iterator[Outcome]:
    """Yields the outcome of each mutant, read by workers in batches."""
    batches = [numbers[i : i + batch] for i in range(0, len(numbers), batch)]
    with WorkerPool(parts, workers, LIMITS) as pool:
        for batch, answers in zip(batches, pool.map(batches, lambda _: None, 5.0), strict=True):
            for number, answer in zip(batch, answers, strict=True):
                if isinstance(answer, Crash):
                    kind = mutant(number)[0]
                    answer = Outcome(number, kind, False, [], 0, 0, answer.reason)
                yield answer


def parts(numbers: Sequence[int]) -> Iterator[Part]:
    """Yields a part for each mutant."""
    for number in numbers:
        yield str(number), functools.partial(outcome, number)


def outcome(number: int) -> Outcome:
    """Reads and encodes a mutant in this process."""
    kind, files = mutant(number)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, data in files.items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_bytes(data)
        del files
        _forget_peak()
        start = time.monotonic()
        pieces, reasons, problem = _read(kind, folder, CONFIGS[number // 7 % len(CONFIGS)])
        seconds = time.monotonic() - start
    megabytes = _peak()
    if megabytes > MOST_MEGABYTES:
        problem = f"{megabytes:.0f} MB"
    return Outcome(number, kind, pieces > 0, reasons, seconds, megabytes, problem)


def _read(kind: str, folder: Path, config) -> tuple[int, list[str], str]:
    """Returns the number of pieces, the reasons of the report, and what is wrong with it."""
    try:
        list_sources = LISTS.get(kind, audio.list_sounds if kind in SOUND else listing.list_sources)
        sources, report = list_sources(_only_file(folder) if kind in SINGLE else folder)
    except UserError as error:
        return 0, ["UserError"], str(error) if UNPRINTABLE.search(str(error)) else ""
    count = 0
    for source in sources:
        used = AudioConverterConfig() if kind in SOUND else config
        pieces, more = source.read_as(used)
        for piece in pieces:
            _check(piece.sequence)
        report.merge(building.encode_pieces(source.name, pieces, more, used).report)
        count += len(pieces)
    return count, list(report.dropped), _problem(report, count)


def _problem(report: Report, pieces: int) -> str:
    if not pieces and not report.dropped:
        return "nothing in the report"
    reasons = [*report.dropped, *(place for places in report.places.values() for place in places)]
    wrong = [text for text in reasons if any(words in text for words in UNEXPECTED)]
    wrong += [text for text in reasons if UNPRINTABLE.search(text)]
    return "; ".join(wrong)


def _check(sequence) -> None:
    """Raises an AssertionError if a piece is not music."""
    if hasattr(sequence, "samples"):
        assert len(sequence.samples)
        return
    assert 0 < len(sequence.notes) <= formats.MAX_NOTES
    for note in sequence.notes:
        assert 0 <= note.start_time < formats.MAX_PIECE_SECONDS, note
        assert note.end_time <= formats.MAX_PIECE_SECONDS, note


def _only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    """Returns the largest memory of this process since `_forget_peak`, in MB."""
    status = Path(f"/proc/{os.getpid()}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

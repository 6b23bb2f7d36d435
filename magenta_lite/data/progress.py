"""Lines of progress on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from magenta_lite.data.window_store import PackedFile
from magenta_lite.data.workers import Busy, Crash

T = TypeVar("T")

PROGRESS_SECONDS = 5.0  # seconds between two lines of progress


def say(text: str) -> None:
    """Prints a line of progress to standard error, without buffering."""
    print(text, file=sys.stderr, flush=True)


def about(longest: Busy | None) -> str:
    """Returns the end of a line of progress: the file that is taking long, if there is one."""
    if longest is None or longest[1] < PROGRESS_SECONDS:
        return ""
    return f"; {longest[0]} has taken {longest[1]:.0f} s so far"


def with_progress(items: Iterable[T], what: str, count: int) -> Iterator[T]:
    """Yields `count` items and prints progress, prefixed with `what`."""
    last = time.monotonic()
    for i, item in enumerate(items):
        yield item
        if not i % 64 and time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            say(f"{what}: {i + 1:,} of {count:,}")


class ReadingProgress:
    """Prints the progress of reading, at most every `PROGRESS_SECONDS` seconds."""

    def __init__(self, sources: int):
        self._sources = sources
        self._done = self._files = self._windows = 0
        self._start = self._printed = time.monotonic()

    def counted(self, *answers: PackedFile | Crash) -> PackedFile | Crash:
        """Counts the answers for a part of a source, by each converter, and returns the first."""
        self._files += 1
        for answer in answers:
            if not isinstance(answer, Crash):
                self._windows += sum(len(piece.rows) for piece in answer.pieces)
        if time.monotonic() - self._printed >= PROGRESS_SECONDS:
            self.show()
        return answers[0]

    def end_source(self, is_archive: bool) -> None:
        """Counts a source all of whose parts are counted."""
        self._done += 1
        self._files -= is_archive  # its last part is its report

    def show(self, longest: Busy | None = None) -> None:
        """Prints a line, with the part that takes longest if one takes long."""
        self._printed = time.monotonic()
        seconds = max(self._printed - self._start, 1e-3)
        say(
            f"Read {self._done:,} of {self._sources:,} files: {self._windows:,} windows in "
            f"{seconds:.0f} s, {self._files / seconds:.1f} files a second"
            f"{self._left(seconds)}{about(longest)}"
        )

    def _left(self, seconds: float) -> str:
        """Returns an estimate of the time left, if most sources are single files."""
        if not self._done or self._files > 1.5 * self._done:
            return ""
        left = seconds * (self._sources - self._done) / self._done
        return f", about {left / 60:.0f} min left" if left >= 120 else f", about {left:.0f} s left"

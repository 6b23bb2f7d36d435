"""Collecting the windows of a piece: each once, in order, at most so many."""

from __future__ import annotations

import numpy as np

from magenta_lite.converters.base import EncodeResult, Report


class Windows:
    """The windows of one piece, as they are found.

    Args:
        report: Counts what is left out.
        limit: At most so many windows, the first ones; 0 for all.
        once: Leave out a window that is the same as an earlier one, controls included.
    """

    def __init__(self, report: Report, limit: int = 0, once: bool = True):
        self._report = report
        self._limit = limit
        self._once = once
        self._seen: set[tuple[bytes, bytes]] = set()
        self._windows: list[tuple[np.ndarray, np.ndarray | None]] = []
        self._over = 0

    def add(self, events: np.ndarray, controls: np.ndarray | None = None) -> None:
        """Adds a window; its controls if the converter has any."""
        key = events.tobytes(), b"" if controls is None else controls.tobytes()
        if self._once and key in self._seen:
            self._report.drop("same window again in the piece")
        elif self._limit and len(self._windows) == self._limit:
            self._over += 1
        else:
            self._windows.append((events, controls))
        if self._once:
            self._seen.add(key)

    def result(self) -> EncodeResult:
        """Returns the windows and the report."""
        self._report.drop(f"more than {self._limit} windows in a piece", n=self._over)
        if self._windows:
            self._report.keep("windows", len(self._windows))
        examples = [events for events, _ in self._windows]
        controls = [c for _, c in self._windows if c is not None]
        return EncodeResult(examples, self._report, controls or None)

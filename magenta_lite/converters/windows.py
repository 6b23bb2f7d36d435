"""Collection of the windows of a piece, without duplicates and up to a limit."""

from __future__ import annotations

import numpy as np

from magenta_lite.converters.base import EncodeResult, Reason, Report


class Windows:
    """Collects the windows of one piece.

    Args:
        report: Collects the counts of dropped items.
        limit: Maximum number of windows; 0 for all.
        once: Whether windows that equal an earlier one, including controls, are dropped.
    """

    def __init__(self, report: Report, limit: int = 0, once: bool = True):
        self._report = report
        self._limit = limit
        self._once = once
        self._seen: set[tuple[bytes, bytes]] = set()
        self._windows: list[tuple[np.ndarray, np.ndarray | None]] = []
        self._over = 0

    def add(self, events: np.ndarray, controls: np.ndarray | None = None) -> None:
        """Adds a window, with its controls if the converter has any."""
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
        reason = Reason.with_setting(
            f"more than {self._limit} windows in a piece",
            "--set converter.max_examples=0 takes every window of a piece",
        )
        self._report.drop(reason, n=self._over)
        if self._windows:
            self._report.keep("windows", len(self._windows))
        examples = [events for events, _ in self._windows]
        controls = [c for _, c in self._windows if c is not None]
        return EncodeResult(examples, self._report, controls or None)

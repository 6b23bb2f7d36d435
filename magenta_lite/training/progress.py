"""Says how training goes: a bar on a terminal, plain lines elsewhere.

A thread of its own does the talking, so that a line also comes while the first step is compiled,
and no training step waits for it.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

LINE_EVERY = 8.0  # seconds between two lines, where there is no terminal
BAR_EVERY = 0.5  # seconds between two drawings of the bar
SHOWN = ("loss", "reconstruction_nll", "kl", "accuracy")
BAR_WIDTH = 24


class Progress:
    """Shows step, losses, speed and the time left. Use it as a context manager.

    Args:
        steps: Steps of the whole run.
        batch_size: Examples of a step.
        start: Step that the run starts from.
        stream: Where to write.
    """

    def __init__(self, steps: int, batch_size: int, start: int, stream=None):
        self._stream = stream or sys.stdout
        self._steps = steps
        self._batch_size = batch_size
        self._step = start
        self._doing = "building the graph"
        self._logs: dict[str, Any] = {}
        self._began = time.monotonic()
        self._doing_since = self._began
        self._timed_from: tuple[float, int] | None = None  # after the first, slow step
        self._away = 0.0  # seconds that were not spent on steps since then
        self._bar = self._stream.isatty()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(self, *error) -> None:
        self._ended.set()
        self._thread.join()
        if self._bar:
            self._write("\r\033[K")

    def step(self, step: int, logs: dict[str, Any]) -> None:
        """Notes that `step` steps are done; `logs` may still be on their way from the device."""
        now = time.monotonic()
        if self._doing:
            if self._timed_from is not None:
                self._away += now - self._doing_since
            self._doing = ""
        if self._timed_from is None:
            self._timed_from = (now, step)
            self._step, self._logs = step, logs
            self.say(f"First step after {now - self._began:.1f} s")
        self._step, self._logs = step, logs

    def doing(self, what: str) -> None:
        """Notes that something else than steps goes on, e.g. `validation`."""
        if not self._doing:
            self._doing_since = time.monotonic()
        self._doing = what

    def say(self, line: str) -> None:
        """Writes a line that stays."""
        self._write(f"\r\033[K{line}\n" if self._bar else f"{line}\n")

    @property
    def examples_per_second(self) -> float | None:
        """Speed of the steps without the first one, validation and checkpoints."""
        if self._timed_from is None:
            return None
        began, first = self._timed_from
        now = self._doing_since if self._doing else time.monotonic()
        seconds = now - began - self._away
        steps = self._step - first
        return steps * self._batch_size / seconds if steps > 0 and seconds > 0 else None

    def _talk(self) -> None:
        while not self._ended.wait(BAR_EVERY if self._bar else LINE_EVERY):
            line = self._line()
            self._write(f"\r\033[K{line}" if self._bar else f"{line}\n")

    def _line(self) -> str:
        parts = [f"step {self._step:,}/{self._steps:,}"]
        if self._bar:
            full = BAR_WIDTH * self._step // self._steps
            parts.append(f"[{'=' * full}{' ' * (BAR_WIDTH - full)}]")
        logs = self._logs
        parts += [f"{name} {float(logs[name]):.4g}" for name in SHOWN if name in logs]
        speed = self.examples_per_second
        if speed:
            parts.append(f"{speed:,.0f} examples/s")
            seconds = (self._steps - self._step) * self._batch_size / speed
            parts.append(f"ETA {clock(seconds)}")
        if self._doing:
            parts.append(f"{self._doing}… {time.monotonic() - self._doing_since:.0f} s")
        return "  ".join(parts)

    def _write(self, text: str) -> None:
        with self._lock:
            self._stream.write(text)
            self._stream.flush()


def clock(seconds: float) -> str:
    """Returns `seconds` as 3:12 or 2:03:12."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"

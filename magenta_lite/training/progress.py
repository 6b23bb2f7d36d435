"""Shows the progress of training: a bar on a terminal, lines of text elsewhere.

A separate thread prints, so that progress also appears while the first step is compiled, and no
training step waits for output.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from magenta_lite.config import TrainConfig

LINE_EVERY = 8.0  # seconds between two lines, without a terminal
BAR_EVERY = 0.5  # seconds between two updates of the bar
SHORTEST_BAR, LONGEST_BAR = 8, 24  # characters
GAP = "  "  # between the parts of a line
BUILDING = "building the graph"
LONG = 2 * 3600.0  # seconds; longer runs cause a warning
MEASURED_STEPS, MEASURED_SECONDS = 5, 10.0  # at least, for an estimate of the time of a run


class Progress:
    """Shows the step, a few metrics and the time left. Use it as a context manager.

    Args:
        settings: Training section, with the steps, the batch size and the time budget of the run.
        start: First step of this start of the run.
        stream: Output stream.
        in_words: Returns short descriptions of metrics, the most important one first.
    """

    def __init__(
        self, settings: TrainConfig, start: int, stream: Any, in_words: Callable[..., list[str]]
    ):
        self._stream = stream
        self._start = self._step = start
        self._in_words = in_words
        self._logs: Mapping[str, Any] = {}
        self._warned = settings.minutes > 0
        self.restart(settings)
        self._bar = self._stream.isatty()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)

    def restart(self, settings: TrainConfig) -> None:
        """Restarts the clock for a run whose graph is yet to be built."""
        self._steps, self._batch_size = settings.steps, settings.batch_size
        self._doing = BUILDING
        self._doing_since = self._began = time.monotonic()
        self._timed_from: tuple[float, int] | None = None  # after the first, slow step
        self._away = 0.0  # seconds since then that were not spent on steps

    def __enter__(self) -> Progress:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._bar:
            self._write("\r\033[K")

    def step(self, step: int, logs: Mapping[str, Any]) -> None:
        """Records that `step` steps are done; `logs` may still be on the device."""
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
        if not self._warned:
            self._warn_of_long_run(now)

    def doing(self, what: str) -> None:
        """Records that another activity than training steps has begun, e.g. `validation`."""
        if not self._doing:
            self._doing_since = time.monotonic()
        self._doing = what

    def unfinished(self) -> str:
        """Returns the activity that will be finished before the run stops."""
        return "this step" if self._doing in ("", BUILDING) else self._doing

    def say(self, line: str) -> None:
        """Prints a permanent line."""
        self._write(f"\r\033[K{line}\n" if self._bar else f"{line}\n")

    def say_parts(self, parts: Sequence[str]) -> None:
        """Prints a permanent line; on a terminal, of as many parts as fit."""
        self.say(fitted(parts, self._width() if self._bar else None, ", "))

    @property
    def examples_per_second(self) -> float | None:
        """Training speed without the first step, validation and checkpoints."""
        timed = self._timed()
        return timed[0] * self._batch_size / timed[1] if timed else None

    def _timed(self) -> tuple[int, float] | None:
        """Returns the number of steps after the first one, and their seconds, without pauses."""
        if self._timed_from is None:
            return None
        began, first = self._timed_from
        now = self._doing_since if self._doing else time.monotonic()
        seconds, steps = now - began - self._away, self._step - first
        return (steps, seconds) if steps > 0 and seconds > 0 else None

    def _warn_of_long_run(self, now: float) -> None:
        steps, seconds = self._timed() or (0, 0.0)
        if steps < MEASURED_STEPS or seconds < MEASURED_SECONDS:
            return
        self._warned = True
        left = self._steps - self._step
        if left * seconds / steps < LONG:
            return
        these = f"the {left:,} steps that are left" if self._start else f"{self._steps:,} steps"
        way_out = "Ctrl-C saves what is done; --set train.steps=… makes a shorter run"
        if not self._start:
            way_out += ", and --minutes=30 one that fits into half an hour"
        self.say(f"At this speed {these} take {duration(left * seconds / steps)}. {way_out}.")

    def _width(self) -> int:
        """Returns the current maximum length of a line in characters."""
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns
        except OSError:
            columns = 0
        # The last column stays free, because terminals may wrap after it.
        return (columns or shutil.get_terminal_size().columns) - 1

    def _talk(self) -> None:
        while not self._ended.wait(BAR_EVERY if self._bar else LINE_EVERY):
            if self._bar:
                self._write(f"\r\033[K{self._line(self._width())}")
            else:
                self._write(f"{self._line()}\n")

    def _line(self, width: int | None = None) -> str:
        parts = [f"step {self._step:,}/{self._steps:,}"]
        if self._doing:
            parts.append(f"{self._doing}… {time.monotonic() - self._doing_since:.0f} s")
        elif timed := self._timed():
            # Includes the time of validations and checkpoints.
            each = (timed[1] + self._away) / timed[0]
            parts.append(f"{clock((self._steps - self._step) * each)} left")
        logs = self._logs
        parts += self._in_words({name: float(logs[name]) for name in logs}) if logs else []
        if width is None:
            return fitted(parts, None, GAP)
        # The bar takes precedence over all metrics but the first one.
        frame = len(GAP) + len("[]")
        has_bar = len(GAP.join(parts[:3])) + frame + SHORTEST_BAR <= width
        line = fitted(parts, width - (frame + SHORTEST_BAR if has_bar else 0), GAP)
        if not has_bar:
            return line
        room = min(width - len(line) - frame, LONGEST_BAR)
        full = room * self._step // self._steps
        head = parts[0]
        return f"{head}{GAP}[{'=' * full}{' ' * (room - full)}]{line[len(head) :]}"

    def _write(self, text: str) -> None:
        with self._lock:
            self._stream.write(text)
            self._stream.flush()


def fitted(parts: Sequence[str], width: int | None, gap: str) -> str:
    """Joins as many of the first parts as fit in a line; the first one is cut if necessary.

    Args:
        parts: Parts of the line.
        width: Length of the line in characters; None for no limit.
        gap: Separator of the parts.
    """
    if width is None:
        return gap.join(parts)
    line = parts[0][:width]
    for part in parts[1:]:
        if len(line) + len(gap) + len(part) > width:
            break
        line += gap + part
    return line


def clock(seconds: float) -> str:
    """Returns `seconds` as 3:12 or 2:03:12."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def duration(seconds: float) -> str:
    """Returns `seconds` in words: 21 days, 3 hours, 12 minutes."""
    units = ((86400, "day"), (3600, "hour"), (60, "minute"))
    unit, name = next((pair for pair in units if seconds >= 1.5 * pair[0]), (1, "second"))
    count = round(seconds / unit)
    return f"{count:,} {name}{'s' * (count != 1)}"

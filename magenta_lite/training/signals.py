"""Ctrl-C and SIGTERM during training: reported immediately, obeyed after the current step."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(Exception):
    """Training was stopped by a signal after `step` steps, which are saved.

    The message is one line.
    """

    def __init__(self, signum: int, step: int):
        super().__init__(f"Stopped by {signal.Signals(signum).name} at step {step:,}")
        self.signum = signum
        self.step = step


class Signals:
    """Context manager that records and reports a signal; a second one ends the process.

    Python calls signal handlers between two bytecode instructions, which may be minutes apart while
    a graph is compiled. A thread therefore reads from the interpreter's wake-up file descriptor.

    Args:
        say: Called from that thread with a line of text.
        doing: Returns the activity that will be finished first, e.g. `this step`.
        kept: Returns what is kept if the process ends immediately.

    Attributes:
        received: Number of the signal; 0 for none.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        doing: Callable[[], str],
        kept: Callable[[], str],
    ):
        self.received = 0
        self._say = say
        self._doing = doing
        self._kept = kept
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno())
        for number in SIGNALS:
            # The interpreter writes to the descriptor only for signals with a Python handler.
            self._before[number] = signal.signal(number, lambda number, frame: None)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self._writer.close()  # ends the listener
        self._listener.join()
        self._reader.close()

    def _listen(self) -> None:
        while numbers := self._reader.recv(64):
            for number in numbers:
                if number in SIGNALS:
                    self._handle(number)

    def _handle(self, number: int) -> None:
        name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
        if not self.received:
            self.received = number
            self._say(f"{name}: stopping after {self._doing()}; again to quit immediately")
            return
        self._say(f"{name}: ended at once; {self._kept()}")
        os._exit(128 + number)

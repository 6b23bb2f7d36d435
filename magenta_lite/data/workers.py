"""Maps a function over items in worker processes, and survives crashes of the workers.

`multiprocessing` imports the caller's main script in every worker, so that a script without a main
guard would start itself again. These workers import nothing from the caller and communicate through
pipes. If one dies, only its current item is lost.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
import queue
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


@dataclasses.dataclass(frozen=True)
class Crash:
    """Result of an item whose worker process died.

    Attributes:
        code: Exit code of the process; negative for the signal that ended it.
    """

    code: int


class WorkerPool:
    """Applies `function` to items in `workers` processes; use as a context manager.

    Args:
        function: A module-level function, or a `functools.partial` of one.
        workers: Number of processes.
    """

    def __init__(self, function: Callable[[Any], Any], workers: int):
        self._function = function
        self._executor = ThreadPoolExecutor(workers)
        # Each thread of the executor takes an idle process, sends it an item, and returns it.
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._processes: list[Any] = []
        for _ in range(workers):
            self._idle.put(None)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.kill()
        self._executor.shutdown(wait=True)
        for process in self._processes:
            process.wait()
            process.stdout.close()
            try:
                process.stdin.close()
            except BrokenPipeError:
                continue  # unsent data are not needed any more

    def map(
        self, items: Sequence[Any], waiting: Callable[[], None], every: float
    ) -> Iterator[Any | Crash]:
        """Yields the results in order; calls `waiting` every `every` seconds while it waits."""
        futures = [self._executor.submit(self._ask, item) for item in items]
        for future in futures:
            yield _wait(future, waiting, every)

    def _ask(self, item: Any) -> Any | Crash:
        process = self._idle.get() or self._start()
        try:
            pickle.dump(item, process.stdin)
            process.stdin.flush()
            answer = pickle.load(process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError):
            process.kill()
            self._idle.put(None)  # the next item starts a new process
            return Crash(process.wait())
        self._idle.put(process)
        return answer

    def _start(self) -> Any:
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        process: Any = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
        )
        self._processes.append(process)
        pickle.dump(self._function, process.stdin)
        return process


def _wait(future: Future, waiting: Callable[[], None], every: float) -> Any:
    while True:
        try:
            return future.result(timeout=every)
        except TimeoutError:
            waiting()


def _serve() -> None:
    """Worker loop: reads items from standard input and writes results until it is closed."""
    warnings.filterwarnings("ignore", message="Couldn't find ffmpeg")  # see magenta_lite.cli
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print must not break the protocol
    questions = sys.stdin.buffer
    function = pickle.load(questions)
    while True:
        try:
            item = pickle.load(questions)
        except EOFError:
            return
        pickle.dump(function(item), answers)
        answers.flush()


if __name__ == "__main__":
    _serve()

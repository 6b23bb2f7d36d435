"""Maps a function over items in worker processes, within limits of time and memory.

`multiprocessing` imports the caller's main script in every worker, so that a script without a main
guard would start itself again. These workers import nothing from the caller and communicate through
pipes. An item consists of parts, such as the files of an archive. If a worker dies or is killed,
only its current part is lost: another worker goes on behind it. Workers die with their parent.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import itertools
import os
import pickle
import queue
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, NamedTuple

PR_SET_PDEATHSIG = 1  # of prctl(2)
# As many workers as cores run at once.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), "1"
)
BEGIN, ANSWER, END = range(3)  # kinds of messages
# Items that are asked for, and answers of an item that wait, while an earlier item takes long.
ITEMS_AHEAD, ANSWERS_AHEAD = 1024, 16
MEMORY = "needed more"  # beginning of the reason if there was too little
LAST = object()  # what follows the last answer of an item

Part = tuple[str, Callable[[], Any]]  # name, and a function that returns the answer
Busy = tuple[str, float]  # name of a part, and the seconds since its start

_megabytes = 0  # the limit of this process; 0 for none


class Limits(NamedTuple):
    """Limits of one part: seconds, and megabytes beyond the size of a worker that has started."""

    seconds: float
    megabytes: int


class Crash(NamedTuple):
    """Answer for a part that has none.

    Attributes:
        name: Name of the part; empty if the worker died between two parts.
        reason: Why, for a report.
    """

    name: str
    reason: str


def reason_of(error: Exception) -> str:
    """Returns why a part cannot be used, for an error that nobody expected."""
    if not isinstance(error, MemoryError):
        return f"file that cannot be read ({error!r:.200})"
    return f"{MEMORY} than {_megabytes} MB" if _megabytes else f"{MEMORY} memory than there is"


def attempt(name: str, answer: Callable[[], Any]) -> Any | Crash:
    """Returns `answer()`, or a `Crash` if it raises an exception."""
    try:
        return answer()
    except Exception as error:  # one broken file must not stop the reading of others
        return Crash(name, reason_of(error))


class WorkerPool:
    """Answers the parts of items in `workers` processes; use as a context manager.

    Args:
        function: Returns the parts of an item; a module-level function, or a `functools.partial`
            of one.
        workers: Number of processes.
        limits: Limits of each part.
    """

    def __init__(self, function: Callable[[Any], Iterable[Part]], workers: int, limits: Limits):
        self._function = function
        self._limits = limits
        self._executor = ThreadPoolExecutor(workers)
        # Each thread of the executor takes an idle process, sends it an item, and returns it.
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._processes: list[Any] = []
        self._started: dict[Any, tuple[str, float]] = {}  # name and time of each current part
        self._workers, self._closed = workers, False
        for _ in range(workers):
            self._idle.put(None)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._executor.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.kill()
        self._executor.shutdown(wait=True)
        for process in self._processes:
            process.wait()
            process.answers.close()
            with contextlib.suppress(BrokenPipeError):  # unsent data are not needed any more
                process.stdin.close()

    def map(
        self,
        items: Sequence[Any],
        waiting: Callable[[Busy | None], None],
        every: float,
        is_divided: Callable[[Any], bool] = lambda item: False,
        arrived: Callable[[Any, Any], Any] = lambda item, answer: answer,
    ) -> Iterator[Iterator[Any | Crash]]:
        """Yields the answers of each item in order; they must be taken before those of the next.

        Args:
            items: The items.
            waiting: Called every `every` seconds during waiting, with the part that takes longest.
            every: Seconds.
            is_divided: Returns whether an item has so many parts that all workers answer it
                together: of n workers each goes through all parts and answers every n-th one.
            arrived: Called with an item and an answer; returns what is kept of the answer until it
                is its turn. Called by the threads that receive them.
        """
        ahead: collections.deque[list[queue.Queue[Any]]] = collections.deque()
        left = iter(items)
        while True:
            for item in itertools.islice(left, ITEMS_AHEAD - len(ahead)):
                shares = self._workers if is_divided(item) else 1
                answers = [queue.Queue(ANSWERS_AHEAD) for _ in range(shares)]
                for share, own in enumerate(answers):
                    self._executor.submit(
                        self._answer, item, slice(share, None, shares), own, arrived
                    )
                ahead.append(answers)
            if not ahead:
                return
            in_turn = self._in_turn(ahead.popleft(), waiting, every)
            yield in_turn
            collections.deque(in_turn, maxlen=0)  # what was not taken

    def _in_turn(
        self,
        answers: list[queue.Queue[Any]],
        waiting: Callable[[Busy | None], None],
        every: float,
    ) -> Iterator[Any | Crash]:
        """Yields the answers of one item in the order of its parts, one of each share in turn."""
        open_shares = list(answers)
        for own in itertools.cycle(answers):
            answer = self._wait(own, waiting, every)
            if answer is not LAST:
                yield answer
            else:
                open_shares.remove(own)
            if answer is LAST or (isinstance(answer, Crash) and not answer.name):
                break
        for own in open_shares:  # they have no further parts, unless their workers died
            while self._wait(own, waiting, every) is not LAST:
                pass

    def _wait(self, own: queue.Queue, waiting: Callable[[Busy | None], None], every: float) -> Any:
        while True:
            try:
                answer = own.get(timeout=every)
            except queue.Empty:
                name, start = min(
                    list(self._started.values()), key=lambda part: part[1], default=("", 0.0)
                )
                waiting((name, time.monotonic() - start) if name else None)
                continue
            if isinstance(answer, BaseException):
                raise answer
            return answer

    def _answer(
        self, item: Any, share: slice, own: queue.Queue, arrived: Callable[[Any, Any], Any]
    ) -> None:
        """Puts the answers of a share of an item's parts into a queue, and `LAST`."""
        try:
            for answer in self._ask(item, share):
                self._put(own, answer if isinstance(answer, Crash) else arrived(item, answer))
        except BaseException as error:
            self._put(own, error)
        self._put(own, LAST)

    def _put(self, own: queue.Queue, answer: Any) -> None:
        while not self._closed:
            try:
                return own.put(answer, timeout=1.0)
            except queue.Full:
                pass

    def _ask(self, item: Any, share: slice) -> Iterator[Any | Crash]:
        done = 0
        while not self._closed:
            idle = self._idle.get()
            process: Any = idle or self._start()
            name = reason = ""
            try:
                if idle is None:
                    process.answers.recv()  # it is ready; the limit is that of a part
                self._started[process] = name, time.monotonic()
                rest = slice(share.start + done * share.step, None, share.step)
                pickle.dump((item, rest), process.stdin)
                process.stdin.flush()
                while (message := self._receive(process))[0] != END:
                    kind, content = message
                    name = content if kind == BEGIN else ""
                    self._started[process] = name, time.monotonic()
                    if kind == ANSWER:
                        done += 1
                        yield content
                self._idle.put(process)
                return
            except GeneratorExit:  # an answer could not be kept
                process.kill()
                self._idle.put(None)
                raise
            except TimeoutError:
                reason = f"took longer than {self._limits.seconds:g} s"
            except (EOFError, OSError, pickle.UnpicklingError):
                pass  # the worker died; its exit code is the reason
            finally:
                self._started.pop(process, None)
            process.kill()
            self._idle.put(None)  # the next item starts a new process
            code = process.wait()
            done += 1
            yield Crash(name, reason or f"file whose reading ended the process (code {code})")
            if not name:  # another worker would come to the same end
                return

    def _receive(self, process: Any) -> Any:
        """Returns the next message. Raises: TimeoutError, if there is none in time."""
        if not process.answers.poll(self._limits.seconds):
            raise TimeoutError
        return process.answers.recv()

    def _start(self) -> Any:
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        answers, writer = Pipe(duplex=False)
        with writer:
            process: Any = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=writer.fileno(),
                env=os.environ | ONE_THREAD | {"PYTHONPATH": path},
            )
        process.answers = answers
        self._processes.append(process)
        pickle.dump((self._function, self._limits.megabytes), process.stdin)
        process.stdin.flush()
        return process


def serve() -> None:
    """Worker loop: reads items from standard input and writes answers until it is closed."""
    with contextlib.suppress(AttributeError, OSError):  # only Linux has it
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    warnings.filterwarnings("ignore", message="Couldn't find ffmpeg")  # see magenta_lite.cli
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    messages = Connection(os.dup(sys.stdout.fileno()), readable=False)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print must not break the protocol
    questions = sys.stdin.buffer
    function, megabytes = pickle.load(questions)
    _limit_memory(megabytes)
    messages.send(None)
    while True:
        try:
            item, share = pickle.load(questions)
        except EOFError:
            return
        for name, answer in itertools.islice(function(item), share.start, None, share.step):
            messages.send((BEGIN, name))
            sent = attempt(name, lambda answer=answer: pickle.dumps((ANSWER, answer())))
            messages.send_bytes(pickle.dumps((ANSWER, sent)) if isinstance(sent, Crash) else sent)
        messages.send((END, None))


def _limit_memory(megabytes: int) -> None:
    """Limits the address space of this process, where the system can."""
    global _megabytes
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):  # macOS ignores the limit, Windows has none
        return
    _megabytes = megabytes
    size = pages * resource.getpagesize() + megabytes * 2**20
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    if most == resource.RLIM_INFINITY or size < most:
        resource.setrlimit(resource.RLIMIT_AS, (size, most))


if __name__ == "__main__":
    from magenta_lite.data import workers  # this module is another one, with other classes

    workers.serve()

"""The process that holds a model and generates with it: a crash or a stuck request ends only it."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from magenta_lite.errors import UserError, first_line
from magenta_lite.server.messages import Done, Failed, Ready, Said, Task
from magenta_lite.tensorflow_loading import load_tensorflow

PR_SET_PDEATHSIG = 1  # of prctl(2)


class Cancelled(BaseException):
    """The parent does not want the results of the running tasks any more."""


class ProgressLines(io.TextIOBase):
    """A text stream that sends its lines to the parent, and ends the work once that cancels it."""

    def __init__(self, connection: Connection):
        self._connection, self._part = connection, ""

    def write(self, text: str) -> int:
        *lines, self._part = (self._part + text).split("\n")
        for line in filter(None, lines):
            self._connection.send(Said(line))
        if self._connection.poll():
            self._connection.recv()
            raise Cancelled
        return len(text)


def serve(connection: Connection, run_dir: Path, checkpoint: str) -> None:
    """Loads a run, and answers lists of tasks until the connection is closed.

    Each list is answered by a `Done` or a `Failed` for each task, and a `Ready`. Any other message
    while tasks are running cancels them.
    """
    from magenta_lite.training.run import load_run

    try:
        run = load_run(run_dir, checkpoint)
    except Exception as error:
        connection.send(Failed(0, first_line(error), is_users=False))
        return
    connection.send(Ready())
    while True:
        tasks = connection.recv()
        if not isinstance(tasks, list):  # cancelled after the last answer
            continue
        lines = ProgressLines(connection)
        with (
            contextlib.suppress(Cancelled),
            contextlib.redirect_stdout(lines),
            contextlib.redirect_stderr(lines),
        ):
            for answer in answers(run, tasks):
                connection.send(answer)
        connection.send(Ready())


def answers(run: Any, tasks: Sequence[Task]) -> Iterator[Done | Failed]:
    """Yields the answers to tasks; several have options that differ in the seed only."""
    first = tasks[0]
    options = first.options
    if len(tasks) > 1:
        seeds = [task.options.seed for task in tasks]
        seeds += seeds[-1:] * (_compiled_size(len(seeds)) - len(seeds))
        options = options.replace(seeds=tuple(seeds), num_outputs=len(seeds))
    try:
        options = options.replace(inputs=_inputs(run, first.files))
        options.check(run.converter)
        pieces = run.music(options)
    except Exception as error:  # the next request may be fine
        for task in tasks:
            yield _failure(task, error)
        return
    if len(tasks) == 1:
        yield _answer(first, pieces)
        return
    for task, piece in zip(tasks, pieces, strict=False):
        yield _answer(task, [piece])


def _compiled_size(rows: int) -> int:
    """Returns the next power of two: what is compiled for a number of rows is used again."""
    return 1 << (rows - 1).bit_length()


def _failure(task: Task, error: Exception) -> Failed:
    if isinstance(error, UserError):
        return Failed(task.id, str(error), is_users=True)
    return Failed(task.id, f"{type(error).__name__}: {first_line(error)}", is_users=False)


def _answer(task: Task, pieces: Sequence[Any]) -> Done | Failed:
    try:
        return Done(task.id, *_content(pieces, task))
    except Exception as error:
        return _failure(task, error)


def _content(pieces: Sequence[Any], task: Task) -> tuple[str, bytes]:
    from magenta_lite.server.rendering import content

    return content(list(pieces), task.media_type, task.about)


def _inputs(run: Any, files: Sequence[tuple[str, bytes]]) -> tuple[tuple[str, Any], ...]:
    """Returns the music of the files, by their names. Raises: UserError if one is unreadable."""
    from magenta_lite.data.inputs import read_inputs

    found = []
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, data) in enumerate(files):
            path = Path(folder) / f"{i}{Path(name).suffix.lower()}"
            path.write_bytes(data)
            try:
                found += [(name, music) for _, music in read_inputs(path, run.converter)]
            except UserError as error:
                raise UserError(str(error).replace(str(path), name)) from error
    return tuple(found)


def main() -> None:
    """Runs the worker: descriptor of the connection, run directory, checkpoint."""
    descriptor, run_dir, checkpoint = sys.argv[1:]
    with contextlib.suppress(AttributeError, OSError):  # only Linux has it
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    load_tensorflow()
    with Connection(int(descriptor)) as connection, contextlib.suppress(EOFError, BrokenPipeError):
        serve(connection, Path(run_dir), checkpoint)


if __name__ == "__main__":
    main()

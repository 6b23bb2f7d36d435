"""A model in a process of its own, seen from the server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

import psutil

from magenta_lite.errors import UserError
from magenta_lite.server.messages import Done, Failed, Ready, Said, Task

LOADING_SECONDS = 300  # until a model must be loaded
PACKAGES = Path(__file__).parents[2]  # the folder of this package


class ProcessEnded(Exception):
    """The process of a model ended while it was working."""


class ModelProcess:
    """A running process with a loaded model, started by `start`.

    Attributes:
        last_used: Time of the last answer, of `time.monotonic`.
    """

    def __init__(self, process: subprocess.Popen, connection: Connection):
        self._process, self._connection = process, connection
        self._thread = ThreadPoolExecutor(1)  # waits for messages
        self.last_used = time.monotonic()

    @classmethod
    async def start(cls, run_dir: Path, checkpoint: str) -> ModelProcess:
        """Starts a process and waits until it has loaded the model.

        Raises:
            UserError: If the run cannot be loaded.
            ProcessEnded: If the process ends, or takes longer than `LOADING_SECONDS`.
        """
        ours, theirs = Pipe()
        path = os.pathsep.join(filter(None, [str(PACKAGES), os.environ.get("PYTHONPATH")]))
        with theirs:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "magenta_lite.server.worker"),
                    *(str(theirs.fileno()), str(run_dir), checkpoint),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # the server alone handles Ctrl-C
                env=os.environ | {"PYTHONPATH": path},
            )
        started = cls(process, ours)
        try:
            async with asyncio.timeout(LOADING_SECONDS):
                first = await started._receive()
        except BaseException as error:
            started.stop()
            if isinstance(error, TimeoutError):
                raise ProcessEnded(f"not loaded after {LOADING_SECONDS} s") from error
            raise
        if isinstance(first, Failed):
            started.stop()
            raise UserError(first.message)
        return started

    async def run(
        self, tasks: Sequence[Task], deliver: Callable[[Done | Failed | Said], None]
    ) -> None:
        """Sends tasks, and calls `deliver` with each message until all are answered or cancelled.

        Raises:
            ProcessEnded: If the process ends before.
        """
        await self._in_thread(self._connection.send, list(tasks))
        while not isinstance(message := await self._receive(), Ready):
            deliver(message)
        self.last_used = time.monotonic()

    def cancel(self) -> None:
        """Lets the process leave the tasks that it is working on at its next line of progress."""
        with contextlib.suppress(OSError):
            self._connection.send(None)

    def stop(self) -> None:
        """Kills the process, whose memory is free afterwards."""
        self._process.kill()
        self._process.wait()
        self._connection.close()
        self._thread.shutdown(wait=False)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def memory(self) -> int:
        """Resident memory in bytes."""
        with contextlib.suppress(psutil.Error):
            return psutil.Process(self.pid).memory_info().rss
        return 0

    async def _receive(self) -> Any:
        return await self._in_thread(self._connection.recv)

    async def _in_thread(self, function: Callable, *args: Any) -> Any:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, function, *args)
        except (EOFError, OSError) as error:
            raise ProcessEnded("its process ended") from error

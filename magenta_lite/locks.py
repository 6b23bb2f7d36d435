"""Locks between processes, and folders that are written by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from magenta_lite.errors import UserError
from magenta_lite.files import replaced

TRIES = 20  # to read the holder of a lock


class Lock:
    """An exclusive lock, which the operating system releases when the process ends.

    The lock file contains the process id and the host of the holder. On file systems without locks,
    nothing is locked, which is reported on standard error.

    Args:
        path: The lock file, which is created, and removed by `release`. Its folder must exist.

    Attributes:
        held: Whether this process holds the lock.
    """

    def __init__(self, path: Path):
        self._path, self._file = path, -1
        self.held = False

    def acquire(self, wait: bool = False) -> bool:
        """Returns whether the lock is free, and takes it; with `wait`, waits until it is free.

        Raises:
            OSError: If the lock file cannot be opened.
        """
        while True:
            # A link, e.g. in a run of a stranger, could lead anywhere.
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                os.close(self._file)
                return False
            except OSError as error:
                os.close(self._file)
                self._path.unlink(missing_ok=True)
                print(
                    f"Warning: {self._path.parent} cannot be locked ({error.strerror}); "
                    "only one process at a time may use it",
                    file=sys.stderr,
                )
                return True
            if self._is_in_place():
                break
            os.close(self._file)  # its holder has just removed it
        os.ftruncate(self._file, 0)
        os.write(self._file, f"{os.getpid()} {socket.gethostname()}\n".encode())
        self.held = True
        return True

    def release(self) -> None:
        """Releases the lock, if it is held, and removes its file."""
        if not self.held:
            return
        self.held = False
        self._path.unlink(missing_ok=True)  # before others may hold it
        # Closing the file would not be enough, as child processes may have it open.
        fcntl.flock(self._file, fcntl.LOCK_UN)
        os.close(self._file)

    def holder(self) -> str:
        """Returns who holds the lock, for messages: `process 123`, with the host if it differs."""
        pid = host = ""
        for _ in range(TRIES):
            try:
                pid, _, host = self._path.read_text("utf-8", "replace").strip().partition(" ")
            except OSError:  # removed in the meantime
                break
            if pid:
                break
            time.sleep(0.01)  # it has the lock, and is about to write its process id
        place = f" on {host}" if host and host != socket.gethostname() else ""
        return f"process {pid}{place}" if pid else "another process"

    def _is_in_place(self) -> bool:
        """Returns whether the open file is the one at the path."""
        try:
            return os.path.samestat(os.fstat(self._file), os.stat(self._path))
        except FileNotFoundError:
            return False


@contextlib.contextmanager
def locked(
    path: Path, message: str, flag: str, waiting: Callable[[str], object] | None = None
) -> Iterator[Lock]:
    """Context manager that holds the lock file `path`, whose folder is created.

    Args:
        path: The lock file; see `Lock`.
        message: One line for the case that another process holds it; `{holder}` in it is replaced.
        flag: The flag by which the user can choose another folder.
        waiting: Called with the message before the lock is waited for; None raises an error
            instead.

    Raises:
        UserError: If another process holds the lock and `waiting` is None (with the message), or
            the folder cannot be written.
    """
    lock = Lock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not lock.acquire():
            message = message.replace("{holder}", lock.holder())  # paths may have braces
            if waiting is None:
                raise UserError(message)
            waiting(message)
            lock.acquire(wait=True)
    except OSError as error:
        reason = f"{path.parent} cannot be written ({error.strerror})"
        raise UserError(f"{reason}; choose another {flag}") from error
    try:
        yield lock
    finally:
        lock.release()


@contextlib.contextmanager
def new_folder(folder: Path, flag: str) -> Iterator[Path]:
    """Yields a temporary folder that becomes `folder` at the end; after an error nothing is left.

    Args:
        folder: Must be empty or not exist.
        flag: The flag that names it, for messages.

    Raises:
        UserError: If it exists, another process is writing it, or its parent cannot be written.
    """
    message = (
        f"{folder} is in use: {{holder}} writes it; wait for its end, or choose another {flag}"
    )
    with locked(folder.with_name(f".{folder.name}.lock"), message, flag):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} exists already; remove it or choose another {flag}")
        with replaced(folder) as partial:
            yield partial

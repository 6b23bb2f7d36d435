"""Work that was interrupted, and goes on when the same is asked for again."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import itertools
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from magenta_lite.files import replaced

SUFFIX = ".codes.npz"


class Unfinished:
    """Where a call keeps what is done so far, and finds what one before it left.

    The same call without a seed goes on with the newest work that is left, and takes its seed. A
    process holds its file by a lock beside it, which ends with the process: another one that does
    the same at the same time makes a piece of its own.

    Args:
        folder: Of the files, made when there is something to keep.
        name: What their names begin with; the seed follows.
        seed: Of work that begins.
        seed_given: Whether only work of that seed may go on.

    Attributes:
        seed: Of the work, since `resume`.
        path: Its file; None before `resume`.
    """

    def __init__(self, folder: Path, name: str, seed: int, seed_given: bool):
        self._folder, self._name = Path(folder), name
        self.seed, self._seed_given = seed, seed_given
        self.path: Path | None = None
        self._asked = ""
        self._lock = -1

    def resume(self, asked: str) -> dict[str, np.ndarray]:
        """Returns what is kept of work that was asked for with these words; nothing to begin.

        Args:
            asked: All that decides what comes out, but the seed.
        """
        self._asked = asked
        for path in self._left():
            kept = _read(path)
            same = kept.get("asked") == asked
            if not same or (self._seed_given and kept["seed"] != self.seed):
                continue
            if not self._claim(path):
                continue
            kept = _read(path)  # as its owner left it
            if kept:
                self.path, self.seed = path, kept.pop("seed")
                del kept["asked"]
                return kept
            os.close(self._lock)
        for number in itertools.count(1):
            place = f"{self._name}-seed{self.seed}" + (f"-{number}" if number > 1 else "")
            path = self._folder / f"{place}{SUFFIX}"
            if not path.exists() and self._claim(path):
                self.path = path
                return {}
        raise AssertionError("there is always another number")

    def keep(self, arrays: dict[str, np.ndarray]) -> None:
        """Saves arrays by name, instead of those that were kept before."""
        if self.path is None:
            raise RuntimeError("`resume` comes before `keep`")
        kept: dict[str, Any] = {"asked": self._asked, "seed": self.seed, **arrays}
        with replaced(self.path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, **kept)

    def remove(self) -> None:
        """Forgets the work: it is finished, and the same call begins something new."""
        if self.path is None:
            return
        for path in (self.path, _lock_of(self.path)):
            path.unlink(missing_ok=True)
        os.close(self._lock)
        self.path, self._lock = None, -1

    def _left(self) -> list[Path]:
        """Returns the files that may be gone on from, the newest first."""
        seed = str(self.seed) if self._seed_given else ""
        found = []
        for path in self._folder.glob(f"{glob.escape(self._name)}-seed{seed}*{SUFFIX}"):
            with contextlib.suppress(OSError):  # another process has just finished it
                found.append((path.stat().st_mtime, path))
        return [path for _, path in sorted(found, reverse=True)]

    def _claim(self, path: Path) -> bool:
        """Returns whether this process holds a file from now on."""
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(_lock_of(path), os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _read(path: Path) -> dict:
    """Returns what a file keeps; nothing if it is none of these files, or has gone."""
    try:
        with np.load(path) as arrays:
            kept = dict(arrays)
            return kept | {"asked": str(kept["asked"]), "seed": int(kept["seed"])}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return {}

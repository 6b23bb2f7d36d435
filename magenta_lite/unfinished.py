"""Saves intermediate results, so that an interrupted command can be resumed."""

from __future__ import annotations

import contextlib
import glob
import itertools
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from magenta_lite.files import replaced
from magenta_lite.locks import Lock

SUFFIX = ".codes.npz"


class Unfinished:
    """The intermediate results of a call, which a later call with the same options resumes.

    A call without a given seed resumes the newest results and uses their seed. A process locks its
    file with a lock file, which is released when the process ends, so that a concurrent process
    with the same options starts anew.

    Args:
        folder: Folder of the files, created when results are saved.
        name: Prefix of the file names, which is followed by the seed.
        seed: Seed of new work.
        seed_given: Whether only work with that seed may be resumed.

    Attributes:
        seed: Seed of the work, valid after `resume`.
        path: File of the work; None before `resume`.
    """

    def __init__(self, folder: Path, name: str, seed: int, seed_given: bool):
        self._folder, self._name = Path(folder), name
        self.seed, self._seed_given = seed, seed_given
        self.path: Path | None = None
        self._asked = ""
        self._lock: Lock | None = None

    def resume(self, asked: str) -> dict[str, np.ndarray]:
        """Returns the saved arrays of earlier work with the same options; empty for new work.

        `asked` contains all options that determine the result, except the seed, as text.
        """
        self._asked = asked
        for path in self._left():
            kept = _read(path)
            same = kept.get("asked") == asked
            if not same or (self._seed_given and kept["seed"] != self.seed):
                continue
            if not (lock := self._claim(path)):
                continue
            kept = _read(path)  # reads again, now that the file is locked
            if kept:
                self.path, self._lock, self.seed = path, lock, kept.pop("seed")
                del kept["asked"]
                return kept
            lock.release()
        for number in itertools.count(1):
            place = f"{self._name}-seed{self.seed}" + (f"-{number}" if number > 1 else "")
            path = self._folder / f"{place}{SUFFIX}"
            if not path.exists() and (lock := self._claim(path)):
                self.path, self._lock = path, lock
                return {}
        raise AssertionError("there is always another number")

    def keep(self, arrays: dict[str, np.ndarray]) -> None:
        """Saves arrays by name, and replaces those saved before."""
        if self.path is None:
            raise RuntimeError("`resume` comes before `keep`")
        kept: dict[str, Any] = {"asked": self._asked, "seed": self.seed, **arrays}
        with replaced(self.path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, **kept)

    def remove(self) -> None:
        """Removes the file of finished work, so that the same call starts anew."""
        if self.path is None or self._lock is None:
            return
        self.path.unlink(missing_ok=True)
        self._lock.release()
        self.path = self._lock = None

    def _left(self) -> list[Path]:
        """Returns the files that may be resumed, newest first."""
        seed = str(self.seed) if self._seed_given else ""
        found = []
        for path in self._folder.glob(f"{glob.escape(self._name)}-seed{seed}*{SUFFIX}"):
            with contextlib.suppress(OSError):  # removed by another process
                found.append((path.stat().st_mtime, path))
        return [path for _, path in sorted(found, reverse=True)]

    def _claim(self, path: Path) -> Lock | None:
        """Returns the lock of a file; None if another process holds it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = Lock(path.with_name(f".{path.name}.lock"))
        return lock if lock.acquire() else None


def _read(path: Path) -> dict:
    """Returns the content of a file; empty if it is missing or invalid."""
    try:
        with np.load(path) as arrays:
            kept = dict(arrays)
            return kept | {"asked": str(kept["asked"]), "seed": int(kept["seed"])}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return {}

"""Programs in processes of their own that need not import TensorFlow first, which takes seconds.

A server imports it once, never uses it, and forks for each program. For the program nothing else
is different: it has its own working directory, environment, output and signals.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import tempfile
from multiprocessing.process import BaseProcess
from pathlib import Path

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    [
        "matplotlib.figure",
        "note_seq",
        "scipy.signal",
        "tensorflow_datasets",
        "magenta_lite.families.music_vae.model",
        "magenta_lite.training.trainer",
    ]
)


class Program:
    """A module (`magenta_lite.train`) or a file (`x.py`) that runs with arguments.

    Keep it as long as the process runs: where the process prints to goes with it.

    Attributes:
        process: Where it runs.
    """

    def __init__(self, program: str | Path, *arguments: str, cwd: Path | None = None):
        self._folder = tempfile.TemporaryDirectory(prefix="program")
        folder = Path(self._folder.name)
        self._out, self._err = folder / "out", folder / "err"
        for path in (self._out, self._err):
            path.touch()
        texts = [str(text) for text in (program, *arguments)]
        details = (texts, str(cwd or Path.cwd()), dict(os.environ), self._out, self._err)
        self.process: BaseProcess = _context.Process(target=_run, args=details)
        self.process.start()

    def said(self) -> str:
        """Returns what it has printed so far."""
        return self._out.read_text()

    def finish(self, timeout: float = 300) -> tuple[int, str, str]:
        """Waits for its end; returns exit code (negative: a signal), output and errors."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(f"{self._out.read_text()}{self._err.read_text()}")
        return self.process.exitcode, self._out.read_text(), self._err.read_text()


def run(program: str | Path, *arguments: str, cwd: Path | None = None) -> tuple[int, str, str]:
    """Runs a program to its end; returns exit code, output and errors."""
    return Program(program, *arguments, cwd=cwd).finish()


def _run(texts, cwd, environment, out, err):
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv, program = texts, texts[0]
    if program.endswith(".py"):
        sys.path.insert(0, str(Path(program).parent))
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)

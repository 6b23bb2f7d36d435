"""Checkpoints, which are written atomically.

Each is one `.keras` file with the weights, the optimiser's state and the step.
"""

from __future__ import annotations

import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from magenta_lite.errors import UserError, first_line
from magenta_lite.files import remove_partial, replaced
from magenta_lite.training.history import History

BEST, NEWEST = "best", "newest"

MAX_RATIO = 4  # of the unpacked size of a checkpoint, which Keras does not compress
FILE_NAME = re.compile(r"step-(\d+)\.keras")


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be written or read. The message is one line."""


class NoIntactCheckpoint(CheckpointError, UserError):
    """A run whose checkpoints are all damaged, or do not fit its config."""


def steps_done(model: keras.Model) -> int:
    """Returns the number of steps of the model's optimiser, under any strategy."""
    return int(tf.convert_to_tensor(model.optimizer.iterations.value))


def checkpoint_files(folder: Path) -> list[tuple[int, Path]]:
    """Returns step and path of every complete checkpoint in `folder`, newest first."""
    found = []
    for path in folder.glob("step-*.keras"):
        if (match := FILE_NAME.fullmatch(path.name)) and path.is_file():
            found.append((int(match[1]), path))
    return sorted(found, reverse=True)


def newest_checkpoint(folder: Path) -> Path | None:
    """Returns the path of the newest complete checkpoint in `folder`, if there is one."""
    return next((path for _, path in checkpoint_files(folder)), None)


def save_checkpoint(
    model: keras.Model, folder: Path, keep: int, chief: bool = True, history: History | None = None
) -> Path:
    """Writes the state of a compiled model at its current step, and returns the path.

    A reader never sees a partial file.

    Args:
        model: A compiled model.
        folder: Created if missing.
        keep: Number of newest checkpoints to keep, besides the best one by the history.
        chief: False in a worker that writes nothing. It must still call this, because saving sums
            the metrics of all workers.
        history: The validations; None without any.

    Raises:
        CheckpointError: If it cannot be written. Earlier checkpoints are kept.
    """
    step = steps_done(model)
    path = folder / f"step-{step:08d}.keras"
    if not chief:
        with tempfile.TemporaryDirectory() as scratch:
            model.save(Path(scratch) / path.name)
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replaced(path) as partial:
            model.save(partial)
    except (OSError, RuntimeError) as error:  # h5py raises either when the disk is full
        newest = newest_checkpoint(folder)
        left = f"{newest} is the newest that is whole" if newest else "there is none before it"
        raise CheckpointError(f"Cannot write checkpoint {path}: {error}; {left}") from error
    files = [pair for pair in checkpoint_files(folder) if pair[0] <= step]  # `path` is the first
    best = history.best_among([step for step, _ in files]) if history else None
    for step, old in files[max(keep, 1) :]:
        if best is None or step != best.step:
            old.unlink(missing_ok=True)
    return path


def wanted_files(folder: Path, wanted: str, history: History) -> list[tuple[int, Path]]:
    """Returns step and path of the acceptable checkpoints, the wanted one first.

    `wanted` is `best`, `newest` or a step. The others are accepted in place of a broken best one.

    Raises:
        UserError: If there is no such checkpoint.
    """
    files = checkpoint_files(folder)
    if wanted == NEWEST or not files:
        return files
    if wanted == BEST:
        best = history.step_to_use([step for step, _ in files])
        return sorted(files, key=lambda pair: pair[0] != best)  # keeps the order of the others
    chosen = [(step, path) for step, path in files if str(step) == wanted]
    if not chosen:
        steps = ", ".join(str(step) for step, _ in reversed(files))
        raise UserError(
            f"--checkpoint={wanted}: there is no checkpoint of that step in {folder}; there are "
            f"those of step {steps}"
        )
    return chosen


def clean_up(folder: Path, report: Callable[[str], Any] = print) -> None:
    """Removes incomplete files of a killed run, and renames broken checkpoints to `broken-…`.

    A line about each of these is reported. If no checkpoint is whole, none is renamed.
    """
    remove_partial(folder)
    for path in folder.glob("tmp*"):  # weights of a large model, which Keras writes there
        path.unlink(missing_ok=True)
    problems = {path: _damage(path) for _, path in checkpoint_files(folder)}
    if all(problems.values()):
        return
    for path, problem in problems.items():
        if problem:
            aside = path.with_name(f"broken-{path.name}")
            os.replace(path, aside)
            report(f"Skipping broken checkpoint {path}: {problem}; it is now {aside.name}")


def restore_first(
    model: keras.Model, files: Sequence[tuple[int, Path]], report: Callable[[str], Any] = print
) -> Path | None:
    """Loads the first intact checkpoint into a compiled model; returns its path, if there are any.

    `files` has step and path of each; a line about each broken one is reported.

    Raises:
        NoIntactCheckpoint: If there are checkpoints, but none is intact.
    """
    for step, path in files:
        problem = _load(model, step, path)
        if not problem:
            return path
        report(f"Skipping broken checkpoint {path}: {problem}")
    if files:
        folder = files[0][1].parent
        raise NoIntactCheckpoint(
            f"None of the {len(files)} checkpoints in {folder} that would do is intact; remove "
            f"{folder.parent} to start again from step 0"
        )
    return None


def _load(model: keras.Model, step: int, path: Path) -> str:
    """Loads a checkpoint file into `model`; returns what is wrong with it, or ""."""
    if problem := _damage(path):
        return problem
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        return first_line(error)
    return "" if steps_done(model) == step else f"it holds step {steps_done(model)}"


def _damage(path: Path) -> str:
    """Returns what is wrong with a checkpoint file as an archive, or ""."""
    size = 0
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_RATIO * size:
                return "it unpacks to much more than its size"
            bad = archive.testzip()
    except Exception as error:  # zipfile raises many kinds for damaged archives
        return f"{first_line(error)} ({size:,} bytes)"
    return f"wrong checksum of {bad}" if bad else ""

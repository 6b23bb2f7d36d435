"""The run directory, which holds the state and the records of a training run.

config.yaml          config of the run, written first; later commands read the sizes from it
converter.json       settings of the converter
environment.json     versions, machine and data of every start
metrics.jsonl        metrics, one line per checkpoint
events/              TensorBoard
checkpoints/         step-00001000.keras, …, the newest and the best
.lock                process id and host of the process that trains
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from magenta_lite.config import ExperimentConfig, load_config, save_config
from magenta_lite.errors import UserError
from magenta_lite.files import PARTIAL, flush_names, remove_partial, replaced
from magenta_lite.locks import locked
from magenta_lite.training.history import lines_of

# Settings that may change when a run is resumed.
FREE_KEYS = (
    "train.steps",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.validation_examples",
    "train.patience",
)
PACKAGES = ("magenta_lite", "tensorflow", "keras", "tensorflow-probability", "note-seq", "numpy")


class RunDirectory:
    """A run directory, with the paths of its files and folders."""

    def __init__(self, path: Path):
        self.path = path
        self.config = path / "config.yaml"
        self.converter = path / "converter.json"
        self.environment = path / "environment.json"
        self.metrics = path / "metrics.jsonl"
        self.events = path / "events"
        self.checkpoints = path / "checkpoints"
        self._lock = path / ".lock"

    @contextlib.contextmanager
    def locked(self, chief: bool = True) -> Iterator[None]:
        """Context manager in which no other process can train in the directory, which is created.

        It does nothing unless `chief`: one worker of several writes.

        Raises:
            UserError: If another process trains there, or the directory cannot be written.
        """
        if not chief:
            yield
            return
        message = (
            f"{self.path} is in use: {{holder}} trains there; wait for its end or stop it, or "
            "choose another --run_dir"
        )
        is_new = not self.path.exists()
        try:
            with locked(self._lock, message, "--run_dir"):
                yield
        finally:
            if is_new:
                with contextlib.suppress(OSError):  # something was written there
                    self.path.rmdir()

    def is_free(self) -> bool:
        """Returns whether the directory has nothing but what a run leaves that is killed early."""
        if not self.path.exists():
            return True
        left = (self._lock.name, f"{PARTIAL}{self.config.name}")
        return self.path.is_dir() and all(path.name in left for path in self.path.iterdir())

    def check(self, config: ExperimentConfig, data: str = "") -> None:
        """Checks that a run of `config` may start or continue in the directory.

        If the run was trained on the same data set, by its name, the path of its source may differ.

        Raises:
            UserError: If the directory belongs to a different run, or is in use otherwise.
        """
        if not self.config.is_file():
            if not self.is_free():
                raise UserError(
                    f"{self.path} exists and is not a run directory; choose another --run_dir"
                )
            return
        for path in self.path.iterdir():  # in a run of a stranger, they could lead anywhere
            if path.is_symlink() and not path.is_dir():
                raise UserError(f"{path} is a link; put the file itself there, or remove it")
        there = load_config(self.config)
        if there.family != config.family:
            raise UserError(
                f"{self.path} holds a {there.family} run ({there.name}), not {config.family} "
                f"({config.name}); choose another --run_dir"
            )
        changed = differences(there, config)
        # The source of the run may be a relative path, that of the config is an absolute one.
        same_path = os.path.abspath(there.data.source) == config.data.source
        if _data_set(data) == self.built or same_path:
            changed = [change for change in changed if change[0] != "data.source"]
        if changed:
            parts = ", ".join(f"{key} ({old} there, {new} now)" for key, old, new in changed)
            other = "" if there.name == config.name else f", not of {config.name},"
            raise UserError(
                f"{self.path} holds a run of {there.name}{other} with other values: {parts}; "
                "choose another --run_dir, give the values of that run, or continue it with "
                f"--run_dir={self.path} and no --config"
            )

    def prepare(self, config: ExperimentConfig, converter: Any, data: dict[str, Any]) -> None:
        """Creates the directory and writes the config, the converter and the environment.

        The config comes first, so that a run that is killed afterwards can be resumed. The
        environment includes `data`, the name and the sizes of the data set. What killed processes
        left is removed.

        Raises:
            UserError: If the directory cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            flush_names(self.path.parent)
            with replaced(self.config) as partial:
                save_config(config, partial)
            self.checkpoints.mkdir(exist_ok=True)
            for folder in (self.path, self.events, self.checkpoints):
                remove_partial(folder)
            environment = {"starts": [*self._starts(), describe_environment() | {"data": data}]}
            for path, tree in (
                (self.converter, converter.to_json()),
                (self.environment, environment),
            ):
                replace_text(path, json.dumps(tree, indent=2) + "\n")
        except OSError as error:
            raise UserError(
                f"Cannot write run directory {self.path}: {error.strerror}; "
                "choose another --run_dir"
            ) from error

    def last_data(self) -> dict[str, Any] | None:
        """Returns name and sizes of the data set of the previous start, if there was one."""
        starts = self._starts()
        return starts[-1]["data"] if starts else None

    def _starts(self) -> list[dict[str, Any]]:
        """Returns the previous starts. Raises: UserError if they are something else."""
        if not self.environment.is_file():
            return []
        try:
            starts = json.loads(self.environment.read_text("utf-8"))["starts"]
            for start in starts:
                name, sizes = start["data"]["name"], start["data"]["sizes"]
                if not isinstance(name, str) or any(type(n) is not int for n in sizes.values()):
                    raise TypeError
        except (
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            raise UserError(
                f"{self.environment} does not list the starts of a run; remove it"
            ) from error
        return list(starts)

    @property
    def built(self) -> str:
        """Name of the data set of the previous start; empty if unknown."""
        return _data_set((self.last_data() or {}).get("name", ""))

    def forget_after(self, step: int) -> None:
        """Removes metrics and events of steps after `step`, which will be computed again."""
        if self.metrics.is_file():
            kept = [
                f"{line}\n" for line, values in lines_of(self.metrics) if values["step"] <= step
            ]
            replace_text(self.metrics, "".join(kept))
        for path in sorted(self.events.glob("events.*")):
            _forget_events_after(path, step)


def replace_text(path: Path, text: str) -> None:
    """Replaces a text file atomically."""
    with replaced(path) as partial:
        partial.write_text(text, encoding="utf-8")


def describe_environment() -> dict[str, Any]:
    """Returns the versions, the code revision, the command and the machine."""
    import tensorflow as tf

    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "directory": os.getcwd(),
        "python": platform.python_version(),
        "versions": versions,
        "git_revision": _git_revision(),
        "machine": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "devices": [device.name for device in tf.config.list_logical_devices()],
    }


def _git_revision() -> str | None:
    """Returns the commit of the checkout that contains this code; None outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def differences(there: ExperimentConfig, now: ExperimentConfig) -> list[tuple[str, Any, Any]]:
    """Returns key, old and new value of the changed settings that must not change in a run."""
    changed = []
    for section in ("converter", "model", "objective", "data", "train"):
        old, new = (dataclasses.asdict(getattr(c, section)) for c in (there, now))
        for name in old.keys() | new.keys():
            key = f"{section}.{name}"
            if key not in FREE_KEYS and old.get(name) != new.get(name):
                changed.append((key, old.get(name), new.get(name)))
    return sorted(changed, key=lambda change: change[0])


def _data_set(name: str) -> str:
    """Returns the name of a data set without the suffix for its codes."""
    return name.partition(", ")[0]


def _forget_events_after(path: Path, step: int) -> None:
    """Removes the events after `step` from a TensorBoard file."""
    import tensorflow as tf

    kept, dropped = [], False
    try:
        for record in tf.data.TFRecordDataset(str(path)):
            if tf.compat.v1.Event.FromString(record.numpy()).step <= step:
                kept.append(record.numpy())
            else:
                dropped = True
    except tf.errors.DataLossError:  # the end of a killed run
        dropped = True
    if not dropped:
        return
    with replaced(path) as partial, tf.io.TFRecordWriter(str(partial)) as writer:
        for record in kept:
            writer.write(record)

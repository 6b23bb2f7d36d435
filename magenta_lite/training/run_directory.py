"""The run directory: everything that later commands need to know about a training run.

config.yaml          what is trained; later commands take sizes from here
converter.json         how notes become numbers
environment.json     versions, machine and data of every start
metrics.jsonl        one line per checkpoint; says which is best
events/              TensorBoard
checkpoints/         step-00001000.keras, …, the newest and the best
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
from importlib import metadata
from pathlib import Path
from typing import Any

from magenta_lite.config import ExperimentConfig, load_config, save_config
from magenta_lite.errors import UserError
from magenta_lite.files import replaced

# What may differ when a run goes on: how far, how often and how much is kept and measured.
FREE_KEYS = (
    "train.steps",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.validation_examples",
    "train.patience",
)
PACKAGES = ("magenta_lite", "tensorflow", "keras", "tensorflow-probability", "note-seq", "numpy")


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """Paths of a run.

    Attributes:
        path: The directory.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The config as YAML."""
        return self.path / "config.yaml"

    @property
    def converter(self) -> Path:
        """The converter as JSON."""
        return self.path / "converter.json"

    @property
    def environment(self) -> Path:
        """Versions, machine and data."""
        return self.path / "environment.json"

    @property
    def metrics(self) -> Path:
        """One JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def events(self) -> Path:
        """TensorBoard's folder."""
        return self.path / "events"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    def check(self, config: ExperimentConfig, data: str = "") -> None:
        """Raises: UserError if the directory belongs to another run than `config` describes.

        Args:
            config: What is to be trained.
            data: Name of its data set. Where the run was trained on that, it may have come from
                another place.
        """
        if not self.config.is_file():
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                raise UserError(
                    f"{self.path} exists and is not a run directory; choose another --run_dir"
                )
            return
        there = load_config(self.config)
        if there.family != config.family:
            raise UserError(
                f"{self.path} holds a {there.family} run ({there.name}), not {config.family} "
                f"({config.name}); choose another --run_dir"
            )
        changed = differences(there, config)
        if _data_set(data) == self.built or _same_place(there.data.source, config.data.source):
            changed = [change for change in changed if change[0] != "data.source"]
        if changed:
            parts = ", ".join(f"{key} ({old} there, {new} now)" for key, old, new in changed)
            names = (
                f"of {there.name}"
                if there.name == config.name
                else (f"of {there.name}, not of {config.name}")
            )
            raise UserError(
                f"{self.path} holds a run {names} with other values: {parts}; "
                "choose another --run_dir, or give the values of that run"
            )

    def prepare(self, config: ExperimentConfig, converter: Any, data: dict[str, Any]) -> None:
        """Creates the directory and writes what describes the run.

        Args:
            config: What is trained.
            converter: The built converter.
            data: Name and sizes of the data set, for the record.

        Raises:
            UserError: If the directory cannot be written.
        """
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            starts = []
            if self.environment.is_file():
                with contextlib.suppress(json.JSONDecodeError, KeyError):
                    starts = json.loads(self.environment.read_text("utf-8"))["starts"]
            environment = {"starts": [*starts, describe_environment() | {"data": data}]}
            replace_text(self.converter, _json(converter.to_json()))
            replace_text(self.environment, _json(environment))
            with replaced(self.config) as partial:
                save_config(config, partial)
        except OSError as error:
            raise UserError(
                f"Cannot write run directory {self.path}: {error.strerror}; "
                "choose another --run_dir"
            ) from error

    def last_data(self) -> dict[str, Any] | None:
        """Returns name and sizes of the data set of the start before, if there was one."""
        try:
            return json.loads(self.environment.read_text("utf-8"))["starts"][-1]["data"]
        except (OSError, ValueError, LookupError):  # a record only: a run does not need it
            return None

    @property
    def built(self) -> str:
        """Name of the data set of the start before; empty if that is not known."""
        return _data_set((self.last_data() or {}).get("name", ""))

    def forget_after(self, step: int) -> None:
        """Removes metrics and events of steps after `step`: they will be computed again."""
        if self.metrics.is_file():
            kept = []
            for line in self.metrics.read_text("utf-8").splitlines():
                with contextlib.suppress(json.JSONDecodeError):  # the last line of a killed run
                    if json.loads(line)["step"] <= step:
                        kept.append(line + "\n")
            replace_text(self.metrics, "".join(kept))
        for path in sorted(self.events.glob("events.*")):
            _forget_events_after(path, step)


def replace_text(path: Path, text: str) -> None:
    """Writes a text file so that a reader sees the old one or the new one, whole."""
    with replaced(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def describe_environment() -> dict[str, Any]:
    """Returns versions, code revision, command and machine."""
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
    """Returns the commit of the checkout that this code lies in, if it does."""
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


def _json(tree: Any) -> str:
    return json.dumps(tree, indent=2) + "\n"


def differences(there: ExperimentConfig, now: ExperimentConfig) -> list[tuple[str, Any, Any]]:
    """Returns key, old and new value of what may not change while a run goes on."""
    changed = []
    for section in ("converter", "model", "objective", "data", "train"):
        old, new = (dataclasses.asdict(getattr(c, section)) for c in (there, now))
        for name in old.keys() | new.keys():
            key = f"{section}.{name}"
            if key not in FREE_KEYS and old.get(name) != new.get(name):
                changed.append((key, old.get(name), new.get(name)))
    return sorted(changed, key=lambda change: change[0])


def _data_set(name: str) -> str:
    """Returns the name of a data set without that of the codes made of it."""
    return name.partition(", ")[0]


def _same_place(old: str, new: str) -> bool:
    """Returns whether `old`, of a run that wrote down relative paths, is `new`."""
    return os.path.abspath(old) == new


def _forget_events_after(path: Path, step: int) -> None:
    """Rewrites one TensorBoard file without its events after `step`."""
    import tensorflow as tf

    kept = []
    dropped = False
    try:
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            if event.step <= step:
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

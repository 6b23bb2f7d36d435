"""Kills runs before every operation on their files, and resumes each; run by a test as a program.

python killed_run.py FOLDER

The runs are those of `trainer.train` with a model of one number, in processes that are forked, as
importing TensorFlow takes seconds.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
import types
import zipfile
from pathlib import Path

import tensorflow as tf
from small_run import MadeUpCollection, small_config

from magenta_lite.config import load_config
from magenta_lite.training import run_directory, trainer
from magenta_lite.training.checkpoints import checkpoint_files

WRITING = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate")  # of sys.audit
SETTINGS = (
    "train.checkpoint_every=2",
    "train.validation_examples=0",
    "train.keep_checkpoints=1",
    "train.patience=0",
)
BEST, STEPS = 2, 6


class Model:
    """Adds its step to a number at each step."""

    trainable_variables = ()
    stop_training = False
    renewed_every = 0

    def __init__(self):
        self.number = 0
        self.optimizer = types.SimpleNamespace(
            use_ema=False, learning_rate=0.1, iterations=types.SimpleNamespace(value=0)
        )

    def step(self) -> None:
        self.optimizer.iterations.value += 1
        self.number += self.optimizer.iterations.value

    def save(self, path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("state", json.dumps([self.optimizer.iterations.value, self.number]))

    def load_weights(self, path: Path) -> None:
        self.optimizer.iterations.value, self.number = state(path)

    def count_params(self) -> int:
        return 1

    def in_words(self, values, majority):
        return [f"number {self.number}"]

    def majority_accuracy(self, examples):
        return None

    def prepare(self, *arguments):
        pass

    before_checkpoint = prepare


class Feed:
    """Stands in for `training.feed.Feed`, without batches."""

    @classmethod
    def of(cls, *arguments):
        return cls()

    def fit(self, model, first, count, length, callbacks):
        for callback in callbacks:
            callback.set_model(model)
            callback.set_params({"steps": length})
        for epoch in range(count):
            for batch in range(length):
                model.step()
                for callback in callbacks:
                    callback.on_train_batch_end(batch, {"loss": 1.0})
            step = model.optimizer.iterations.value
            values = {"loss": 1.0, "val_reconstruction_nll": abs(step - BEST), "val_kl": 0.0}
            for callback in callbacks:
                callback.on_epoch_end(epoch, values | {"val_loss": 0.0})


def state(path: Path) -> list[int]:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("state"))


def train(run_dir: Path, steps: int = STEPS) -> None:
    trainer.train(small_config(*SETTINGS, f"train.steps={steps}"), run_dir, MadeUpCollection())


def kill_before(operation: int, folder: Path) -> None:
    """Kills this process with SIGKILL before an operation on the files of a folder."""
    done = 0

    def count(event: str, arguments: tuple) -> None:
        nonlocal done
        writes = event in WRITING or (
            event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        )
        if writes and str(arguments[0]).startswith(str(folder)):
            done += 1
            if done == operation:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def forked(log: Path, run_dir: Path, operation: int = 0) -> int:
    """Trains in a new process, and returns its exit code; negative: a signal."""
    pid = os.fork()
    if not pid:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        code = 1
        try:
            if operation:
                kill_before(operation, run_dir)
            train(run_dir)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def is_whole(path: Path) -> bool:
    try:
        return len(state(path)) == 2
    except (zipfile.BadZipFile, EOFError):
        return False


def check(run_dir: Path, log: Path, whole: list[int]) -> None:
    """Checks a run that was resumed from the best of the steps `whole`, and its end."""
    begun = max(whole, default=0)
    said = log.read_text()
    if begun < STEPS:
        assert f"from step {begun} to {STEPS}" in said, said
    steps = [json.loads(line)["step"] for line in (run_dir / "metrics.jsonl").open()]
    assert steps == list(range(2, STEPS + 1, 2)), steps
    kept = dict(checkpoint_files(run_dir / "checkpoints"))
    assert kept.keys() >= {BEST, STEPS}, kept  # one more if killed before the rotation
    assert all(state(path) == [step, step * (step + 1) // 2] for step, path in kept.items())
    assert load_config(run_dir / "config.yaml").train.steps == STEPS
    json.loads((run_dir / "converter.json").read_text())
    left = [path for path in run_dir.rglob("*") if path.name.startswith((".", "tmp"))]
    assert not left, left


def kill_at_each(run_dir: Path, begun: Path | None = None) -> int:
    """Kills new runs, or copies of a `begun` one, before operation 1, 2, …; returns the number."""
    log = run_dir.with_name("log")
    operation = 1
    while True:
        shutil.rmtree(run_dir, ignore_errors=True)
        if begun:
            shutil.copytree(begun, run_dir)
        code = forked(log, run_dir, operation=operation)
        files = checkpoint_files(run_dir / "checkpoints")
        whole = [step for step, path in files if is_whole(path)]
        if code == 0:
            return operation - 1
        assert code == -signal.SIGKILL, log.read_text()
        code = forked(log, run_dir)
        assert code == 0, f"after a kill before operation {operation}: {log.read_text()}"
        check(run_dir, log, whole)
        operation += 1


def main() -> None:
    trainer.build_model = lambda *arguments: Model()
    trainer.compile_model = lambda *arguments: None
    trainer.Feed = Feed
    run_directory.describe_environment = dict
    os.fsync = lambda file: None  # waits for the disk; what is written survives SIGKILL without it
    # Each process would start TensorFlow's runtime, which takes long.
    trainer.describe_devices = str
    tf.convert_to_tensor = int
    tf.summary.create_file_writer = lambda path: tf.summary.create_noop_writer()
    folder = Path(sys.argv[1])
    broken = folder / "broken"
    train(broken, 4)  # also imports what all processes need
    newest = broken / "checkpoints" / "step-00000004.keras"
    os.truncate(newest, 20)
    newest.with_name(".partial-step-00000006.keras").write_bytes(b"half")
    print("new", kill_at_each(folder / "run"))
    print("broken", kill_at_each(folder / "run", broken))


if __name__ == "__main__":
    main()

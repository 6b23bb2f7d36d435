"""Whole training runs, as programs: resume, replicas, workers, signals, a loss that is NaN."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import random
import shutil
import signal
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from processes import Program, run
from small_run import MadeUpCollection, small_config

PROGRAM = Path(__file__).with_name("small_run.py")
DISTRIBUTED = Path(__file__).parents[2] / "scripts" / "train_distributed.py"
STEPS = 24


def finish(run_dir: Path, *args: str) -> str:
    code, out, error = run(PROGRAM, run_dir, *args)
    assert code == 0, out + error
    return out


def last_checkpoint(run_dir: Path) -> Path:
    return run_dir / "checkpoints" / f"step-{STEPS:08d}.keras"


def state(run_dir: Path) -> dict[str, np.ndarray]:
    """Returns weights and optimiser state of the newest checkpoint, without metrics."""
    import h5py

    arrays = {}
    newest = max((run_dir / "checkpoints").iterdir())
    with zipfile.ZipFile(newest) as archive:
        file = h5py.File(io.BytesIO(archive.read("model.weights.h5")))
        file.visititems(
            lambda name, item: (
                arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
    kept = ("converter/", "decoder/", "mu/", "sigma/", "optimizer/")
    arrays = {name: array for name, array in arrays.items() if name.startswith(kept)}
    assert len(arrays) > 30
    return arrays


def assert_same(run_dir: Path, reference: dict[str, np.ndarray], tolerance: float) -> None:
    arrays = state(run_dir)
    assert arrays.keys() == reference.keys()
    for name, array in arrays.items():
        np.testing.assert_allclose(array, reference[name], rtol=0, atol=tolerance, err_msg=name)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / "whole"
    finish(run_dir)
    return run_dir


@pytest.fixture(scope="module")
def reference(whole):
    return state(whole)


def steps_in_metrics(run_dir: Path) -> list[int]:
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


def test_training_changes_the_weights(whole, reference):
    kernel = next(name for name in reference if "output_projection" in name)
    assert np.abs(reference[kernel]).max() > 0
    assert reference["optimizer/vars/0"] == STEPS


def pictures(run_dir: Path) -> list[str]:
    """Returns the names of the pictures that TensorBoard shows."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    events = [
        e for path in (run_dir / "events").iterdir() for e in EventFileLoader(str(path)).Load()
    ]
    names = [value.tag for event in events for value in event.summary.value]
    assert "train/loss" in names
    return [name for name in names if name.startswith("samples")]


def test_each_validation_leaves_a_picture_of_samples(whole):
    assert pictures(whole) == 3 * ["samples/0"]


def test_ended_four_times_ends_with_the_same_weights(tmp_path, reference):
    """Killed twice at any moment, then stopped by two signals, which save the step they stop at."""
    run_dir = tmp_path / "run"
    log, checkpoints = run_dir / "metrics.jsonl", run_dir / "checkpoints"
    # Neither when it is saved nor whether it is validated matters.
    settings = ("train.checkpoint_every=3", "train.validation_examples=0")
    rng = random.Random(time.time_ns())
    for step in sorted(rng.sample(range(1, STEPS // 2), 2)):
        program = Program(PROGRAM, run_dir, *settings)
        wait_until(program, lambda step=step: (steps_in_progress(log) or [0])[-1] >= step)
        time.sleep(rng.random() * 0.3)
        assert program.process.is_alive(), "it ended before it was killed"
        program.process.kill()  # SIGKILL
        program.process.join()
        print(f"killed after step {step}")
    saved = 0
    for number in (signal.SIGTERM, signal.SIGINT):
        program = Program(PROGRAM, run_dir, *settings)
        wait_until(program, lambda program=program: "First step" in program.said())
        os.kill(program.process.pid, number)
        code, out, _ = program.finish(60)
        assert code == 128 + number
        assert not saved or f"from step {saved} " in out
        saved = max(int(path.stem.removeprefix("step-")) for path in checkpoints.iterdir())
    assert f"from step {saved} " in finish(run_dir, *settings)
    assert_same(run_dir, reference, tolerance=0)
    steps = steps_in_metrics(run_dir)
    assert steps == sorted(set(steps)), "a step was recorded twice"
    assert steps[-1] == STEPS
    assert not pictures(run_dir)


def wait_until(program: Program, happened) -> None:
    deadline = time.monotonic() + 120
    while program.process.is_alive() and time.monotonic() < deadline and not happened():
        time.sleep(0.02)
    assert happened(), program.said()


def steps_in_progress(log: Path) -> list[int]:
    lines = log.read_text().splitlines(keepends=True) if log.exists() else []
    return [json.loads(line)["step"] for line in lines if line.endswith("\n")]


def test_truncated_checkpoint_falls_back_to_the_one_before(tmp_path, whole, reference):
    run_dir = tmp_path / "run"
    shutil.copytree(whole, run_dir)
    newest = last_checkpoint(run_dir)
    os.truncate(newest, newest.stat().st_size // 2)
    output = finish(run_dir)
    assert f"Skipping broken checkpoint {newest}" in output
    assert "from step 16 to 24" in output
    assert_same(run_dir, reference, tolerance=0)
    assert steps_in_metrics(run_dir) == [8, 16, 24]


def test_two_replicas_give_the_weights_of_one(tmp_path, whole, reference):
    run_dir = tmp_path / "run"
    finish(run_dir, "--cpus=2", "--strategy=mirrored", f"train.checkpoint_every={STEPS}")
    assert_same(run_dir, reference, tolerance=1e-5)
    losses = [metrics_of(path)["val_loss"] for path in (whole, run_dir)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)


def metrics_of(run_dir: Path) -> dict[str, float]:
    return json.loads((run_dir / "metrics.jsonl").read_text().splitlines()[-1])


def distributed():
    spec = importlib.util.spec_from_file_location("train_distributed", DISTRIBUTED)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_workers_one_killed_give_the_weights_of_one_process(tmp_path, reference, capfd):
    run_dir = tmp_path / "run"
    killed = [
        sys.executable,
        str(PROGRAM),
        str(run_dir),
        "--strategy=multiworker",
        f"--kill_worker_1={tmp_path / 'killed'}",
        "train.checkpoint_every=12",
        "train.validation_examples=0",
    ]
    assert distributed().watch(killed, 2, 3) == 0
    output = capfd.readouterr().out
    assert "worker 1 was ended by SIGKILL; all start again (1 of 3)" in output
    assert f"[worker 0] step {STEPS}" in output
    assert_same(run_dir, reference, tolerance=1e-5)


def test_worker_that_fails_by_itself_is_not_started_again():
    code = "import sys; sys.exit(2)"
    assert distributed().watch([sys.executable, "-c", code], 2, 3) == 2


def test_loss_that_is_nan_stops_with_its_step_and_keeps_the_checkpoint_before(tmp_path):
    from magenta_lite.training.callbacks import DivergedError
    from magenta_lite.training.trainer import train

    changes = ("train.learning_rate=1e30", "train.schedule=decay", "train.checkpoint_every=1")
    broken = small_config(*changes)
    with pytest.raises(DivergedError, match=r"The loss is (nan|inf) at step 2; .*00000001.keras"):
        train(broken, tmp_path / "run", MadeUpCollection())
    assert [p.name for p in (tmp_path / "run/checkpoints").iterdir()] == ["step-00000001.keras"]

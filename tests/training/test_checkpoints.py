"""Which checkpoints stay, which one is loaded, and averages of weights in them."""

from __future__ import annotations

import json
import os
import shutil

import keras
import numpy as np
import pytest
from small_run import small_config

from magenta_lite.converters import build_converter
from magenta_lite.errors import UserError
from magenta_lite.families.building import build_model
from magenta_lite.training.averages import averaged, begin_averages
from magenta_lite.training.checkpoints import (
    CheckpointError,
    checkpoint_files,
    clean_up,
    save_checkpoint,
)
from magenta_lite.training.history import History
from magenta_lite.training.run import load_run
from magenta_lite.training.run_directory import RunDirectory
from magenta_lite.training.trainer import compile_model

LOSSES = {10: 3.0, 20: 1.0, 30: 2.0, 40: 2.5, 50: 2.6}


def compiled(*overrides):
    config = small_config(*overrides)
    model = build_model(config, build_converter(config.converter))
    compile_model(model, config.train)
    return config, model


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run of five validations, the second of which was best; two checkpoints are to stay."""
    directory = RunDirectory(tmp_path_factory.mktemp("runs") / "run")
    config, model = compiled()
    directory.prepare(config, build_converter(config.converter), {"name": "x", "sizes": {}})
    history = History(config)
    for step, loss in LOSSES.items():
        model.optimizer.iterations.assign(step)
        model.weights[0].assign(np.full(model.weights[0].shape, step))
        values = {"val_loss": 0.0, "val_reconstruction_nll": loss, "val_kl": 0.0}
        history.add(step, values)
        with directory.metrics.open("a") as file:
            file.write(json.dumps({"step": step} | values) + "\n")
        save_checkpoint(model, directory.checkpoints, keep=2, history=history)
    return directory.path


def test_the_newest_and_the_best_stay(run_dir):
    assert [step for step, _ in checkpoint_files(run_dir / "checkpoints")] == [50, 40, 20]


@pytest.mark.parametrize(("wanted", "step"), [("best", 20), ("newest", 50), ("40", 40)])
def test_a_run_is_loaded_with_the_checkpoint_that_is_wanted(run_dir, wanted, step):
    run = load_run(run_dir, wanted)
    assert (run.step, run.newest) == (step, 50)
    assert np.all(np.asarray(run.model.weights[0]) == step)


def test_without_validations_the_newest_is_the_best(run_dir, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run_dir, copy)
    (copy / "metrics.jsonl").unlink()
    assert load_run(copy).step == 50


def test_a_step_without_checkpoint_is_told_with_those_that_are_there(run_dir):
    with pytest.raises(UserError, match=r"--checkpoint=30: .* of step 20, 40, 50") as error:
        load_run(run_dir, "30")
    assert "\n" not in str(error.value)


def test_a_broken_best_is_skipped_and_a_broken_step_is_an_error(run_dir, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(run_dir, copy)
    best = copy / "checkpoints" / "step-00000020.keras"
    os.truncate(best, best.stat().st_size // 2)
    assert load_run(copy).step == 50
    assert f"Skipping broken checkpoint {best}" in capsys.readouterr().out
    with pytest.raises(CheckpointError, match="is intact"):
        load_run(copy, "20")


@pytest.mark.parametrize("content", [b"", b"no archive", None], ids=["empty", "garbage", "cut"])
def test_broken_checkpoints_are_set_aside_and_the_next_best_is_used(run_dir, tmp_path, content):
    copy = tmp_path / "run"
    shutil.copytree(run_dir, copy)
    folder, told = copy / "checkpoints", []
    for step in (20, 50):  # the best and the newest
        path = folder / f"step-{step:08d}.keras"
        path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    (folder / ".partial-step-00000060.keras").touch()
    (folder / "tmpabc").touch()
    clean_up(folder, told.append)
    assert sorted(path.name for path in folder.iterdir()) == [
        "broken-step-00000020.keras",
        "broken-step-00000050.keras",
        "step-00000040.keras",
    ]
    assert [line.split(": ")[0] for line in told] == [
        f"Skipping broken checkpoint {folder / f'step-{step:08d}.keras'}" for step in (50, 20)
    ]
    assert load_run(copy).step == 40
    (folder / "step-00000040.keras").write_bytes(b"")
    clean_up(folder, told.append)  # without any that is whole, none is renamed
    assert len(told) == 2
    with pytest.raises(CheckpointError, match="is intact"):
        load_run(copy)


def test_what_was_just_written_stays(tmp_path):
    _, model = compiled()
    (tmp_path / "step-00000099.keras").touch()
    for step in (10, 20):
        model.optimizer.iterations.assign(step)
        assert save_checkpoint(model, tmp_path, keep=1).is_file()
    assert [step for step, _ in checkpoint_files(tmp_path)] == [99, 20]


# Averages of weights ------------------------------------------------------------------------


def test_an_average_reaches_over_the_last_tenth_until_it_decays_as_told():
    _, model = compiled("train.ema=0.8")
    optimizer, weights = model.optimizer, model.trainable_variables
    rng, expected = np.random.default_rng(0), 0.0
    for step in range(60):
        decay = min(0.8, step / (step + 9))
        optimizer.apply([rng.normal(size=w.shape).astype(np.float32) for w in weights])
        expected = decay * expected + (1 - decay) * np.asarray(weights[0])
    raw = [np.asarray(w) for w in weights]
    with averaged(model):
        np.testing.assert_allclose(weights[0], expected, atol=1e-6)
    for before, weight in zip(raw, weights, strict=True):
        np.testing.assert_array_equal(before, weight)


def test_a_checkpoint_holds_the_averages_as_weights(tmp_path):
    _, model = compiled("train.ema=0.5")
    begin_averages(model)
    (first, *_) = model.trainable_variables
    average = np.asarray(first).copy()
    first.assign_add(np.ones(first.shape))
    with averaged(model):
        path = save_checkpoint(model, tmp_path, keep=1)
    loaded = keras.models.load_model(path)
    np.testing.assert_array_equal(loaded.trainable_variables[0], average)
    np.testing.assert_array_equal(first, average + 1)


def test_without_averages_nothing_changes():
    _, model = compiled()
    before = model.get_weights()
    with averaged(model):
        for a, b in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

"""When a run ends: after its minutes, without patience, by signals; and what is kept of it."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import pytest
from processes import Program, run
from small_run import MadeUpCollection, small_config
from test_training import assert_same, state, steps_in_metrics, wait_until

from magenta_lite.config import load_config
from magenta_lite.training import trainer
from magenta_lite.training.checkpoints import checkpoint_files
from magenta_lite.training.record import Record

PROGRAM = Path(__file__).with_name("small_run.py")
UNCHANGING = ("train.learning_rate=0", "train.min_learning_rate=0", "train.checkpoint_every=4")


@pytest.fixture(autouse=True, scope="module")
def nothing_is_drawn():
    """Samples are compiled for longer than all else here takes; `test_training` looks at them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Record, "draw", lambda *arguments: None)
        yield


def train(run_dir: Path, *overrides: str, **kwargs):
    config = small_config(*overrides)
    return trainer.train(config, run_dir, MadeUpCollection(), **kwargs)


def test_patience_ends_a_run_and_the_same_command_again_knows_it(tmp_path, capsys):
    """Validations that are equal are not better: the best one is the first."""
    run_dir = tmp_path / "run"
    train(run_dir, *UNCHANGING, "train.steps=8", "train.patience=2", "train.keep_checkpoints=1")
    assert "Validation was best at step 4 and has risen since" in capsys.readouterr().out
    # What came before is known: one more is enough.
    settings = (*UNCHANGING, "train.patience=2", "train.keep_checkpoints=1")
    train(run_dir, *settings)
    words = "Stopped early: the last 2 validations were not better than that of step 4"
    assert words in capsys.readouterr().out
    assert steps_in_metrics(run_dir) == [4, 8, 12]
    assert [step for step, _ in checkpoint_files(run_dir / "checkpoints")] == [12, 4]
    train(run_dir, *settings)
    out = capsys.readouterr().out
    assert words in out
    assert "First step" not in out
    train(run_dir, *settings, "train.patience=0", "train.steps=16")
    assert steps_in_metrics(run_dir) == [4, 8, 12, 16]


def test_patience_without_validation_says_so_and_trains_on(tmp_path, capsys):
    train(tmp_path / "run", "train.patience=1", "train.validation_examples=0", "train.steps=4")
    assert "train.patience=1 has no effect without validation" in capsys.readouterr().out


AVERAGED = ("train.ema=0.9", "train.validation_examples=0")


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "averaged"
    train(run_dir, *AVERAGED)
    return state(run_dir)


def test_a_run_with_averages_goes_on_to_the_same_bits(tmp_path, averaged):
    run_dir = tmp_path / "run"
    train(run_dir, *AVERAGED, "train.steps=11")
    train(run_dir, *AVERAGED)
    assert_same(run_dir, averaged, tolerance=0)


def test_averages_of_two_replicas_are_those_of_one(tmp_path, averaged):
    run_dir = tmp_path / "run"
    code, out, error = run(PROGRAM, run_dir, "--cpus=2", "--strategy=mirrored", *AVERAGED)
    assert code == 0, out + error
    assert_same(run_dir, averaged, tolerance=1e-5)


def test_minutes_fix_steps_and_schedules_and_leave_no_other_trace(tmp_path, monkeypatch, capsys):
    """The run is, to the bit, the one that its config.yaml describes."""
    costs = []
    monkeypatch.setattr(trainer, "plan", lambda *measured: costs.append(measured) or (16, 8))
    timed = ("train.minutes=1", "train.steps=5000", "objective.beta_rate=0.9999")
    train(tmp_path / "timed", *timed, "train.scale_schedules=true")
    config = load_config(tmp_path / "timed" / "config.yaml")
    assert (config.train.steps, config.train.checkpoint_every) == (16, 8)
    assert config.objective.beta_rate == pytest.approx(0.9999 ** (5000 / 16))
    (measured, seconds, minutes) = costs[0]
    assert 0 < measured.step < measured.first_step < 60
    assert 0 < measured.check < 60
    assert 0 < seconds < 60 * minutes == 60
    assert "16 steps of " in capsys.readouterr().out

    plain = dataclasses.replace(config, train=dataclasses.replace(config.train, minutes=0))
    trainer.train(plain, tmp_path / "plain", MadeUpCollection())
    for name in ("timed", "plain"):
        assert steps_in_metrics(tmp_path / name) == [8, 16]
    assert_same(tmp_path / "timed", state(tmp_path / "plain"), tolerance=0)

    trainer.train(config, tmp_path / "timed", MadeUpCollection())
    assert "nothing left to train" in capsys.readouterr().out
    assert len(costs) == 1


def test_minutes_make_batches_smaller_unless_their_size_is_given(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(trainer, "plan", lambda *measured: (8, 8))
    monkeypatch.setattr(trainer, "batch_size_for", lambda *measured: 4)
    config = small_config("train.minutes=0.1")  # measures little
    assert config.train.batch_size > 4
    trainer.train(config, tmp_path / "smaller", MadeUpCollection())
    assert "train.batch_size=4 instead of " in capsys.readouterr().out
    smaller = load_config(tmp_path / "smaller" / "config.yaml")
    assert smaller.train.batch_size == 4
    unvalidated = {"minutes": 0, "validation_examples": 0}  # the weights are the same
    plain = dataclasses.replace(smaller, train=dataclasses.replace(smaller.train, **unvalidated))
    trainer.train(plain, tmp_path / "plain", MadeUpCollection())
    assert_same(tmp_path / "smaller", state(tmp_path / "plain"), tolerance=0)

    config = small_config("train.minutes=0.1", "train.validation_examples=0")
    trainer.train(config, tmp_path / "kept", MadeUpCollection(), given=["train.batch_size"])
    assert load_config(tmp_path / "kept" / "config.yaml").train.batch_size > 4


def test_a_signal_while_the_speed_is_measured_leaves_nothing(tmp_path):
    program = Program(PROGRAM, tmp_path / "run", "train.minutes=5")
    wait_until(program, lambda: "Measuring how many steps fit" in program.said())
    os.kill(program.process.pid, signal.SIGINT)
    code, out, _ = program.finish(60)
    assert code == 130
    assert "Ctrl-C: stopping after measuring the speed" in out
    assert not (tmp_path / "run").exists()


def test_a_signal_is_answered_while_the_graph_is_built_and_obeyed_after_the_step(tmp_path):
    program = Program(PROGRAM, tmp_path / "run")
    wait_until(program, lambda: "Run: " in program.said())
    os.kill(program.process.pid, signal.SIGINT)
    wait_until(program, lambda: "Ctrl-C: stopping after this step" in program.said())
    assert "First step" not in program.said()
    code, _, _ = program.finish(60)
    assert code == 130
    (path,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert path.name.startswith("step-000000")


def test_a_second_signal_ends_at_once_and_says_what_is_kept(tmp_path):
    program = Program(PROGRAM, tmp_path / "run")
    wait_until(program, lambda: "Run: " in program.said())
    os.kill(program.process.pid, signal.SIGTERM)
    wait_until(program, lambda: "SIGTERM: stopping" in program.said())
    os.kill(program.process.pid, signal.SIGTERM)
    code, out, _ = program.finish(60)
    assert code == 128 + signal.SIGTERM
    assert "SIGTERM: ended at once; there is no checkpoint yet" in out
    assert not list((tmp_path / "run" / "checkpoints").iterdir())

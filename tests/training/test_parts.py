"""Schedules, intervals and the checks of a run directory."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from small_run import small_config

from magenta_lite.converters import build_converter
from magenta_lite.errors import UserError
from magenta_lite.modeling.schedules import DecayToMinimum
from magenta_lite.modeling.sections import ModelSection
from magenta_lite.training.run_directory import RunDirectory
from magenta_lite.training.trainer import intervals


def test_learning_rate_is_the_recorded_one_at_step_1200():
    # tests/golden/music_vae/tiny-cat-mel_2bar_small: `learning_rate`
    rate = DecayToMinimum(1e-3, 0.9999, 1e-5)(1200)
    assert float(rate) == pytest.approx(0.0008880285, rel=1e-6)


def test_schedule_survives_its_config():
    schedule = DecayToMinimum(1e-3, 0.99, 1e-5)
    again = DecayToMinimum.from_config(schedule.get_config())
    assert float(again(70)) == float(schedule(70))


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (0, 40, [(0, 4, 10)]),
        (0, 35, [(0, 3, 10), (30, 1, 5)]),
        (13, 35, [(13, 1, 7), (20, 1, 10), (30, 1, 5)]),
        (13, 15, [(13, 1, 2)]),
        (40, 40, []),
    ],
)
def test_intervals_end_at_multiples_and_at_the_last_step(start, stop, expected):
    assert list(intervals(start, stop, 10)) == expected


@pytest.fixture
def directory(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    config = small_config()
    directory.prepare(config, build_converter(config.converter), {"name": "x", "sizes": {}})
    return directory


def test_run_may_go_on_for_longer_but_not_with_other_sizes(directory):
    directory.check(small_config("train.steps=99", "train.keep_checkpoints=1"))
    with pytest.raises(UserError, match=r"model\.latent_size \(8 there, 9 now\)"):
        directory.check(small_config("model.latent_size=9"))


def test_run_of_another_family_is_refused_with_both_names(directory):
    @dataclasses.dataclass(frozen=True)
    class OtherModel(ModelSection):
        kind = "melody_rnn"

    other = dataclasses.replace(small_config(), model=OtherModel())
    with pytest.raises(UserError, match=r"music_vae .* melody_rnn"):
        directory.check(other)


def test_directory_with_other_things_is_refused(tmp_path):
    (tmp_path / "letter.txt").write_text("dear reader")
    with pytest.raises(UserError, match="not a run directory"):
        RunDirectory(tmp_path).check(small_config())


def test_metrics_after_the_step_of_a_restart_are_forgotten(directory):
    directory.metrics.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    directory.forget_after(2)
    assert directory.metrics.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_events_after_the_step_of_a_restart_are_forgotten(directory):
    import tensorflow as tf

    writer = tf.summary.create_file_writer(str(directory.events))
    with writer.as_default():
        for step in range(4):
            tf.summary.scalar("x", np.float32(step), step=step)
    writer.close()
    directory.forget_after(1)
    (path,) = directory.events.iterdir()
    events = [tf.compat.v1.Event.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(path))]
    assert [event.step for event in events if event.summary.value] == [0, 1]

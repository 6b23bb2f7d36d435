"""`train.precision=auto`: measured once, written into the run, and kept."""

import numpy as np
import pytest
from small_run import MadeUpCollection, small_config

from magenta_lite.config import get_config, load_config, resumed
from magenta_lite.training import precision
from magenta_lite.training.trainer import train

FAST = "train.precision=mixed_bfloat16"


@pytest.fixture
def measured(monkeypatch):
    """Measures small models too; returns the ratio of the speeds, and which ones were measured."""
    ratio, asked = [2.0], []

    def seconds(config, *_):
        asked.append(config.train.precision)
        return 1.0 if config.train.precision == "float32" else 1 / ratio[0]

    monkeypatch.setattr(precision, "LEAST_WEIGHTS", 0)
    monkeypatch.setattr(precision, "has_bfloat16", lambda: True)
    monkeypatch.setattr(precision, "_seconds", seconds)
    return ratio, asked


def test_a_run_has_the_faster_precision_and_keeps_it(tmp_path, measured, capsys):
    ratio, asked = measured
    steps = ("train.steps=4", "train.checkpoint_every=4")
    auto = train(small_config(*steps), tmp_path / "auto", MadeUpCollection())
    assert asked == ["float32", "mixed_bfloat16"]
    said = "Precision: mixed_bfloat16; a step takes 1 s in float32 and 0.5 s in mixed_bfloat16"
    assert said in capsys.readouterr().out
    stored = load_config(tmp_path / "auto" / "config.yaml")
    assert stored.train.precision == auto.dtype_policy.name == "mixed_bfloat16"
    given = train(small_config(*steps, FAST), tmp_path / "given", MadeUpCollection())
    for a, b in zip(auto.get_weights(), given.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)

    ratio[0] = 0.5
    longer = train(small_config("train.steps=5"), tmp_path / "auto", MadeUpCollection())
    assert longer.dtype_policy.name == "mixed_bfloat16" and len(asked) == 2


def test_bfloat16_must_be_clearly_faster(tmp_path, measured):
    ratio, _ = measured
    ratio[0] = 1.05
    train(small_config("train.steps=1"), tmp_path / "run", MadeUpCollection())
    assert load_config(tmp_path / "run" / "config.yaml").train.precision == "float32"


def test_real_steps_are_timed(monkeypatch, tmp_path):
    monkeypatch.setattr(precision, "LEAST_WEIGHTS", 0)
    monkeypatch.setattr(precision, "has_bfloat16", lambda: True)
    train(small_config("train.steps=1"), tmp_path / "run", MadeUpCollection())
    found = load_config(tmp_path / "run" / "config.yaml").train.precision
    assert found in ("float32", "mixed_bfloat16")


def test_small_models_are_not_measured(tmp_path, measured, monkeypatch):
    monkeypatch.setattr(precision, "LEAST_WEIGHTS", 500_000)
    train(small_config("train.steps=1"), tmp_path / "run", MadeUpCollection())
    assert load_config(tmp_path / "run" / "config.yaml").train.precision == "float32"
    assert not measured[1]


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx512f amx_bf16", True), ("avx512_bf16", True), ("avx512f amx_int8", False)],
)
def test_the_flags_of_a_cpu_say_whether_it_computes_in_bfloat16(monkeypatch, flags, expected):
    monkeypatch.setattr(precision.tf.config, "list_physical_devices", lambda kind: [])
    monkeypatch.setattr(precision.Path, "read_text", lambda path: f"flags\t: {flags} xsave\n")
    assert precision.has_bfloat16() == expected


def test_the_originals_settings_have_float32():
    assert get_config("cat-mel_2bar").train.precision == "auto"
    assert get_config("cat-mel_2bar", original=True).train.precision == "float32"
    assert get_config("cat-mel_2bar", [FAST], original=True).train.precision == "mixed_bfloat16"


def test_a_precision_that_is_given_is_not_that_of_the_run():
    there, now = small_config("train.precision=float32"), small_config(FAST)
    assert resumed(now, there).train.precision == "mixed_bfloat16"
    assert resumed(small_config(), now).train.precision == "mixed_bfloat16"

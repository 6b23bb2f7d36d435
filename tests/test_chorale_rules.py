"""Broken rules of four-part writing are counted where they are, and nowhere else."""

import numpy as np
import pytest

import magenta_lite as ml
from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.evaluation import chorales
from magenta_lite.evaluation.chorales import counted, grid
from magenta_lite.modeling.examples import Examples

GOOD = [[72, 67, 60, 48], [74, 65, 59, 43]]  # soprano up, the others down
CASES = {
    "good": (GOOD, {}),
    "fifths": ([[72, 67, 60, 53], [74, 65, 62, 55]], {"parallel_fifths", "parallel_octaves"}),
    "octave": ([[72, 67, 64, 48], [74, 66, 63, 50]], {"parallel_octaves"}),
    "held fifth": ([[72, 67, 60, 53], [72, 65, 60, 53]], {}),
    "crossing": ([[65, 67, 60, 48], [65, 67, 60, 48]], {"crossings"}),
    "range": ([[84, 67, 60, 48], [84, 67, 60, 48]], {"out_of_range"}),
    "rests": ([[72, -1, 60, -1], [74, -1, 59, -1]], {}),
}


@pytest.mark.parametrize("case", CASES)
def test_rules_are_counted(case):
    rows, broken = CASES[case]
    shares = counted([np.array(rows)])
    assert {rule for rule, share in shares.items() if share} == set(broken)
    assert all(0 <= share <= 1 for share in shares.values())


def test_shares_are_of_all_chances():
    # Of three common moves of two voices with another one, one is in parallel octaves.
    shares = counted([np.array([[72, 67, 64, 48], [74, 67, 64, 50], [74, 67, 64, 50]])])
    assert shares["parallel_octaves"] == 1.0  # only soprano and bass move together
    crossed = counted([np.array([[65, 67, 60, 48], [72, 67, 60, 48]])])
    assert crossed["crossings"] == pytest.approx(1 / 6)


def test_ids_become_pitches():
    converter = build_converter(get_config("music_transformer_jsb").converter)
    pitches = np.array([[72, 67, -1, 48], [74, 65, 59, 43]])
    ids = np.array([*converter.ids_of_grid(pitches), 0])
    np.testing.assert_array_equal(grid(ids, converter.config.min_pitch), pitches)


def test_samples_of_a_model_stand_beside_the_music(monkeypatch):
    monkeypatch.setattr(chorales, "SAMPLES", 4)
    monkeypatch.setattr(chorales, "TOKENS", 64)
    sizes = [f"model.{name}=16" for name in ("hidden_size", "key_size", "filter_size")]
    sizes += ["model.layers=1", "model.heads=2", "model.max_relative_position=16"]
    config = ml.get_config("music_transformer_jsb", sizes)
    run = ml.as_run(config, ml.build_model(config))
    row = np.array(run.converter.ids_of_grid(np.tile(CASES["crossing"][0], (64, 1))))
    music = Examples(row[None], np.array([len(row)], np.int32), None)
    numbers = chorales.compared(run, music, seed=0)
    assert numbers.keys() == chorales.MEANINGS.keys()
    assert numbers["crossings_of_music"] == pytest.approx(1 / 3)
    assert numbers["out_of_range_of_samples"] > 0.1  # it has learned nothing

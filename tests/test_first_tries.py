"""scripts/benchmarks/first_tries.py: how it scores what a model writes."""

import sys
from pathlib import Path

import numpy as np
import pytest

from magenta_lite.config import config_names, get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.base import EventFormat
from magenta_lite.data.collections import Examples

MELODY = EventFormat("categorical", (90,))


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[1] / "scripts" / "benchmarks"))
        import first_tries

        yield first_tries
        sys.modules.pop("first_tries"), sys.modules.pop("ngram")


def whole(events):
    events = np.asarray(events)
    return Examples(events, np.full(len(events), events.shape[1], np.int32), None)


def scales(count, seed):
    """Returns rows of 32 steps that go up step by step from anywhere."""
    first = np.random.default_rng(seed).integers(2, 50, (count, 1))
    return whole(first + np.arange(32))


def test_every_small_configuration_is_there_once_with_its_other_names(script):
    known = script.tiny_configs()
    names = [*known, *(name for others in known.values() for name in others)]
    wanted = [
        name
        for name in config_names()
        if name.endswith("_tiny") and get_config(name).family in ("music_vae", "melody_rnn")
    ]
    assert sorted(names) == wanted
    assert known["cat-mel_2bar_tiny"] == ["cat-mel_2bar_small_tiny"]


def test_what_follows_the_rules_of_the_data_is_likelier_than_what_does_not(script):
    noise = whole(np.random.default_rng(9).integers(2, 82, (20, 32)))
    splits = {"train": scales(500, 0), "validation": scales(20, 1), "test": scales(20, 2)}
    nll = script.likelihoods(splits | {"samples": scales(20, 3), "noise": noise}, MELODY, 0)
    assert nll["samples"] == pytest.approx(nll["test"], rel=0.1)
    assert nll["noise"] > 10 * nll["test"]
    # The first event of a scale is a guess among 48; all others follow from it.
    assert nll["test"] == pytest.approx(np.log(48) / 32, rel=0.3)
    given = script.likelihoods(splits, MELODY, 1)
    assert given["test"] < nll["test"] / 5


def test_events_become_one_id_a_step_in_each_part(script):
    trio = whole(np.arange(24).reshape(2, 4, 3))
    parts = script.streams(trio, EventFormat("multi_categorical", (90, 90, 512)))
    np.testing.assert_array_equal(parts[2].events, trio.events[..., 2])
    hits = np.zeros((1, 2, 61), np.uint8)
    hits[0, 1, [0, 3, 60]] = 1
    (sets,) = script.streams(whole(hits), EventFormat("roll", (61,)))
    assert sets.events.tolist() == [[0, 1 + 8 + 2**60]]
    groove = np.full((1, 2, 27), -0.3, np.float32)
    groove[0, 0, [1, 2]] = 1
    (sets,) = script.streams(whole(groove), EventFormat("groove", (9,)))
    assert sets.events.tolist() == [[6, 0]]
    tracks = np.array([[5, 9, 0, 0, 9, 9, 9, 9, 5, 5, 5, 5]])
    (each,) = script.streams(whole(tracks), EventFormat("categorical", (10,), 0, "", 3, 9))
    assert each.lengths.tolist() == [2, 1, 4]


def test_data_are_counted_in_all_keys_of_training(script):
    converter = build_converter(get_config("cat-mel_2bar_tiny").converter)
    melody = np.zeros((1, 32), np.uint8)
    melody[0, :3] = [40, 0, 44]
    moved = script.in_all_keys(whole(melody), converter, (-1, 1))
    assert moved.events[:, :3].tolist() == [[39, 0, 43], [40, 0, 44], [41, 0, 45]]
    assert moved.lengths.tolist() == [32, 32, 32]


def test_notes_are_counted_by_the_bar_and_drones_are_no_music(script):
    converter = build_converter(get_config("cat-mel_2bar_tiny").converter)
    melody = np.zeros((2, 32), np.uint8)
    melody[:, ::4] = 40
    assert script.notes_per_bar(whole(melody), converter) == 4
    assert script.Measured(1.4, 1.0, 3.0, 4.0).is_music
    assert not script.Measured(1.6, 1.0, 4.0, 4.0).is_music
    assert not script.Measured(0.5, 1.0, 1.0, 4.0).is_music

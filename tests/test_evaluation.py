"""Samples compared with held-out music, under n-grams of the training data."""

import dataclasses

import numpy as np
import pytest

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.base import EventFormat
from magenta_lite.data.collections import Examples
from magenta_lite.evaluation.ngrams import in_all_keys, likelihoods, streams
from magenta_lite.evaluation.samples import MEANINGS, compared, sounding_steps
from magenta_lite.families.building import build_model
from magenta_lite.testing.events import made_up_events

MELODY = EventFormat("categorical", (90,))


def whole(events):
    events = np.asarray(events)
    return Examples(events, np.full(len(events), events.shape[1], np.int32), None)


def scales(count, seed):
    """Returns rows of 32 steps that go up step by step from anywhere."""
    first = np.random.default_rng(seed).integers(2, 50, (count, 1))
    return whole(first + np.arange(32))


def test_what_follows_the_rules_of_the_data_is_likelier_than_what_does_not():
    noise = whole(np.random.default_rng(9).integers(2, 82, (20, 32)))
    splits = {"train": scales(500, 0), "validation": scales(20, 1), "test": scales(20, 2)}
    nll = likelihoods(splits | {"samples": scales(20, 3), "noise": noise}, MELODY, 0)
    assert nll["samples"] == pytest.approx(nll["test"], rel=0.1)
    assert nll["noise"] > 10 * nll["test"]
    # The first event of a scale is a guess among 48; all others follow from it.
    assert nll["test"] == pytest.approx(np.log(48) / 32, rel=0.3)
    given = likelihoods(splits, MELODY, 1)
    assert given["test"] < nll["test"] / 5


def test_events_become_one_id_a_step_in_each_part():
    trio = whole(np.arange(24).reshape(2, 4, 3))
    parts = streams(trio, EventFormat("multi_categorical", (90, 90, 512)))
    np.testing.assert_array_equal(parts[2].events, trio.events[..., 2])
    hits = np.zeros((1, 2, 61), np.uint8)
    hits[0, 1, [0, 3, 60]] = 1
    (sets,) = streams(whole(hits), EventFormat("roll", (61,)))
    assert sets.events.tolist() == [[0, 1 + 8 + 2**60]]
    groove = np.full((1, 2, 27), -0.3, np.float32)
    groove[0, 0, [1, 2]] = 1
    (sets,) = streams(whole(groove), EventFormat("groove", (9,)))
    assert sets.events.tolist() == [[6, 0]]
    tracks = np.array([[5, 9, 0, 0, 9, 9, 9, 9, 5, 5, 5, 5]])
    (each,) = streams(whole(tracks), EventFormat("categorical", (10,), 0, "", 3, 9))
    assert each.lengths.tolist() == [2, 1, 4]


def test_data_are_counted_in_all_keys_of_training():
    converter = build_converter(get_config("cat-mel_2bar_tiny").converter)
    melody = np.zeros((1, 32), np.uint8)
    melody[0, :3] = [40, 0, 44]
    moved = in_all_keys(whole(melody), converter, (-1, 1), 2**20)
    assert moved.events[:, :3].tolist() == [[39, 0, 43], [40, 0, 44], [41, 0, 45]]
    assert moved.lengths.tolist() == [32, 32, 32]


def melodies(count, every, leap=0):
    """Returns melodies with a note every few steps, which leaps up and down."""
    events = np.zeros((count, 32), np.uint8)
    events[:, ::every] = 40
    events[:, every :: 2 * every] += leap
    return whole(events)


class MelodyCollection:
    """Melodies with a note on each beat."""

    def split(self, name: str) -> Examples:
        return melodies({"train": 64, "validation": 8, "test": 8}[name], 4)


def test_samples_are_compared_by_likelihood_notes_and_leaps():
    config = get_config("cat-mel_2bar_tiny", ["data.transpose=[0,0]"])
    converter, data = build_converter(config.converter), MelodyCollection()

    def numbers(samples):
        return compared(samples, data.split("test"), data, config, converter)

    same = numbers(melodies(8, 4))
    assert same.keys() == MEANINGS.keys()
    assert same["ngram_nll_of_samples"] == pytest.approx(same["ngram_nll_of_music"])
    assert same["notes_per_bar_of_samples"] == same["notes_per_bar_of_music"] == 4
    assert same["leaps_of_samples"] == same["leaps_of_music"] == 0
    assert same["melody_time_of_samples"] == same["melody_time_of_music"] == 1
    sparse = numbers(melodies(8, 8, leap=13))
    assert sparse["ngram_nll_of_samples"] > 2 * same["ngram_nll_of_samples"]
    assert (sparse["notes_per_bar_of_samples"], sparse["leaps_of_samples"]) == (2, 1)
    drums = dataclasses.replace(config, converter=get_config("cat-drums_2bar_tiny").converter)
    data = whole(np.zeros((4, 32), np.int32))
    found = compared(data, data, Whole(data), drums, build_converter(drums.converter))
    assert not any(name.startswith("leaps") for name in found)


@pytest.mark.parametrize(
    ("melody", "steps"),
    [([0, 40, 0, 1, 0, 0], 2), ([42, 0, 0, 0], 4), ([0, 1, 0], 0), ([1, 40, 41, 1, 0, 50], 3)],
)
def test_a_melody_sounds_from_its_notes_to_their_ends(melody, steps):
    assert sounding_steps(np.array(melody)) == steps


@dataclasses.dataclass
class Whole:
    """A collection with the same examples in each split."""

    examples: Examples

    def split(self, name: str) -> Examples:
        return self.examples


@pytest.mark.parametrize(
    "name",
    ["cat-mel_2bar_med_chords_tiny", "groovae_2bar_hits_control_tiny", "basic_improv_tiny"],
)
def test_models_with_conditioning_are_compared_too(name):
    config = get_config(name)
    converter = build_converter(config.converter)
    form = converter.event_format
    events = made_up_events(form, 20, converter.window_steps, seed=1)
    chords = np.ones(events.shape[:2], np.uint8) if form.control == "chords" else None
    lengths = np.full(len(events), events.shape[1], np.int32)
    held_out = Examples(events, lengths, None, chords)
    model = build_model(config, converter)
    samples = model.samples(converter, held_out, 1.0, 0)
    assert len(samples) >= 16
    numbers = compared(samples, held_out, Whole(held_out), config, converter)
    assert np.isfinite(list(numbers.values())).all()
    assert numbers["notes_per_bar_of_samples"] > 0

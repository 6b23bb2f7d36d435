"""The accuracy of one who knows nothing, beside what models count as accuracy."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.musenet.converter import PREFIX
from magenta_lite.families.building import build_model
from magenta_lite.families.music_vae.heads import (
    Categorical,
    GrooveHead,
    MultiCategorical,
    NadeHead,
)

STEPS = 500
RNG = np.random.default_rng(0)


def skewed(sizes) -> np.ndarray:
    """Returns ids (N, parts) of which some are more frequent than others."""
    return np.stack([(RNG.random(STEPS) ** 3 * size).astype(np.int32) for size in sizes], axis=1)


def frequencies(ids, size: int) -> np.ndarray:
    return np.log(np.bincount(ids, minlength=size) / len(ids) + 1e-9).astype(np.float32)


def accuracy_of(head, parameters, events) -> float:
    """Returns the accuracy of the same parameters at every step."""
    value, weight = head.measures(tf.tile(parameters[None], [STEPS, 1]), events)["accuracy"]
    return float(tf.reduce_sum(value * weight) / tf.reduce_sum(weight))


def test_of_classes_it_is_what_their_frequencies_alone_get():
    events = skewed([7])[:, 0]
    head = Categorical(7)
    expected = accuracy_of(head, frequencies(events, 7), tf.constant(events))
    assert head.majority_accuracy(events) == pytest.approx(expected)


def test_of_parts_it_is_the_mean_of_theirs():
    sizes = (7, 4, 3)
    events = skewed(sizes)
    head = MultiCategorical(sizes)
    parameters = np.concatenate([frequencies(events[:, i], n) for i, n in enumerate(sizes)])
    expected = accuracy_of(head, parameters, tf.constant(events))
    assert head.majority_accuracy(events) == pytest.approx(expected)


def test_of_grooves_it_is_that_of_hits_at_drums_that_mostly_hit():
    shares = np.array([0.8, 0.1, 0.4])
    hits = (RNG.random((STEPS, 3)) < shares).astype(np.float32)
    events = np.concatenate([hits, RNG.random((STEPS, 6)).astype(np.float32)], axis=1)
    head = GrooveHead(3)
    parameters = np.concatenate([hits.mean(axis=0) - 0.5, np.zeros(6)]).astype(np.float32)
    expected = accuracy_of(head, parameters, tf.constant(events))
    assert head.majority_accuracy(events) == pytest.approx(expected)


def test_of_sets_of_drums_it_is_the_share_of_the_most_frequent_set():
    events = np.array([[0, 0], [1, 0], [1, 0], [1, 1], [1, 0]])
    assert NadeHead(2, 4).majority_accuracy(events) == pytest.approx(3 / 5)


def of_config(name: str, events: np.ndarray, lengths: list[int]) -> float:
    config = get_config(name)
    model = build_model(config, build_converter(config.converter))
    return model.majority_accuracy(SimpleNamespace(events=events, lengths=np.array(lengths)))


def test_filling_counts_for_nothing():
    # Ids of a MelodyRNN's labels are those of events; the first event is not predicted.
    events = np.array([[5, 1, 1, 7, 0, 0], [5, 1, 0, 0, 0, 0]])
    assert of_config("basic_rnn_tiny", events, [4, 2]) == pytest.approx(3 / 4)
    events = np.array([[9, 9, 3, 0, 0], [9, 4, 0, 0, 0]])
    assert of_config("music_transformer_tiny", events, [3, 2]) == pytest.approx(3 / 5)


def test_what_stands_in_front_of_a_musenet_piece_counts_for_nothing():
    ids = [7] * PREFIX + [11, 11, 12, 0]
    events = np.zeros((1, len(ids), 3), np.int32)
    events[0, :, 0] = ids
    assert of_config("musenet_nano", events, [len(ids) - 1]) == pytest.approx(2 / 3)


def test_of_codes_it_is_the_share_of_the_most_frequent_one():
    events = np.array([[3, 3, 1, 2]])
    assert of_config("jukebox_prior_tiny", events, [4]) == pytest.approx(1 / 2)


def test_accuracy_of_a_training_on_events_is_that_of_events():
    """Whichever class stands for an event: here each is the repeat of the one 16 steps before."""
    config = get_config("lookback_rnn", ["objective.target=event"])
    model = build_model(config, build_converter(config.converter))
    note, usual = model.encoding.onset_ids[0], model.encoding.usual_id
    bar = np.full(16, usual, np.int32)
    bar[[0, 5, 9]] = note
    events = np.tile(bar, 3)[None]
    batch = {"events": tf.constant(events), "length": tf.constant([48])}
    repeat = model.encoding.num_ids  # the class of the shortest distance
    logits = tf.one_hot(tf.fill([1, 47], repeat), model.encoding.num_classes) * 50.0
    model.mean_loss(batch, logits)
    # Before the first bar there is nothing but the usual event.
    assert float(model.means["accuracy"].result()) == pytest.approx(45 / 47)
    assert float(model.means["event_accuracy"].result()) == pytest.approx(6 / 8)
    assert float(model.means["no_event_accuracy"].result()) == 1
    examples = SimpleNamespace(events=events, lengths=np.array([48]))
    assert model.majority_accuracy(examples) == pytest.approx(39 / 47)

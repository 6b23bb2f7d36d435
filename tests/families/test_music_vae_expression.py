"""Velocities and offsets of grooves that a layer of their own computes from all hits."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.data.collections import Examples
from magenta_lite.errors import UserError
from magenta_lite.families.building import build_model, count_weights
from magenta_lite.families.music_vae.heads import GrooveHead
from magenta_lite.modeling.sampling import Sampler
from magenta_lite.testing.events import made_up_events

NAME = "groovae_2bar_humanize"
ROWS, DRUMS = 3, 9


def groovae(*changes):
    keras.utils.set_random_seed(2)
    config = get_config(f"{NAME}_tiny", changes)
    return build_model(config, build_converter(config.converter))


@pytest.fixture(scope="module")
def model():
    return groovae()


def batch_of(model, rows=ROWS):
    batch = {
        "events": tf.constant(made_up_events(model.events_format, rows, model.length)),
        "length": tf.fill([rows], model.length),
    }
    rng = np.random.default_rng(3)
    for name, draw in model.random_inputs(training=False).items():
        values = getattr(rng, {"normal": "standard_normal", "uniform": "random"}[draw.kind])
        batch[name] = tf.constant(values((rows, *draw.shape)), tf.float32)
    return batch


def parts(groove):
    """Returns hits or their logits, velocities and offsets, NumPy (..., D) each."""
    return np.split(np.asarray(groove), 3, axis=-1)


def sigmoid(x):
    return 1 / (1 + np.exp(-np.float64(x)))


# The head --------------------------------------------------------------------------------------


def made_up_step(rng):
    """Returns parameters, hits, velocities and offsets of three steps of two classes."""
    hits = np.float32([[1, 0], [0, 0], [1, 1]])
    values = rng.uniform(0, 1, (2, 3, 2)).astype(np.float32) * hits
    return rng.normal(size=(3, 6)).astype(np.float32), hits, *values


def test_errors_count_at_hits_only_and_with_their_weight():
    rng = np.random.default_rng(0)
    parameters, hits, velocities, offsets = made_up_step(rng)
    events = np.concatenate([hits, velocities, offsets], axis=-1)
    logits, own_velocities, own_offsets = parts(parameters)
    log_loss = -np.log(np.where(hits == 1, sigmoid(logits), sigmoid(-logits))).sum(-1)
    errors = [
        (hits * difference**2).sum(-1)
        for difference in (sigmoid(own_velocities) - velocities, np.tanh(own_offsets) - offsets)
    ]
    head = GrooveHead(2, error_weight=3.0, at_hits=True)
    nll = head.nll(parameters, events)
    np.testing.assert_allclose(nll, log_loss + 3 * sum(errors), rtol=1e-5)
    measured = head.measures(parameters, events)
    for name, error in zip(("velocities_loss", "offsets_loss"), errors, strict=True):
        np.testing.assert_allclose(measured[name][0], error, rtol=1e-5)
    # Two normal densities of variance 1 / 6 at each hit.
    densities = head.distribution(parameters).log_prob(events) + nll
    np.testing.assert_allclose(densities, -hits.sum(-1) * math.log(math.pi / 3), atol=1e-5)


def test_what_has_no_hit_has_neither_velocity_nor_offset():
    parameters = made_up_step(np.random.default_rng(1))[0]
    head = GrooveHead(2, at_hits=True)
    drawn = head.distribution(parameters).sample(20, seed=4)
    hits, velocities, offsets = parts(drawn)
    assert 0 < hits.mean() < 1
    _, own_velocities, own_offsets = parts(parameters)
    np.testing.assert_allclose(velocities, hits * sigmoid(own_velocities), rtol=1e-5)
    np.testing.assert_allclose(offsets, hits * np.tanh(own_offsets), rtol=1e-5)


# The model -------------------------------------------------------------------------------------


def test_it_reads_the_hits_of_all_steps_and_no_velocities(model):
    batch = batch_of(model)
    before = model(batch)["logits"].numpy()
    hits, velocities, offsets = parts(batch["events"])
    louder = np.concatenate([hits, velocities / 2, offsets + hits / 9], axis=-1)
    np.testing.assert_array_equal(model(batch | {"events": louder})["logits"], before)
    # With the latent vector kept, another last hit changes what comes before it.
    events, z = np.moveaxis(batch["events"].numpy(), 0, 1), model(batch)["z"]
    changed = events.copy()
    changed[-1, :, 0] = 1 - changed[-1, :, 0]
    old, new = (parts(model.decoder(tf.constant(x), z)) for x in (events, changed))
    np.testing.assert_array_equal(old[0], new[0])  # the decoder has not read it yet
    assert (old[1][:-1] != new[1][:-1]).mean() > 0.9


def test_decoding_gives_the_values_of_teacher_forcing_at_its_own_hits(model):
    z = tf.random.stateless_normal([ROWS, 32], [0, 1])
    choose = model.decoder.choose_with(
        tf.random.stateless_uniform([model.length, ROWS, DRUMS], [0, 2])
    )
    events, parameters = model.decoder.decode(z, choose)
    np.testing.assert_allclose(model.decoder(events, z), parameters, atol=1e-5)
    hits, velocities, offsets = parts(events)
    assert 0 < hits.mean() < 1
    np.testing.assert_allclose(velocities, hits * sigmoid(parts(parameters)[1]), atol=1e-6)
    np.testing.assert_allclose(offsets, hits * np.tanh(parts(parameters)[2]), atol=1e-6)


def test_scheduled_sampling_leaves_the_hits_to_which_velocities_belong():
    model = groovae("objective.sampling_rate=1", "model.dropout=0")
    batch = batch_of(model)
    forced, sampled = (parts(model(batch, training=t)["logits"]) for t in (False, True))
    assert not np.allclose(forced[0], sampled[0], atol=1e-4)
    np.testing.assert_allclose(forced[1:], sampled[1:], atol=1e-5)


def test_dropout_acts_on_velocities_in_training_only():
    model = groovae("model.dropout=0.9999")  # nearly nothing is kept
    batch = batch_of(model) | {"dropout": tf.reshape(tf.range(2 * ROWS), [ROWS, 2])}
    bias = model.decoder.expression.output_projection.bias
    bias.assign(tf.range(18.0) / 18)
    velocities = parts(model(batch, training=True)["logits"])[1]
    only_bias = np.isclose(velocities, np.broadcast_to(bias[:DRUMS], velocities.shape))
    assert only_bias.mean() > 0.95
    assert np.std(parts(model(batch, training=False)["logits"])[1], axis=0).min() > 0


def test_evaluation_reports_unweighted_errors_a_hit(model):
    assert model.objective.error_weight > 1
    batch = batch_of(model)
    events = batch["events"].numpy()
    numbers = model.measure(Examples(events, np.full(ROWS, model.length, np.int32), None, None))
    mu = model(batch)["mu"]
    logits = model.decoder(tf.constant(np.moveaxis(events, 0, 1)), mu)
    hits, velocities, offsets = parts(np.moveaxis(events, 0, 1))
    _, own_velocities, own_offsets = parts(logits)
    squares = (sigmoid(own_velocities) - velocities) ** 2, (np.tanh(own_offsets) - offsets) ** 2
    expected = [(hits * square).sum() / hits.sum() for square in squares]
    assert [numbers["velocity_mse"], numbers["offset_mse"]] == pytest.approx(expected, rel=1e-4)


def test_given_hits_stay_when_a_groove_is_decoded(model):
    head = model.decoder.cores[0].head
    hits = np.float32(np.random.default_rng(5).integers(0, 2, (4, DRUMS)))
    logits = np.where(hits, 3.0, -3.0).astype(np.float32)
    chosen = head.choose(logits, np.full((4, DRUMS), 0.5, np.float32), Sampler(temperature=0.0))
    np.testing.assert_array_equal(parts(chosen), [hits, 0 * hits, 0 * hits])
    np.testing.assert_array_equal(parts(head.with_hits(logits, hits)), [hits, 0 * hits, 0 * hits])


# Configurations --------------------------------------------------------------------------------


def test_an_imported_checkpoint_is_decoded_as_the_original_does_it():
    config = get_config(NAME, original=True)
    assert config.objective.error_weight == 1
    built = build_converter(config.converter)
    assert count_weights(config, built) - 2 * 256 == 4_085_019  # and the fit of the prior


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        (NAME, "objective.error_weight=0", "must be above 0"),
        (NAME, "model.expression_units=-1", "must be at least 0"),
        ("cat-mel_2bar", "model.expression_units=8", "are for converter.kind=groove only"),
    ],
)
def test_settings_that_cannot_be_are_refused(name, change, words):
    with pytest.raises(UserError, match=words):
        config = get_config(name, [change])
        config.model.input_format(build_converter(config.converter).event_format)

"""Behaviour of the MusicVAE beyond the recorded numbers."""

import itertools
import math
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.base import EventFormat
from magenta_lite.families.building import build_model
from magenta_lite.families.music_vae.config import VAEObjective
from magenta_lite.families.music_vae.model import MusicVAE, slerp
from magenta_lite.modeling.optimizers import ClippedAdam
from magenta_lite.modeling.sampling import Sampler
from magenta_lite.testing.events import made_up_events
from magenta_lite.training.optimizer import compile_model

STEPS = 32
EVENTS = EventFormat("categorical", (90,))


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    config = get_config("cat-mel_2bar_tiny")
    return build_model(config, build_converter(config.converter))


def batch_of(size, model, seed=0):
    rng = np.random.default_rng(seed)
    batch = {
        "events": tf.constant(rng.integers(0, 90, (size, STEPS)), tf.int32),
        "length": tf.constant(rng.integers(1, STEPS + 1, size), tf.int32),
    }
    for name, draw in model.random_inputs().items():
        values = getattr(rng, {"normal": "standard_normal", "uniform": "random"}[draw.kind])
        batch[name] = tf.constant(values((size, *draw.shape)), tf.float32)
    return batch


def test_what_follows_the_end_of_an_example_changes_nothing(model):
    batch = batch_of(6, model)
    past = tf.range(STEPS) >= batch["length"][:, None]
    other = batch | {"events": tf.where(past, 5, batch["events"])}
    for key in ("mu", "sigma"):
        np.testing.assert_allclose(model(batch)[key], model(other)[key], atol=1e-6)
    first, second = (model.loss_terms(b, model(b)) for b in (batch, other))
    for key in first:
        np.testing.assert_allclose(first[key], second[key], atol=1e-4)


def test_decoding_step_by_step_gives_the_logits_of_teacher_forcing(model):
    batch = batch_of(6, model)
    events = tf.transpose(batch["events"])
    z = model(batch)["z"]
    forced = model.decoder(events, z)
    chosen, logits = model.decoder.decode(z, lambda t, core, logits: events[t])
    np.testing.assert_array_equal(chosen, events)
    np.testing.assert_allclose(logits, forced, atol=1e-5)


def test_saved_model_file_gives_the_same_numbers_in_a_new_process(model, tmp_path):
    path = tmp_path / "model.keras"
    compile_model(model, get_config("cat-mel_2bar").train)
    model.save(path)
    batch = batch_of(4, model)
    np.savez(tmp_path / "batch.npz", **{k: v.numpy() for k, v in batch.items()})
    code = (
        "import sys, keras, numpy as np, tensorflow as tf\n"
        "import magenta_lite.models\n"
        "model = keras.saving.load_model(sys.argv[1])\n"
        "batch = {k: tf.constant(v) for k, v in np.load(sys.argv[2]).items()}\n"
        "np.save(sys.argv[3], model(batch)['logits'])\n"
    )
    arguments = [path, tmp_path / "batch.npz", tmp_path / "logits.npy"]
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "logits.npy"), model(batch)["logits"])


def test_a_gradient_reaches_every_weight_and_one_batch_can_be_learnt():
    keras.utils.set_random_seed(3)
    small = ["model.encoder_units=[32]", "model.decoder_units=[32,32]"]
    config = get_config("cat-mel_2bar_tiny", small)
    model = build_model(config, build_converter(config.converter))
    model.compile(optimizer=ClippedAdam(1e-2))
    batch = batch_of(16, model) | {"length": tf.fill([16], STEPS)}
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x=batch, y_pred=model(batch, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)
    data = tf.data.Dataset.from_tensors(batch).repeat(150)
    history = model.fit(data, epochs=1, verbose=0).history
    assert model.evaluate(data.take(1), verbose=0, return_dict=True)["nll_per_step"] < 3.0
    assert history["loss"][0] > 0


def test_decoding_is_traced_once_for_all_seeds_and_temperatures():
    config = get_config("cat-mel_2bar_tiny", ["model.decoder_units=[16,16]"])
    model = build_model(config, build_converter(config.converter))
    z = tf.random.stateless_normal([2, config.model.latent_size], [0, 0])
    first, second, greedy = (
        model.decode(z, seed, temperature=t) for seed, t in ((1, 1.0), (2, 1.0), (1, 0))
    )
    assert not np.array_equal(first, second) and not np.array_equal(first, greedy)
    np.testing.assert_array_equal(model.decode(z, 1), first)
    np.testing.assert_array_equal(model.decode(z, 1, min_p=1.0), greedy)
    assert model._decode_graph.graph.experimental_get_tracing_count() == 1


def test_mixed_bfloat16_is_close_to_float32_and_finite(model):
    config = get_config("cat-mel_2bar_tiny")
    low = build_model(config, build_converter(config.converter), "mixed_bfloat16")
    low.set_weights(model.get_weights()[: len(low.weights)])
    batch = batch_of(8, model)
    full, reduced = model(batch), low(batch)
    np.testing.assert_allclose(reduced["mu"], full["mu"], atol=0.02)
    np.testing.assert_allclose(reduced["logits"], full["logits"], atol=0.1)


@pytest.mark.parametrize(
    ("schedule", "rate", "step", "expected"),
    [
        ("constant", 0.3, 50, 0.3),
        ("exponential", 0.999, 1000, 1 - 0.999**1000),
        ("inverse_sigmoid", 1000, 0, 0.000999),
        ("inverse_sigmoid", 1000, 6908, 0.5),
        ("inverse_sigmoid", 1000, 10_000, 0.9566),
        ("inverse_sigmoid", 1000, 200_000, 1.0),
    ],
)
def test_probability_of_scheduled_sampling(schedule, rate, step, expected):
    config = get_config("cat-mel_2bar_tiny")
    objective = VAEObjective(sampling_schedule=schedule, sampling_rate=rate)
    model = MusicVAE(EVENTS, STEPS, config.model, objective)
    model.compile(optimizer=ClippedAdam())
    model.optimizer.build(model.trainable_variables)
    model.optimizer.iterations.assign(step)
    assert float(model.sampling_probability()) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("probability", "same"), [(0.0, True), (1.0, False)])
def test_scheduled_sampling_replaces_what_the_decoder_is_fed(probability, same):
    config = get_config("cat-mel_2bar_tiny")
    objective = VAEObjective(sampling_schedule="constant", sampling_rate=probability)
    model = MusicVAE(EVENTS, STEPS, config.model, objective)
    batch = batch_of(40, model)
    forced, trained = model(batch, training=False), model(batch, training=True)
    assert np.allclose(forced["logits"], trained["logits"], atol=1e-5) is same
    # The first step is fed nothing but zeros either way.
    np.testing.assert_allclose(forced["logits"][:, 0], trained["logits"][:, 0], atol=1e-5)


@pytest.mark.parametrize("name", ["hierdec-trio_16bar_tiny", "groovae_2bar_humanize_tiny"])
def test_scheduled_sampling_replaces_no_event_that_starts_a_segment(name):
    changes = ["model.latent_size=8", "model.dropout=0", "model.expression_units=0"]
    config = get_config(name, changes)
    converter = build_converter(config.converter)
    model = build_model(config, converter)
    decoder, steps = model.decoder, model.length
    events = made_up_events(converter.event_format, 4, steps)
    events = tf.cast(np.swapaxes(events, 0, 1), model.head.event_dtype)
    z = tf.random.stateless_normal([4, 8], seed=[0, 1])
    uniforms = tf.random.stateless_uniform([steps, 4, 1 + decoder.uniforms], seed=[0, 2])
    untouched = decoder.scheduled_sampling(events, z, None, uniforms, 0.0)
    np.testing.assert_array_equal(untouched, events)
    sampled = decoder.scheduled_sampling(events, z, None, uniforms, 1.0)
    assert np.mean(sampled != events) > 0.3
    # What the first step of a segment reads is the given end of the one before: decoding with
    # all other events replaced gives the very samples.
    forced = decoder(sampled, z)
    choose = decoder.choose_with(uniforms[..., 1:])
    for t in (0, 5, steps - 2):
        if t % decoder.segment_steps:
            again = decoder.join(
                [
                    choose(t, k, part)
                    for k, part in enumerate(
                        tf.split(forced[t], [c.head.parameter_size for c in decoder.cores], axis=-1)
                    )
                ]
            )
            # Rounding decides where a random number lies between two classes.
            assert np.isclose(again, sampled[t], atol=1e-4).mean() > 0.9


def test_free_bits_count_on_the_total_divergence(model):
    batch = batch_of(4, model)
    outputs = model(batch)
    kl = model.loss_terms(batch, outputs)["kl"]
    closed_form = 0.5 * (
        outputs["sigma"] ** 2 + outputs["mu"] ** 2 - 1 - 2 * tf.math.log(outputs["sigma"])
    )
    np.testing.assert_allclose(kl, tf.reduce_sum(closed_form, axis=-1), rtol=1e-5)
    free = float(kl[0]) / math.log(2)
    twin = MusicVAE(EVENTS, STEPS, model.sizes, VAEObjective(free_bits=free))
    terms = twin.loss_terms(batch, outputs)
    np.testing.assert_allclose(terms["kl_cost"], np.maximum(kl - float(kl[0]), 0), atol=1e-4)


def test_samples_follow_the_probabilities():
    logits = tf.constant([[0.0, 1.0, -1.0, 2.0, 0.5]])
    draws = 10_000
    uniform = tf.random.stateless_uniform([draws], seed=[0, 1])
    for temperature in (0.5, 1.0):
        chosen, _ = Sampler(temperature).draw(tf.repeat(logits, draws, axis=0), uniform)
        expected = tf.nn.softmax(logits[0] / temperature).numpy() * draws
        observed = np.bincount(chosen, minlength=5)
        chi_square = ((observed - expected) ** 2 / expected).sum()
        assert chi_square < 18.5  # 0.1 % of chance with 4 degrees of freedom


def test_the_same_seed_gives_the_same_music_and_another_seed_other_music(model):
    sample = model.signatures()["sample"]

    def draw(seed, temperature=1.0, n=5):
        return sample(tf.constant(n), tf.constant(temperature), tf.constant(seed))["events"]

    np.testing.assert_array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))
    assert draw(1).shape == (5, STEPS)
    assert draw(1, temperature=0.0).numpy().max() < 90


def test_interpolation_keeps_both_ends_and_equal_ends_stay_finite():
    rng = np.random.default_rng(0)
    start, end = (tf.constant(rng.normal(size=16), tf.float32) for _ in range(2))
    arc = slerp(start, end, 5)
    np.testing.assert_allclose(arc[0], start, atol=1e-6)
    np.testing.assert_allclose(arc[-1], end, atol=1e-6)
    steps = [float(tf.norm(b - a)) for a, b in itertools.pairwise(arc)]
    assert max(steps) < 2 * min(steps)
    for other in (start, 2 * start, -start, tf.zeros(16)):
        assert np.isfinite(slerp(start, other, 4)).all()
    np.testing.assert_allclose(slerp(start, start, 3)[1], start, atol=1e-6)


def test_encode_decode_and_interpolate_agree_with_one_another(model):
    functions = model.signatures()
    batch = batch_of(2, model)
    length = tf.fill([2], STEPS)
    mu = functions["encode"](batch["events"], length)["mu"]
    greedy = {"temperature": tf.constant(0.0), "seed": tf.constant(0)}
    decoded = functions["decode"](mu, **greedy)["events"]
    start, end = batch["events"]
    arc = functions["interpolate"](start, end, tf.constant(4), **greedy)["events"]
    np.testing.assert_array_equal(arc[0], decoded[0])
    np.testing.assert_array_equal(arc[-1], decoded[1])


def test_names_of_the_weights_stay_as_they_are(model):
    assert [weight.path for weight in model.trainable_variables][:3] == [
        "encoder/forward_0/kernel",
        "encoder/forward_0/recurrent_kernel",
        "encoder/forward_0/bias",
    ]

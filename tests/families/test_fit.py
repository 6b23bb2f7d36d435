"""What holds for a model of any family: `fit` on batches of a user's own, names of its weights."""

import collections

import keras
import numpy as np
import pytest
import tensorflow as tf

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.errors import UserError
from magenta_lite.families.building import build_model

ROWS = 4


def model_of(name: str, *overrides: str):
    config = get_config(name, overrides)
    keras.utils.set_random_seed(0)
    return build_model(config, build_converter(config.converter))


def music_vae(model, rng):
    return {
        "events": rng.integers(0, 4, (ROWS, model.length)),
        "length": np.full(ROWS, model.length, np.int32),
    }


def melody_rnn(model, rng):
    return {"events": rng.integers(1, 9, (ROWS, 24)), "length": np.full(ROWS, 24, np.int32)}


def tokens(model, rng):
    return {"events": rng.integers(1, 9, (ROWS, 32))}


def band(model, rng):
    events = rng.integers(0, 3000, (ROWS, model.crop, 3))
    events[..., 1:] %= 100
    return {"events": events}


def sound(model, rng):
    return {"events": rng.uniform(-0.5, 0.5, (ROWS, 4096, 1)).astype(np.float32)}


def codes(model, rng):
    labels = np.tile([[1000, 0, 256, 1, 2]], (ROWS, 1))
    return {"events": rng.integers(0, 8, (ROWS, model.sizes.context)), "labels": labels}


SMALL_BAND = ("converter.crop=64", "model.layers=1", "model.hidden_size=32")
FAMILIES = {
    "cat-mel_2bar_tiny": (music_vae, ("model.dropout=0.2",)),
    "attention_rnn_tiny": (melody_rnn, ()),
    "music_transformer_tiny": (tokens, ("model.dropout=0.2",)),
    "musenet_tiny": (band, (*SMALL_BAND, "objective.mixup=0.2")),
    "vqvae_tiny": (sound, ("model.depth=1",)),
    "rvqvae_tiny": (sound, ("model.depth=1", "model.quantizer_dropout=0.5")),
    "jukebox_prior_tiny": (codes, ()),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_fit_draws_what_a_batch_of_music_lacks(name):
    batch_of, overrides = FAMILIES[name]
    model = model_of(name, *overrides)
    batch = batch_of(model, np.random.default_rng(0))
    data = tf.data.Dataset.from_tensor_slices(batch).batch(ROWS, drop_remainder=True)
    model.compile(optimizer="adam", jit_compile=False)
    history = model.fit(data, validation_data=data, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all() and np.isfinite(history["val_loss"]).all()


def test_the_first_step_is_traced_once(monkeypatch):
    model = model_of("attention_rnn_tiny")
    steps, step = [], model.train_step
    monkeypatch.setattr(model, "train_step", lambda batch: steps.append(batch) or step(batch))
    model.compile(optimizer="adam", jit_compile=False)
    batch = melody_rnn(model, np.random.default_rng(0))
    model.fit(tf.data.Dataset.from_tensors(batch), verbose=0)
    assert len(steps) == 1


@pytest.mark.parametrize("name", ["attention_rnn_tiny", "music_transformer_tiny"])
def test_dropout_changes_what_a_model_in_training_gives_and_nothing_else(name):
    model = model_of(name, "model.dropout=0.3")
    batch = FAMILIES[name][0](model, np.random.default_rng(0))
    first, second = (model(batch, training=True).numpy() for _ in range(2))
    assert np.abs(first - second).max() > 1e-3
    np.testing.assert_array_equal(model(batch), model(batch))


@pytest.mark.parametrize(
    "name",
    [
        *FAMILIES,
        "hier-trio_16bar_tiny",
        "hier-multiperf_vel_1bar_med_tiny",
        "nade-drums_2bar_reduced_tiny",
        "music_transformer_melody_tiny",
        "jukebox_upsampler_tiny",
        "jukebox_delay_tiny",
    ],
)
def test_no_two_weights_have_the_same_path(name):
    counts = collections.Counter(weight.path for weight in model_of(name).weights)
    assert [path for path, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("name", ["musenet_tiny", "music_transformer_tiny"])
def test_examples_longer_than_the_learned_positions_are_an_error(name):
    learned = () if name == "musenet_tiny" else ("model.attention=learned",)
    with pytest.raises(UserError, match=r"converter\.crop=64 .* model\.positions=32; give --set"):
        get_config(name, (*learned, "converter.crop=64", "model.positions=32"))

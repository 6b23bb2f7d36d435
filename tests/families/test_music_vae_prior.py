"""What a MusicVAE draws from: a Gaussian fitted to the posteriors of the training data."""

import io
import os
import signal
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.data.collections import Examples
from magenta_lite.errors import UserError
from magenta_lite.families.building import build_model
from magenta_lite.families.music_vae.latent_space import WINDOWS, AggregatedPosterior
from magenta_lite.families.music_vae.model import MusicVAE
from magenta_lite.testing.events import made_up_events
from magenta_lite.training.callbacks import Stopped
from magenta_lite.training.checkpoints import checkpoint_files, restore_first
from magenta_lite.training.trainer import compile_model, train

SMALL = (
    "model.latent_size=8",
    "model.encoder_units=[12]",
    "model.decoder_units=[12,12]",
    "train.batch_size=16",
    "train.steps=4",
    "train.checkpoint_every=4",
    "train.validation_examples=0",
    # Else the decoder would be compiled, too.
    "objective.sampling_schedule=constant",
    "objective.sampling_rate=0",
)
CONFIG = get_config("cat-mel_2bar_tiny", SMALL)
CONVERTER = build_converter(CONFIG.converter)
SEED, HOT = 3, 1.0


def made_up(count):
    events = made_up_events(CONVERTER.event_format, count, CONVERTER.window_steps, seed=count)
    return Examples(events, np.full(count, CONVERTER.window_steps, np.int32), None)


class Collection:
    name = "made up"

    def __init__(self):
        self.sizes = {"train": 40, "validation": 8, "test": 0}

    def split(self, name):
        return made_up(self.sizes[name])


@pytest.fixture(scope="module")
def model():
    """A model that is fitted, as if trained: its posteriors are far from N(0, I)."""
    keras.utils.set_random_seed(2)
    model = build_model(CONFIG, CONVERTER)
    compile_model(model, CONFIG.train)
    model.mu.kernel.assign(1000 * model.mu.kernel)
    model.mu.bias.assign(tf.range(8.0))
    model.before_checkpoint(made_up(40))
    return model


def moments(model):
    return [weight.numpy() for weight in model.aggregated_posterior.weights]


def test_the_fit_has_the_moments_of_the_mixture_of_all_posteriors():
    rng = np.random.default_rng(0)
    layer, total = AggregatedPosterior(3), WINDOWS + 1000
    examples = Examples(np.arange(total)[:, None], np.ones(total, np.int32), None)
    mu, sigma = rng.normal([1, -2, 0], [0.1, 1, 3], (total, 3)), rng.random((total, 3))
    seen = []

    def encode(batch):
        rows = batch["events"].numpy()[:, 0]
        seen.extend(rows)
        return tf.constant(mu[rows]), tf.constant(sigma[rows])

    layer.fit(encode, examples)
    assert len(set(seen)) == len(seen) == WINDOWS
    assert seen[0] == 0
    assert total - seen[-1] <= 2  # from all of the data
    draws = mu[seen] + sigma[seen] * rng.normal(size=(50, WINDOWS, 3))
    np.testing.assert_allclose(layer.mean, draws.mean((0, 1)), atol=0.02)
    np.testing.assert_allclose(layer.deviation, draws.std((0, 1)), rtol=0.01)


def test_without_a_fit_and_without_data_it_is_the_standard_normal():
    layer, noise = AggregatedPosterior(3), tf.random.stateless_normal([5, 3], [0, 1])
    layer.fit(None, Examples(np.zeros((0, 1)), np.zeros(0, np.int32), None))
    np.testing.assert_array_equal(layer(noise), noise)


def test_samples_come_from_the_fit_unless_the_standard_normal_is_asked_for(model):
    mean, deviation = moments(model)
    assert np.abs(mean).max() > 1
    noise = tf.random.stateless_normal([6, 8], [SEED, 0])
    for prior, z in (("data", mean + deviation * noise), ("standard", noise)):
        samples = model.sample(6, SEED, temperature=HOT, prior=prior)
        np.testing.assert_array_equal(samples, model.decode(z, SEED, temperature=HOT))
    np.testing.assert_array_equal(
        model.sample(6, SEED, temperature=HOT), model.sample(6, SEED, temperature=HOT, prior="data")
    )
    with pytest.raises(UserError, match="standard"):
        model.sample(6, SEED, temperature=HOT, prior="standart")


def test_a_saved_model_samples_from_the_fit(model, tmp_path):
    functions, arguments = model.signatures(), model.signature_arguments(4, HOT, SEED)
    module = tf.Module()
    module.model_weights = [weight.value for weight in model.weights]
    tf.saved_model.save(module, str(tmp_path), signatures=functions["sample"])
    served = tf.saved_model.load(str(tmp_path)).signatures["serving_default"](**arguments)
    np.testing.assert_array_equal(served["events"], model.sample(4, SEED, temperature=HOT))


def test_a_file_keeps_the_fit_and_one_from_before_there_was_any_loads_without(model, tmp_path):
    now, before = tmp_path / "now.keras", tmp_path / "before.keras"
    model.save(now)
    np.testing.assert_array_equal(moments(keras.saving.load_model(now)), moments(model))
    with zipfile.ZipFile(now) as archive, zipfile.ZipFile(before, "w") as older:
        for name in archive.namelist():
            data = archive.read(name)
            if name.endswith(".h5"):
                file = io.BytesIO(data)
                with h5py.File(file, "a") as weights:
                    del weights["aggregated_posterior"]
                data = file.getvalue()
            older.writestr(name, data)
    loaded = keras.saving.load_model(before)
    np.testing.assert_array_equal(moments(loaded), [np.zeros(8), np.ones(8)])
    np.testing.assert_array_equal(loaded.mu.kernel, model.mu.kernel)


def test_each_checkpoint_holds_the_fit_to_its_own_weights(tmp_path, monkeypatch):
    whole = train(CONFIG, tmp_path / "whole", Collection())
    fitted = moments(whole)
    assert not np.array_equal(fitted[1], np.ones(8))
    whole.before_checkpoint(Collection().split("train"))
    np.testing.assert_array_equal(moments(whole), fitted)

    def ask_to_stop(self, step, examples, seed):
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(MusicVAE, "prepare", ask_to_stop)
        train(CONFIG, tmp_path / "stopped", Collection())
    half = build_model(CONFIG, CONVERTER)
    compile_model(half, CONFIG.train)
    files = checkpoint_files(tmp_path / "stopped" / "checkpoints")
    assert restore_first(half, files)  # of the step that was under way
    saved = moments(half)
    half.before_checkpoint(Collection().split("train"))
    np.testing.assert_array_equal(moments(half), saved)
    # A fit in between changes nothing of what comes after it.
    resumed = train(CONFIG, tmp_path / "stopped", Collection())
    for weight, expected in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)

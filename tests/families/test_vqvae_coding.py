"""Whole pieces through a VQ-VAE in windows: the same as at once."""

import keras
import numpy as np
import pytest

from magenta_lite.families.vqvae import coding
from magenta_lite.families.vqvae.config import VQVAEConfig, VQVAEObjective
from magenta_lite.families.vqvae.model import VQVAE

SIZES = VQVAEConfig((2, 1), (2, 2), code_width=8, codes=32, width=8, depth=2)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    model = VQVAE(SIZES, VQVAEObjective())
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.dtype == "float32":
            weight.assign(weight + rng.normal(0, 0.2, weight.shape))
    return model


@pytest.mark.parametrize("length", [8, 96, 1000, 1003, 4000])
def test_windows_give_the_codes_and_the_sound_of_one_pass(model, monkeypatch, length):
    sound = np.random.default_rng(length).uniform(-1, 1, (length, 1)).astype(np.float32)
    whole = np.pad(sound, [[0, -length % 8], [0, 0]])
    expected = [codes.numpy()[0] for codes in model.encode(whole[None])]
    monkeypatch.setattr(coding, "WINDOW", 64)
    coder = coding.Coder(model)
    codes = coder.encode(sound)
    for level, (found, right) in enumerate(zip(codes, expected, strict=True)):
        np.testing.assert_array_equal(found, right)
        heard = coder.decode(found, level)
        np.testing.assert_allclose(heard, model.decode(right[None], level)[0], atol=1e-5)


def test_parts_are_kept_once_and_read_at_one_length():
    parts = list(coding.parts(1000, 128, 40))
    assert [part.first for part in parts[1:]] == [part.last for part in parts[:-1]]
    assert (parts[0].first, parts[-1].last) == (0, 1000)
    assert {part.stop - part.start for part in parts} == {208}
    for part in parts:
        assert part.start == 0 or part.first - part.start >= 40
        assert part.stop == 1000 or part.stop - part.last >= 40


def test_no_sample_beyond_the_margin_matters(model):
    import tensorflow as tf

    for level in range(SIZES.levels):
        seen, length = coding.margin(SIZES, level), 1024
        sound = tf.constant(np.random.default_rng(0).uniform(-1, 1, (1, length, 1)), tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(sound)
            x = model.encoders[level](sound)
            middle = x[0, x.shape[1] // 2, 0]
        reached = np.flatnonzero(tape.gradient(middle, sound)[0, :, 0])
        assert length // 2 - seen <= reached.min() and reached.max() < length // 2 + seen
        assert seen < 3 * (reached.max() - reached.min())  # and it is not much more than needed

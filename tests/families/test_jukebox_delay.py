"""Several codes a frame in a delay pattern: what is seen, what is written, what is learned."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from magenta_lite.config import TrainConfig, get_config
from magenta_lite.errors import UserError
from magenta_lite.families.jukebox.delay import DelayPrior, delayed, undelayed
from magenta_lite.families.jukebox.delay_config import DelayPriorConfig
from magenta_lite.families.jukebox.sampling import write_level, write_window
from magenta_lite.modeling.sampling import Sampler
from magenta_lite.training.trainer import compile_model

SIZES = {"codes": 5, "quantizers": 3, "context": 6, "width": 16, "depth": 2, "heads": 2}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    return DelayPrior(DelayPriorConfig(**SIZES, initial_scale=20.0))


def some_codes(rows: int):
    return np.random.default_rng(0).integers(0, 5, (rows, 6, 3)).astype(np.int32)


def test_later_codebooks_come_later_and_back():
    codes = np.array([[[1, 2, 3], [4, 5, 6]]])
    steps = delayed(codes, 9).numpy()
    assert steps.tolist() == [[[1, 9, 9], [4, 2, 9], [9, 5, 3], [9, 9, 6]]]
    np.testing.assert_array_equal(undelayed(tf.constant(steps)), codes)


def test_a_code_sees_what_was_written_in_earlier_steps_alone(model):
    """Another code at frame t of codebook n changes logits of steps after t + n only."""
    codes = some_codes(1)
    same = model({"events": codes}).numpy()
    step = np.add.outer(np.arange(6), np.arange(3))
    for t, n in np.ndindex(6, 3):
        other = codes.copy()
        other[0, t, n] = (other[0, t, n] + 1) % 5
        change = np.abs(model({"events": other}).numpy() - same)[0].max(axis=2)
        np.testing.assert_array_equal(change > 1e-6, step > t + n)


def test_steps_with_a_cache_write_what_is_most_probable(model):
    def write(given, total=6, seeds=((1, 2), (3, 4)), temperature=1e-5, **options):
        return write_window(model, given, total, seeds, Sampler(temperature), **options)

    nothing = np.zeros((2, 0, 3))
    written = write(nothing)  # compiled
    best = tf.argmax(model({"events": written}), axis=-1)
    np.testing.assert_array_equal(written, best)
    given = some_codes(2)[:, :4]
    written = write(given, chunk=3, compiled=False)
    np.testing.assert_array_equal(written[:, :4], given)
    best = tf.argmax(model({"events": written}), axis=-1)
    np.testing.assert_array_equal(written[:, 4:], best[:, 4:])
    np.testing.assert_array_equal(write(given, 5, chunk=3, compiled=False), written[:, :5])
    drawn = write(nothing, temperature=2.0)
    swapped = write(nothing, seeds=((3, 4), (1, 2)), temperature=2.0)
    np.testing.assert_array_equal(drawn[::-1], swapped)
    assert (drawn[0] != drawn[1]).any()
    with pytest.raises(UserError, match="0 codes cannot be continued to 7: a context has 6"):
        write(nothing, 7)


def test_a_piece_that_is_interrupted_goes_on_as_it_would_have(model):
    codes, settings, kept = np.zeros((2, 0, 3)), Sampler(2.0), []

    def write(codes, **options):
        return write_level(model, codes, 15, 2, 3, settings, compiled=False, **options)

    whole = write(codes, after_window=lambda codes, window: kept.append(codes))
    assert whole.shape == (2, 15, 3) and len(kept) == 6
    np.testing.assert_array_equal(write(kept[2]), whole)


def test_it_learns_and_comes_back_from_a_file(tmp_path):
    keras.utils.set_random_seed(0)
    model = DelayPrior(DelayPriorConfig(**SIZES | {"depth": 1}, initial_scale=2.0))
    train = {"schedule": "cosine", "warmup_steps": 5, "steps": 60, "learning_rate": 1e-2}
    compile_model(model, TrainConfig(**train))
    first = np.random.default_rng(1).integers(0, 5, (16, 1, 1))
    codes = (first + np.arange(6)[:, None] + 2 * np.arange(3)) % 5  # one code tells all others
    data = tf.data.Dataset.from_tensors({"events": codes.astype(np.int32)}).repeat()
    history = model.fit(data, steps_per_epoch=20, epochs=3, shuffle=False, verbose=0).history
    # Of 18 codes the first is a guess among 5.
    assert history["loss"][-1] == pytest.approx(np.log2(5) / 18, abs=0.05)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again({"events": codes}), model({"events": codes}), atol=1e-6)


@pytest.mark.parametrize("size", ["tiny", "mini"])
def test_configs_are_of_their_vqvaes(size):
    config, vqvae = get_config(f"jukebox_delay_{size}"), get_config(f"rvqvae_{size}")
    sizes = vqvae.model
    told = sizes.codes, sizes.quantizers, sizes.hop_lengths[-1], vqvae.converter.sample_rate
    for section in (config.model, config.converter):
        facts = section.codes, section.quantizers, section.hop, section.sample_rate
        assert facts == told
    assert config.converter.context == config.model.context


def test_sizes_that_do_not_fit_are_told():
    with pytest.raises(UserError, match="is not divisible by"):
        DelayPriorConfig(width=10, heads=4)
    with pytest.raises(UserError, match="depth=0 must be at least 1"):
        DelayPriorConfig(depth=0)
    with pytest.raises(UserError, match="quantizers=1 must be at least 2"):
        DelayPriorConfig(quantizers=1)

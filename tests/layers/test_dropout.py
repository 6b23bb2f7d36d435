"""Dropout with a seed for each example."""

import numpy as np
import pytest
import tensorflow as tf

from magenta_lite.layers.dropout import Dropout

SEEDS = tf.constant([[0, 0], [0, 1], [1, 0], [-1, 7], [2**31 - 1, 5]], tf.int32)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.75])
def test_factors_are_zero_as_often_as_asked_and_keep_the_mean(rate):
    factors = Dropout(SEEDS, rate).factors(3, (100, 401)).numpy()
    assert factors.shape == (5, 100, 401)
    assert set(np.unique(factors)) == {0, np.float32(2**16 / (2**16 - round(rate * 2**16)))}
    np.testing.assert_allclose((factors == 0).mean(axis=(1, 2)), rate, atol=0.01)
    np.testing.assert_allclose(factors.mean(), 1, atol=0.01)


def test_calls_multiply_by_the_factors_in_both_directions():
    x, dropout = tf.random.stateless_normal([7, 5, 9], [1, 2]), Dropout(SEEDS, 0.4)
    factors = dropout.factors("here", (7, 9), axis=1)
    np.testing.assert_array_equal(factors, np.swapaxes(dropout.factors("here", (7, 9)), 0, 1))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = dropout(x, "here", axis=1)
        loss = tf.reduce_sum(y * y)
    np.testing.assert_array_equal(y, x * factors)
    np.testing.assert_allclose(tape.gradient(loss, x), 2 * x * factors**2, rtol=1e-6)
    assert not np.array_equal(dropout(x, "there", axis=1), y)


def test_unknown_sizes_and_half_precision():
    dropout = Dropout(SEEDS, 0.4)
    specs = tf.TensorSpec([None, None, 9], tf.bfloat16)
    y = tf.function(lambda x: dropout(x, 0), input_signature=[specs])(
        tf.ones([5, 4, 9], tf.bfloat16)
    )
    expected = tf.cast(dropout.factors(0, (4, 9)), tf.bfloat16)
    np.testing.assert_array_equal(tf.cast(y, tf.float32), tf.cast(expected, tf.float32))


def test_an_example_has_the_same_dropout_in_every_batch():
    whole = Dropout(SEEDS, 0.5).factors(1, (30,))
    np.testing.assert_array_equal(whole[2:4], Dropout(SEEDS[2:4], 0.5).factors(1, (30,)))


def test_segments_have_dropout_of_their_own():
    factors = Dropout(SEEDS, 0.5).in_segments(3).factors(1, (200,)).numpy()
    np.testing.assert_array_equal(factors[:5], Dropout(SEEDS, 0.5).factors(1, (200,)))
    assert len({row.tobytes() for row in factors}) == 15


def test_a_rate_just_below_1_is_finite():
    x = Dropout(SEEDS, 1 - 1e-7)(tf.ones([5, 100_000]), 0).numpy()
    assert np.isfinite(x).all() and (x == 0).mean() > 0.999


def test_without_seeds_or_rate_nothing_is_dropped():
    x = tf.ones([5, 3])
    for dropout in (Dropout(None, 0.5), Dropout(SEEDS, 0.0)):
        assert dropout(x, 0) is x
        assert dropout.factors(0, (3,)) is None
        assert dropout.at(0) is None

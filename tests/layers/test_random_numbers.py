"""Random numbers by hashing."""

import itertools

import numpy as np
import tensorflow as tf

from magenta_lite.layers import random_numbers
from magenta_lite.layers.random_numbers import normals, random_bits, uniforms

SEEDS = tf.constant([[0, 0], [0, 1], [1, 0], [-1, 7], [2**31 - 1, 5]], tf.int32)


def test_random_bits_are_uniform_and_independent():
    count = 2**16
    bits = random_bits(SEEDS, (256, 256)).numpy().reshape(5, count)
    ones = bits[..., None] >> np.arange(32, dtype=np.uint32) & 1
    assert np.abs(ones.mean(axis=1) - 0.5).max() < 5 * 0.5 / count**0.5
    uniform = (bits / 2**32 - 0.5) * 12**0.5
    between = np.corrcoef(uniform) - np.eye(5)
    along = [uniform[:, :-lag] * uniform[:, lag:] for lag in (1, 2, 16, 255, 256, 257)]
    assert max(np.abs(between).max(), *(abs(x.mean()) for x in along)) < 5 / count**0.5
    for one, other in itertools.combinations(bits, 2):
        assert len(np.intersect1d(one, other)) < 10  # 1 in the mean


def test_uniforms_and_normals_have_their_distributions():
    uniform = uniforms(SEEDS, (300, 300)).numpy()
    assert 0 <= uniform.min() < 1e-4 and 1 - 1e-4 < uniform.max() < 1
    np.testing.assert_allclose(np.histogram(uniform, 50, (0, 1))[0] / uniform.size, 0.02, rtol=0.06)
    normal = normals(SEEDS, (300, 300)).numpy()
    assert np.isfinite(normal).all()
    moments = [(normal**n).mean() for n in (1, 2, 3, 4)]
    np.testing.assert_allclose(moments, [0, 1, 0, 3], atol=0.05)
    np.testing.assert_array_equal(normals(SEEDS[2:3], (300, 300))[0], normal[2])


def test_normals_are_finite_for_all_bits(monkeypatch):
    bits = tf.constant([[0, 1, 2**31, 2**32 - 1]], tf.uint32)
    monkeypatch.setattr(random_numbers, "random_bits", lambda seeds, shape: bits)
    normal = normals.__wrapped__(SEEDS, (4,)).numpy()
    assert np.isfinite(normal).all()
    np.testing.assert_allclose(normal[0, 0], -normal[0, -1], rtol=0.01)
    assert random_numbers.uniforms.__wrapped__(SEEDS, (4,)).numpy().max() < 1

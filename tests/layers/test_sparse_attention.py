"""Factorised attention against full attention with a mask."""

import numpy as np
import pytest
import tensorflow as tf

from magenta_lite.layers.attention import MASKED
from magenta_lite.layers.sparse_attention import KINDS, attend_sparsely, visible


def reference(q, k, v, kind, stride, summary):
    """Full attention with a mask, O(L²)."""
    position = np.arange(q.shape[2])
    halves = visible(kind, stride, summary, position[:, None], position)
    seen = np.repeat(np.stack(halves), q.shape[1] // 2, axis=0)
    logits = tf.matmul(q, k, transpose_b=True) + np.where(seen, 0, MASKED).astype(np.float32)
    weights = tf.nn.softmax(logits) * seen.any(axis=-1, keepdims=True).astype(np.float32)
    return tf.matmul(weights, v)


def test_what_the_heads_see():
    def seen(kind, query):
        return [np.flatnonzero(x) for x in visible(kind, 4, 1, query, np.arange(20))]

    assert [x.tolist() for x in seen("strided", 10)] == [[7, 8, 9, 10], [2, 6, 10]]
    assert [x.tolist() for x in seen("fixed", 10)] == [[8, 9, 10], [3, 7]]
    assert [x.tolist() for x in seen("fixed", 2)] == [[0, 1, 2], []]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("length", "stride", "summary"), [(3, 8, 2), (32, 8, 2), (45, 8, 3), (64, 16, 16)]
)
def test_outputs_and_gradients_are_those_of_a_mask(kind, length, stride, summary):
    rng = np.random.default_rng(length)
    shape = (2, 4, length, 6)
    q, k, v, up = (tf.constant(rng.normal(size=shape), tf.float32) for _ in range(4))
    results = []
    for attend in (attend_sparsely, reference):
        with tf.GradientTape() as tape:
            tape.watch([q, k, v])
            out = attend(q, k, v, kind, stride, summary)
        results.append([out, *tape.gradient(out, [q, k, v], up)])
    for ours, expected in zip(*results, strict=True):
        np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_scales_what_stays(kind):
    q = tf.zeros([1, 2, 8, 2])
    v = tf.ones([1, 2, 8, 2])
    out = attend_sparsely(q, q, v, kind, 4, 1, draw=lambda count: tf.fill([1, count], 2.0))
    plain = attend_sparsely(q, q, v, kind, 4, 1)
    np.testing.assert_allclose(out, 2 * plain)

"""Factorized attention of the Sparse Transformer (Child et al. 2019, §4.2 and §4.3).

https://arxiv.org/abs/1904.10509. Half of the heads attend to near positions, the others to a grid
of distant ones; two layers connect every position to all previous ones. With a stride l near the
square root of the length L the cost is O(L √L). Shape letters: B batch, H heads, L steps, D key
depth, V value depth, l stride, n blocks of l steps, c summary columns.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from magenta_lite.layers.attention import MASKED
from magenta_lite.typing import Tensor

KINDS = ("strided", "fixed")


def visible(
    kind: str, stride: int, summary: int, query: Tensor, key: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns whether each half of the heads attends from `query` to `key`: a pair of bools.

    Strided: the last l positions; every l-th position before. Fixed: the block of l positions of
    the query; the last c positions of each block. Later positions are always masked.

    Args:
        kind: One of `KINDS`.
        stride: Stride l.
        summary: Summary columns c, for `fixed`.
        query: Integer positions that broadcast with `key`.
        key: Integer positions.
    """
    past = key <= query
    if kind == "strided":
        return past & (query - key < stride), past & ((query - key) % stride == 0)
    return past & (query // stride == key // stride), past & (key % stride >= stride - summary)


def attend_sparsely(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    kind: str,
    stride: int,
    summary: int = 0,
    draw: Callable[[int], Tensor] | None = None,
) -> Tensor:
    """Computes the attention of every query to the keys that its head attends to.

    The output of a query without keys is zero.

    Args:
        q, k, v: Queries, keys and values of an even number of heads, K = L; see `attention`.
        kind: One of `KINDS`.
        stride: Stride l.
        summary: Summary columns c, for `fixed`.
        draw: Returns n dropout factors (B, n), shared by the heads of one half; None for no
            dropout.
    """
    length = q.shape[2]
    padding = -length % stride
    blocks = (length + padding) // stride

    def split(x):  # two halves of the heads, (B, H / 2, n, l, D)
        padded = tf.pad(x, [[0, 0], [0, 0], [0, padding], [0, 0]])
        shape = [-1, x.shape[1] // 2, blocks, stride, x.shape[3]]
        return [tf.reshape(half, shape) for half in tf.split(padded, 2, axis=1)]

    (q1, q2), (k1, k2), (v1, v2) = split(q), split(k), split(v)
    if kind == "strided":
        near, far = _strided(q1, k1, v1, q2, k2, v2)
    else:
        near, far = _fixed(q1, k1, v1, q2, k2, v2, summary)
    out = []
    for queries, keys, values, positions, back in (near, far):
        seen = visible(kind, stride, summary, *positions)[len(out)]
        seen &= positions[1] >= 0  # the first block has no previous one
        bias = np.where(seen, 0.0, MASKED).astype(np.float32)
        logits = tf.cast(tf.matmul(queries, keys, transpose_b=True), tf.float32) + bias
        weights = tf.nn.softmax(logits) * seen.any(axis=-1, keepdims=True).astype(np.float32)
        if draw is not None:
            shape = np.broadcast_shapes(bias.shape, (1, *weights.shape[2:]))
            weights *= tf.reshape(draw(int(np.prod(shape))), [-1, *shape])
        attended = back(tf.matmul(tf.cast(weights, values.dtype), values))
        shape = [-1, v.shape[1] // 2, length + padding, v.shape[3]]
        out.append(tf.reshape(attended, shape))
    return tf.concat(out, axis=1)[:, :, :length]


def _strided(q1, k1, v1, q2, k2, v2):
    """Returns queries, keys, values, positions and the inverse layout of each half of heads."""
    blocks, stride = q1.shape[2:4]
    block, step = np.arange(blocks)[:, None, None], np.arange(stride)

    def with_before(x):  # (B, H, n, 2l, D)
        before = tf.pad(x, [[0, 0], [0, 0], [1, 0], [0, 0], [0, 0]])[:, :, :-1]
        return tf.concat([before, x], axis=3)

    queries = block * stride + step[:, None]
    keys = (block - 1) * stride + np.arange(2 * stride)[None, None]
    near = (q1, with_before(k1), with_before(v1), (queries, keys), tf.identity)

    def transposed(x):  # (B, H, l, n, D); its own inverse
        return tf.transpose(x, [0, 1, 3, 2, 4])

    column = step[:, None, None]
    row = np.arange(blocks) * stride
    positions = (column + row[:, None], column + row)
    return near, (transposed(q2), transposed(k2), transposed(v2), positions, transposed)


def _fixed(q1, k1, v1, q2, k2, v2, summary: int):
    """Returns the same tuples as `_strided` for the pattern `fixed`."""
    blocks, stride = q1.shape[2:4]
    block, step = np.arange(blocks)[:, None, None], np.arange(stride)
    positions = (block * stride + step[:, None], block * stride + step)
    near = (q1, k1, v1, positions, tf.identity)

    def summaries(x):  # (B, H, 1, n * c, D)
        last = tf.slice(x, [0, 0, 0, stride - summary, 0], [-1] * 5)
        return tf.reshape(last, [-1, x.shape[1], 1, blocks * summary, x.shape[4]])

    def joined(x):  # (B, H, 1, n * l, D)
        return tf.reshape(x, [-1, x.shape[1], 1, blocks * stride, x.shape[4]])

    columns = np.arange(blocks)[:, None] * stride + step[stride - summary :]
    positions = (np.arange(blocks * stride)[None, :, None], columns.reshape(1, 1, -1))
    return near, (joined(q2), summaries(k2), summaries(v2), positions, tf.identity)

"""Random numbers as a function of a seed for each example and of their own places.

They come from a counter (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): each
is a hash of the seed and of its place. So XLA computes them where they are used, on CPUs and on
GPUs, without a loop over the examples, and an example has the same ones in every batch and on every
replica.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from magenta_lite.graphs import inner_graph
from magenta_lite.typing import Tensor

BITS = 23  # of a float32 in [0, 1), so that the middle between two of them is exact, too


@inner_graph(jit_compile=True)
def uniforms(seeds: Tensor, shape: Sequence[int]) -> Tensor:
    """Returns float32 (B, *shape) in [0, 1) for seeds int32 (B, 2)."""
    return _whole(seeds, shape) * 2.0**-BITS


@inner_graph(jit_compile=True)
def normals(seeds: Tensor, shape: Sequence[int]) -> Tensor:
    """Returns standard normal float32 (B, *shape) for seeds int32 (B, 2)."""
    return tf.math.ndtri((_whole(seeds, shape) + 0.5) * 2.0**-BITS)


def at_place(seeds: Tensor, number: int) -> Tensor:
    """Returns other seeds int32 (B, 2) for each `number`, so that their numbers are independent."""
    return seeds + tf.constant([0, number], tf.int32)


def _whole(seeds, shape):
    return tf.cast(shifted(random_bits(seeds, shape), 32 - BITS), tf.float32)


def random_bits(seeds: Tensor, shape: Sequence[Any], axis: int = 0) -> Tensor:
    """Returns 32 random bits for each place of `shape`, a function of the example's seed.

    The place and two keys of the seed are mixed by a multiply-xorshift hash (Wellons 2018,
    "Prospecting for hash functions", `triple32`). The second key enters between its rounds, so that
    the numbers of two seeds are not permutations of each other.

    Args:
        seeds: Int32 (B, 2).
        shape: Shape without the axis B, of ints or int32 scalars.
        axis: Where the result has the axis B.

    Returns:
        Uint32 (B, *shape) if `axis` is 0.
    """
    words = tf.bitcast(seeds, tf.uint32)
    first = _mixed(_mixed(words[:, 0]) ^ words[:, 1])
    second = _mixed(first)
    keys = [-1 if i == axis else 1 for i in range(len(shape) + 1)]
    places = tf.range(tf.reduce_prod(tf.stack(shape)))
    places = tf.expand_dims(tf.reshape(tf.bitcast(places, tf.uint32), shape), axis)
    return _mixed(places ^ tf.reshape(first, keys), tf.reshape(second, keys))


def _mixed(x, key=0):
    x = (x ^ shifted(x, 17)) * uint32(0xED5AD4BB) + uint32(0x9E3779B9)
    x = (x ^ shifted(x, 11)) * uint32(0xAC4C1B51) + key
    x = (x ^ shifted(x, 15)) * uint32(0x31848BAB)
    return x ^ shifted(x, 14)


def shifted(x: Tensor, bits: int) -> Tensor:
    """Returns uint32 numbers shifted right by `bits`."""
    return tf.bitwise.right_shift(x, uint32(bits))


def uint32(value: int) -> Tensor:
    """Returns a constant."""
    return tf.constant(value, tf.uint32)

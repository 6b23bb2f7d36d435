"""Dropout whose random numbers are computed where they are needed, from a seed for each example.

XLA computes them within the multiplication, and no mask is kept for the backward pass.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from magenta_lite.graphs import inner_graph
from magenta_lite.layers.random_numbers import at_place, random_bits, shifted, uint32
from magenta_lite.typing import Tensor

LEVELS = 2**16  # a random number has 16 bits, so that each hash gives two
FAR = 0x61C88647  # between the seeds of segments: 2^32 divided by the square of the golden ratio


class Dropout:
    """Dropout (Srivastava et al. 2014) with a seed for each example.

    Args:
        seeds: Int32 (B, 2), random; None for no dropout.
        rate: Dropout rate, below 1; it is rounded to a multiple of 2^-16 below 1.
    """

    def __init__(self, seeds: Tensor | None, rate: float):
        self.seeds = seeds if rate else None
        self.rate = rate

    def __call__(self, x: Tensor, place: int | str, axis: int = 0) -> Tensor:
        """Applies dropout to x, float (B, ...), and scales the rest up.

        Args:
            x: Float (B, ...).
            place: A number or a name; calls with different places are independent.
            axis: The axis B of x; it is not the last one.
        """
        if self.seeds is None:
            return x
        seeds = self._at(place)

        @tf.custom_gradient
        def dropped(x):
            def scaled(y):
                return _dropped(y, seeds, self.rate, axis)

            return scaled(x), scaled  # both directions multiply by the same factors

        return dropped(x)

    def factors(self, place: int | str, shape: Sequence[int], axis: int = 0) -> Any:
        """Returns what a call at `place` multiplies by: float32, 0 or 1 / (1 - rate).

        Args:
            place: As of a call.
            shape: Shape without the axis B.
            axis: Where the result has the axis B.

        Returns:
            Float32 (B, *shape) if `axis` is 0; None for no dropout.
        """
        if self.seeds is None:
            return None
        return _factors(self._at(place), tuple(shape), self.rate, axis)

    def at(self, place: int | str) -> Callable[[int], Tensor] | None:
        """Returns a function of n that returns factors (B, n) at `place`; None for no dropout."""
        return None if self.seeds is None else lambda count: self.factors(place, (count,))

    def in_segments(self, segments: int) -> Dropout:
        """Returns the dropout of `segments` sequences of each example, in rows (segments * B)."""
        if self.seeds is None or segments == 1:
            return self
        numbers = tf.stack([tf.range(segments) * FAR, tf.zeros([segments], tf.int32)], axis=1)
        return Dropout(tf.reshape(numbers[:, None] + self.seeds, [-1, 2]), self.rate)

    def _at(self, place):
        """Returns the seeds of a place."""
        number = zlib.crc32(place.encode()) >> 1 if isinstance(place, str) else place
        return at_place(self.seeds, number)


@inner_graph(jit_compile=True)
def _factors(seeds, shape, rate, axis):
    return _scales(seeds, shape, rate, axis)


@inner_graph(jit_compile=True)
def _dropped(x, seeds, rate, axis):
    shape = tf.unstack(tf.shape(x))
    del shape[axis]
    factors = _scales(seeds, shape, rate, axis)
    return tf.ensure_shape(x * tf.cast(factors, x.dtype), x.shape)


def _scales(seeds, shape, rate, axis):
    bits = random_bits(seeds, [*shape[:-1], (shape[-1] + 1) // 2], axis)
    low, high = tf.bitwise.bitwise_and(bits, uint32(LEVELS - 1)), shifted(bits, 16)
    numbers = tf.concat([low, high], axis=-1)[..., : shape[-1]]
    dropped = min(round(rate * LEVELS), LEVELS - 1)
    return tf.where(numbers >= uint32(dropped), LEVELS / (LEVELS - dropped), 0.0)

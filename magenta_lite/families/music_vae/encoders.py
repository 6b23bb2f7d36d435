"""Encoder networks: from a sequence of vectors to one code."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from magenta_lite.layers.base import Layer
from magenta_lite.layers.dropout import Dropout
from magenta_lite.layers.lstm import LSTM
from magenta_lite.typing import Tensor


@keras.saving.register_keras_serializable("magenta_lite.music_vae")
class BidirectionalEncoder(Layer):
    """Stacked bidirectional LSTM that returns the final outputs of the last layer.

    Args:
        units: LSTM units of each layer, per direction.
        input_size: Input channels C.

    Call arguments:
        x: Float (T, B, C), time-major.
        length: Int32 (B,), sequence lengths. The backward direction starts at the last step.
        dropout: Of the inputs of every layer; None for no dropout.

    Returns:
        Float (B, 2 * units[-1]): forward output after the last step, backward output after the
        first. Zeros where `length` is 0.
    """

    def __init__(self, units: tuple[int, ...], input_size: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = tuple(units)
        self.input_size = input_size
        self.sizes = [input_size, *(2 * n for n in self.units[:-1])]
        with keras.name_scope(self.name):
            self.forward_layers, self.backward_layers = (
                [
                    LSTM(n, size, name=f"{direction}_{i}", dtype=self.dtype_policy)
                    for i, (n, size) in enumerate(zip(self.units, self.sizes, strict=True))
                ]
                for direction in ("forward", "backward")
            )

    def call(self, x: Tensor, length: Tensor, dropout: Dropout | None = None) -> Tensor:
        def read(layer, x):
            return dropout(x, f"encoder_{layer.name}", axis=1) if dropout else x

        pairs = zip(self.forward_layers, self.backward_layers, strict=True)
        for forward_layer, backward_layer in pairs:
            forward = forward_layer(read(forward_layer, x))
            backward = backward_layer(_reverse(read(backward_layer, x), length))
            x = tf.concat([forward, _reverse(backward, length)], axis=-1)
        # Both directions have read the whole sequence after `length` steps.
        last = tf.stack([tf.maximum(length - 1, 0), tf.range(tf.shape(length)[0])], axis=-1)
        final = tf.concat([tf.gather_nd(forward, last), tf.gather_nd(backward, last)], axis=-1)
        return tf.where(length[:, None] > 0, final, tf.zeros_like(final))


def _reverse(x, length):
    """Reverses the first `length` steps of time-major `x` (T, B, C)."""
    return tf.reverse_sequence(x, length, seq_axis=0, batch_axis=1)


@keras.saving.register_keras_serializable("magenta_lite.music_vae")
class HierarchicalEncoder(Layer):
    """Encodes segments, then segments of their codes, and so on, to a single code.

    Each level has one bidirectional encoder for all its segments.

    Args:
        levels: Steps of a segment at each level, the lowest first; their product is T.
        units: LSTM units of each layer of each level, per direction.
        input_size: Input channels C.

    Call arguments:
        x: Float (T, B, C), time-major.
        length: Int32 (S, B), lengths of the S segments of the lowest level. Higher levels read all
            codes.

    Returns:
        Float (B, 2 * units[-1]).
    """

    def __init__(
        self, levels: tuple[int, ...], units: tuple[int, ...], input_size: int, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.levels = tuple(levels)
        self.units = tuple(units)
        self.input_size = input_size
        sizes = [input_size] + [2 * units[-1]] * (len(levels) - 1)
        with keras.name_scope(self.name):
            self.level_encoders = [
                BidirectionalEncoder(units, size, name=f"level_{i}", dtype=self.dtype_policy)
                for i, size in enumerate(sizes)
            ]

    def call(self, x: Tensor, length: Tensor) -> Tensor:
        batch = tf.shape(x)[1]
        for i, (steps, encoder) in enumerate(zip(self.levels, self.level_encoders, strict=True)):
            segments = math.prod(self.levels[i + 1 :])
            counted = length if i == 0 else tf.fill([segments, batch], steps)
            code = encoder(to_segments(x, segments), tf.reshape(counted, [-1]))
            x = tf.reshape(code, [segments, batch, code.shape[-1]])
        return x[0]


def near_zero_dense(
    name: str, size: int, units: int, activation: Any = None, stddev: float = 0.001
) -> keras.layers.Dense:
    """Returns a float32 layer from (..., size) to (..., units) with small initial weights."""
    initial: Any = keras.initializers.RandomNormal(stddev=stddev)
    layer = keras.layers.Dense(
        units, activation=activation, kernel_initializer=initial, dtype="float32", name=name
    )
    layer.build((None, size))
    return layer


def to_segments(x: Tensor, segments: int) -> Tensor:
    """Returns (S * L, B, ...) as (L, S * B, ...), with segments as separate sequences."""
    if segments == 1:
        return x
    batch, rest = tf.shape(x)[1], x.shape[2:]
    steps = x.shape[0] // segments
    x = tf.reshape(x, [segments, steps, batch, *rest])
    return tf.reshape(swap_axes(x), [steps, segments * batch, *rest])


def from_segments(x: Tensor, segments: int) -> Tensor:
    """Reverts `to_segments`."""
    if segments == 1:
        return x
    steps, rest = x.shape[0], x.shape[2:]
    batch = tf.shape(x)[1] // segments
    x = tf.reshape(x, [steps, segments, batch, *rest])
    return tf.reshape(swap_axes(x), [segments * steps, batch, *rest])


def swap_axes(x: Tensor) -> Tensor:
    """Returns (B, T, ...) as (T, B, ...), or the other way round.

    Integers are transposed as floats, which represent ids exactly, because oneDNN logs an error
    for integers.
    """
    order = [1, 0, *range(2, len(x.shape))]
    if x.dtype.is_floating:
        return tf.transpose(x, order)
    return tf.cast(tf.transpose(tf.cast(x, tf.float32), order), x.dtype)


def segment_lengths(length: Tensor, segments: int, steps: int) -> Tensor:
    """Returns the lengths of the S segments, of `steps` steps, of each example: int32 (S, B).

    `length` int32 are the lengths of the examples (B,), or of their segments (B, S).
    """
    if len(length.shape) == 2:
        return swap_axes(length)
    starts = tf.range(segments)[:, None] * steps
    return tf.clip_by_value(length[None] - starts, 0, steps)


def steps_mask(lengths: Tensor, steps: int) -> Tensor:
    """Returns the mask of steps, bool (S * L, B), for `lengths` (S, B) of segments of L steps."""
    counts = tf.range(steps)[None, :, None] < lengths[:, None]
    return tf.reshape(counts, [lengths.shape[0] * steps, -1])

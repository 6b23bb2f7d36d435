"""Choosing the next event from logits."""

from __future__ import annotations

import tensorflow as tf


def sample_categorical(logits, uniform, temperature=1.0):
    """Draws one class per row by inverting the cumulative distribution.

    The random number comes from outside, so a draw does not depend on which replica, batch or
    machine makes it.

    Args:
        logits: Float (B, V).
        uniform: Float (B,) in [0, 1).
        temperature: Positive scalar; divides the logits.

    Returns:
        Int32 (B,).
    """
    probabilities = tf.nn.softmax(tf.cast(logits, tf.float32) / temperature)
    cumulative = tf.cumsum(probabilities, axis=-1)
    # Rounding can leave the last sum below 1: scale the draw instead of falling off the end.
    drawn = uniform[:, None] * cumulative[:, -1:]
    return tf.reduce_sum(tf.cast(cumulative[:, :-1] <= drawn, tf.int32), axis=-1)


def greedy(logits):
    """Returns the most probable class of each row: logits (B, V) to int32 (B,)."""
    return tf.argmax(logits, axis=-1, output_type=tf.int32)


def sample_bernoulli(logits, uniform, temperature=1.0):
    """Returns whether each of `logits` (...) comes true, by `uniform` (...): bool (...).

    At temperature 0 that is whether its probability is at least 1/2.
    """
    temperature = tf.convert_to_tensor(temperature, tf.float32)
    scaled = logits / tf.maximum(temperature, 1e-6)
    return tf.where(temperature > 0, uniform < tf.sigmoid(scaled), logits >= 0)

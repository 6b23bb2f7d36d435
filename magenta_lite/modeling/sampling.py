"""Choosing the next event from logits."""

from __future__ import annotations

import tensorflow as tf


def sample_categorical(logits, uniform, temperature=1.0):
    """Draws one class of each distribution by inverting its cumulative distribution.

    The random number comes from outside, so a draw does not depend on which replica, batch or
    machine makes it.

    Args:
        logits: Float (..., V).
        uniform: Float (...) in [0, 1).
        temperature: Positive scalar; divides the logits.

    Returns:
        Int32 (...).
    """
    probabilities = tf.nn.softmax(tf.cast(logits, tf.float32) / temperature)
    return inverse_cumulative(probabilities, tf.cumsum(probabilities, axis=-1), uniform)


def inverse_cumulative(probabilities, cumulative, uniform):
    """Returns the first class whose cumulative probability exceeds `uniform`, int32 (...).

    XLA adds up in parallel, so that its sums may fall where they should stay and end below 1. A
    class of probability 0 is not drawn for that.

    Args:
        probabilities: Float (..., V), at least one above 0.
        cumulative: Float (..., V), their sums up to each class, rounded anyhow.
        uniform: Float (...) in [0, 1).
    """
    possible = probabilities > 0
    total = tf.reduce_max(tf.where(possible, cumulative, 0), axis=-1, keepdims=True)
    exceeds = possible & (cumulative > uniform[..., None] * total)
    return tf.argmax(exceeds, axis=-1, output_type=tf.int32)


def greedy(logits):
    """Returns the most probable class of each row: logits (B, V) to int32 (B,)."""
    return tf.argmax(logits, axis=-1, output_type=tf.int32)


def filtered_logits(logits, top_k=0, top_p=1.0, min_p=0.0):
    """Returns logits (..., V) with classes that must not be drawn at the lowest float.

    Args:
        logits: Float32 (..., V), divided by the temperature already.
        top_k: Int scalar; only so many classes stay, the most probable; 0 for all.
        top_p: Float scalar; only the most probable classes stay that together reach this
            probability (Holtzman et al. 2019, https://arxiv.org/abs/1904.09751); 1 for all.
        min_p: Float scalar; only classes stay whose probability is at least this share of the
            largest one (Nguyen et al. 2024, https://arxiv.org/abs/2407.01082); 0 for all.
    """
    probability = tf.nn.softmax(logits)
    largest = tf.reduce_max(probability, axis=-1, keepdims=True)
    top_k, top_p = tf.convert_to_tensor(top_k), tf.convert_to_tensor(top_p)

    def smallest_kept():
        ordered = tf.sort(probability, axis=-1, direction="DESCENDING")
        before = tf.cumsum(ordered, axis=-1, exclusive=True)
        place = tf.range(logits.shape[-1])
        stays = (before < top_p) & ((place < top_k) | (top_k <= 0)) | (place == 0)
        return tf.reduce_min(tf.where(stays, ordered, 1.0), axis=-1, keepdims=True)

    # Sorting takes longer than all else that a step does.
    some = (top_k > 0) | (top_p < 1)
    lowest = tf.cond(some, smallest_kept, lambda: tf.zeros_like(largest))
    stays = probability >= tf.maximum(lowest, min_p * largest)
    return tf.where(stays, logits, logits.dtype.min)


def sample_bernoulli(logits, uniform, temperature=1.0):
    """Returns whether each of `logits` (...) comes true, by `uniform` (...): bool (...).

    At temperature 0 that is whether its probability is at least 1/2.
    """
    temperature = tf.convert_to_tensor(temperature, tf.float32)
    scaled = logits / tf.maximum(temperature, 1e-6)
    return tf.where(temperature > 0, uniform < tf.sigmoid(scaled), logits >= 0)

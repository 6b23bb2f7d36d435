"""Exponential moving averages of the weights (`train.ema`), kept by the Keras optimiser.

During training the model holds the weights of the last step and the optimiser their averages. The
two are swapped for validation, sampling and saving, so that checkpoints contain the averages, while
training continues, bit-identical, from the weights of the last step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from magenta_lite.keras_internals import averages_of


def swap(model: keras.Model) -> None:
    """Swaps the weights of a compiled model with their averages, if it has averages."""
    # Keras' own callback (SwapEMAWeights) adds and subtracts, which loses precision.
    optimizer = model.optimizer
    if not optimizer.use_ema:
        return
    for weight, average in _pairs(model):
        model.distribute_strategy.extended.update(weight, _exchange, args=(average,))


@contextlib.contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """Context manager in which the model's weights are their averages."""
    swap(model)
    try:
        yield
    finally:
        swap(model)


def begin_averages(model: keras.Model) -> None:
    """Initialises the averages with the weights, for imported weights."""
    if model.optimizer.use_ema:
        for weight, average in _pairs(model):
            average.assign(weight)


def _pairs(model: keras.Model) -> list:
    pairs = zip(model.trainable_variables, averages_of(model.optimizer), strict=True)
    return [(weight.value, average.value) for weight, average in pairs]


def _exchange(weight, average) -> None:
    kept = tf.identity(weight)
    weight.assign(average)
    average.assign(kept)

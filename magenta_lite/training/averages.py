"""Averages of weights over the last steps (`train.ema`), which Keras' optimisers keep.

While a model trains its weights are those of the last step, and the averages lie in the optimiser.
They change places while a model is validated, sampled and saved: whoever reads a checkpoint gets
the averages, and training goes on, to the bit, from the weights of the last step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf


def swap(model: keras.Model) -> None:
    """Exchanges the weights of a compiled model and their averages, if there are any."""
    # Keras' own callback for this (SwapEMAWeights) adds and subtracts, which loses bits.
    optimizer = model.optimizer
    if not optimizer.use_ema:
        return
    for weight, average in _pairs(model):
        model.distribute_strategy.extended.update(weight, _exchange, args=(average,))


@contextlib.contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """Gives a model the averages of its weights for a while."""
    swap(model)
    try:
        yield
    finally:
        swap(model)


def begin_averages(model: keras.Model) -> None:
    """Makes the averages what the weights are, for weights that were not trained here."""
    if model.optimizer.use_ema:
        for weight, average in _pairs(model):
            average.assign(weight)


def _pairs(model: keras.Model) -> list:
    averages = model.optimizer._model_variables_moving_average
    pairs = zip(model.trainable_variables, averages, strict=True)
    return [(weight.value, average.value) for weight, average in pairs]


def _exchange(weight, average) -> None:
    kept = tf.identity(weight)
    weight.assign(average)
    average.assign(kept)

"""The optimiser of a run, from its training section."""

from __future__ import annotations

from typing import Any

import keras

from magenta_lite.config import TrainConfig
from magenta_lite.keras_internals import all_layers
from magenta_lite.modeling.optimizers import ClippedAdafactor, ClippedAdam
from magenta_lite.training.schedules import schedule


def compile_model(model: keras.Model, train: TrainConfig) -> None:
    """Compiles `model` with the optimiser of a training section."""
    clipping = {
        "clip_norm": train.clip_norm,
        "clip_to_zero_norm": train.clip_to_zero_norm,
        "clip_per_variable": train.clip_per_variable,
        "use_ema": train.ema > 0,
        "ema_momentum": train.ema,
    }
    if train.optimizer == "adafactor":
        optimizer = ClippedAdafactor(schedule(train), **clipping)
    else:
        optimizer = ClippedAdam(
            schedule(train), epsilon=train.adam_epsilon, beta_2=train.adam_beta_2, **clipping
        )
    # XLA over the whole step is slower on CPUs and slow to compile.
    no_xla: dict[str, Any] = {"jit_compile": False}  # Keras annotates the type of its default only
    model.compile(optimizer=optimizer, **no_xla)
    optimizer.build(model.trainable_variables)  # a checkpoint restores its variables
    model.micro_batches = train.micro_batches
    for layer in all_layers(model):
        if hasattr(layer, "recompute"):
            layer.recompute = train.recompute

"""The learning rate schedule of a run, from its training section."""

from __future__ import annotations

import keras

from magenta_lite.config import TrainConfig
from magenta_lite.modeling.schedules import DecayToMinimum, WarmUp

LARGEST_WARM_UP = 0.1  # of all steps


def warmup_steps(train: TrainConfig) -> int:
    """Returns the number of warm-up steps, limited to a tenth of all steps.

    Without the limit, a short run would end before the warm-up does.
    """
    if train.schedule not in ("noam", "cosine") or not train.scale_schedules:
        return train.warmup_steps
    return min(train.warmup_steps, max(int(LARGEST_WARM_UP * train.steps), 1))


def schedule(train: TrainConfig) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate schedule of a training section."""
    if train.schedule == "decay":
        return DecayToMinimum(
            train.learning_rate, train.learning_rate_decay, train.min_learning_rate
        )
    steps = warmup_steps(train), train.steps
    return WarmUp(train.learning_rate, train.schedule, *steps, train.min_learning_rate)

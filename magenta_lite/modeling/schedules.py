"""Learning rate schedules."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from magenta_lite.typing import Tensor


@keras.saving.register_keras_serializable("magenta_lite")
class DecayToMinimum(keras.optimizers.schedules.LearningRateSchedule):
    """Exponential decay to a minimum: `minimum + (initial - minimum) * decay ** step`, in float32.

    Args:
        initial: Learning rate at step 0.
        decay: Decay factor per step, at most 1.
        minimum: Limit of the learning rate.
    """

    def __init__(self, initial: float, decay: float, minimum: float):
        self.initial, self.decay, self.minimum = initial, decay, minimum

    def __call__(self, step: Tensor) -> Tensor:
        power = tf.pow(tf.constant(self.decay, tf.float32), tf.cast(step, tf.float32))
        return self.minimum + (self.initial - self.minimum) * power

    def get_config(self) -> dict[str, Any]:
        return {"initial": self.initial, "decay": self.decay, "minimum": self.minimum}


@keras.saving.register_keras_serializable("magenta_lite")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up to a peak, followed by inverse square root or cosine decay.

    Args:
        peak: Largest learning rate.
        kind: `noam`: linear warm-up from 0, then `peak * sqrt(warmup_steps / step)` (Vaswani et al.
            2017, §5.3); `rsqrt`: the same without warm-up, at the peak for `warmup_steps`;
            `cosine`: linear warm-up from 0, then half a cosine to `minimum` at `steps`.
        warmup_steps: Number of steps before the decay.
        steps: Number of steps of the whole run.
        minimum: Final learning rate of `cosine`.
    """

    def __init__(
        self, peak: float, kind: str, warmup_steps: int, steps: int = 0, minimum: float = 0.0
    ):
        self.peak, self.kind, self.minimum = peak, kind, minimum
        self.warmup_steps, self.steps = warmup_steps, steps

    def __call__(self, step: Tensor) -> Tensor:
        step, warm = tf.cast(step, tf.float32), float(max(self.warmup_steps, 1))
        rising = 1.0 if self.kind == "rsqrt" else tf.minimum(step / warm, 1.0)
        if self.kind == "cosine":
            left = max(self.steps - self.warmup_steps, 1)
            done = tf.clip_by_value((step - warm) / left, 0.0, 1.0)
            cosine = (1 + tf.cos(math.pi * done)) / 2
            return rising * (self.minimum + (self.peak - self.minimum) * cosine)
        return self.peak * rising * tf.sqrt(warm / tf.maximum(step, warm))

    def get_config(self) -> dict[str, Any]:
        return {
            "peak": self.peak,
            "kind": self.kind,
            "warmup_steps": self.warmup_steps,
            "steps": self.steps,
            "minimum": self.minimum,
        }

"""Learning rates as functions of the step."""

from __future__ import annotations

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("magenta_lite")
class DecayToMinimum(keras.optimizers.schedules.LearningRateSchedule):
    """`minimum + (initial - minimum) * decay ** step`, the power taken in float32.

    Args:
        initial: Learning rate at step 0.
        decay: Factor of each step, at most 1.
        minimum: What the learning rate approaches.
    """

    def __init__(self, initial: float, decay: float, minimum: float):
        self.initial = initial
        self.decay = decay
        self.minimum = minimum

    def __call__(self, step):
        power = tf.pow(tf.constant(self.decay, tf.float32), tf.cast(step, tf.float32))
        return self.minimum + (self.initial - self.minimum) * power

    def get_config(self):
        return {"initial": self.initial, "decay": self.decay, "minimum": self.minimum}

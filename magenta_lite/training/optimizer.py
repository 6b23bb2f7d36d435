"""Adam as Magenta trains with it."""

from __future__ import annotations

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("magenta_lite")
class ClippedAdam(keras.optimizers.Adam):
    """Adam (Kingma & Ba 2014) on gradients that are clipped after they are added up.

    Keras clips each replica's gradients before they are added up, which depends on the number
    of replicas. Here the gradient of the whole batch is clipped: scaled down to a global norm of
    `clip_norm`, or replaced by zeros if its norm is `clip_to_zero_norm` or more, or not finite.
    Epsilon stands outside the bias correction, as in TensorFlow 1.

    Args:
        learning_rate: Float or schedule.
        clip_norm: Largest global norm.
        clip_to_zero_norm: Global norm from which on a step counts as broken.
        clip_per_variable: Scale each gradient down to a norm of `clip_norm` of its own instead.
        **kwargs: Of `keras.optimizers.Adam`.
    """

    def __init__(
        self,
        learning_rate=1e-3,
        clip_norm: float = 1.0,
        clip_to_zero_norm: float = 10_000.0,
        epsilon: float = 1e-8,
        clip_per_variable: bool = False,
        name: str = "clipped_adam",
        **kwargs,
    ):
        super().__init__(learning_rate, epsilon=epsilon, name=name, **kwargs)
        self.clip_norm = clip_norm
        self.clip_to_zero_norm = clip_to_zero_norm
        self.clip_per_variable = clip_per_variable

    def _all_reduce_sum_gradients(self, grads_and_vars):
        # The one place where a TensorFlow optimiser of Keras holds the gradient of all replicas.
        gradients, variables = zip(*super()._all_reduce_sum_gradients(grads_and_vars), strict=True)
        norm = tf.linalg.global_norm(gradients)
        usable = norm < self.clip_to_zero_norm  # False for NaN
        norms = [tf.norm(g) if self.clip_per_variable else norm for g in gradients]
        clipped = [
            tf.where(usable, g * (self.clip_norm / tf.maximum(n, self.clip_norm)), 0.0)
            for g, n in zip(gradients, norms, strict=True)
        ]
        return list(zip(clipped, variables, strict=True))

    def get_config(self):
        return {
            **super().get_config(),
            "clip_norm": self.clip_norm,
            "clip_to_zero_norm": self.clip_to_zero_norm,
            "clip_per_variable": self.clip_per_variable,
        }

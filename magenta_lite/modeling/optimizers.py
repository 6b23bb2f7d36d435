"""The optimisers of Magenta and tensor2tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from magenta_lite.keras_internals import OptimizerHooks
from magenta_lite.typing import Tensor

AVERAGED_FROM = 9.0  # early averages decay by step / (step + 9), i.e. span a tenth of the steps


class Clipping(OptimizerHooks):
    """Mixin for optimisers that clips gradients after their reduction over replicas.

    Keras clips the gradients of each replica before the reduction, which depends on the number of
    replicas. Here the gradient of the global batch is clipped: scaled down to a global norm of
    `clip_norm`, or replaced by zeros if its norm is at least `clip_to_zero_norm` or not finite.

    With `use_ema`, averages of the weights span the last tenth of all steps, as long as that is
    less than the span of `ema_momentum`.

    Args:
        learning_rate: Float or schedule.
        clip_norm: Largest global norm; 0 for no limit.
        clip_to_zero_norm: Global norm from which on the gradient is replaced by zeros.
        clip_per_variable: Clip each gradient by its own norm instead of the global norm. The two
            kernels of a recurrent layer are clipped by their joint norm: in the original, they are
            one variable.
        **kwargs: Arguments of the optimiser.
    """

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        clip_norm: float = 1.0,
        clip_to_zero_norm: float = 10_000.0,
        clip_per_variable: bool = False,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        self.clip_norm = clip_norm
        self.clip_to_zero_norm = clip_to_zero_norm
        self.clip_per_variable = clip_per_variable

    def changed(self, gradients: Sequence[Tensor], paths: Sequence[str]) -> list[Tensor]:
        norm = tf.linalg.global_norm(gradients)
        usable = norm < self.clip_to_zero_norm  # False for NaN
        norms = [norm] * len(gradients)
        if self.clip_per_variable:
            norms = self._norms_of_variables(gradients, paths)
        if self.clip_norm:
            scales = [self.clip_norm / tf.maximum(n, self.clip_norm) for n in norms]
            gradients = [g * scale for g, scale in zip(gradients, scales, strict=True)]
        return [tf.where(usable, gradient, 0.0) for gradient in gradients]

    def _norms_of_variables(self, gradients, paths) -> list[Tensor]:
        """Returns the norm of each gradient; for kernels of a recurrent layer, their joint norm."""
        names = [path.replace("/recurrent_kernel", "/kernel") for path in paths]
        together: dict[str, list[Tensor]] = {}
        for name, gradient in zip(names, gradients, strict=True):
            together.setdefault(name, []).append(gradient)
        norms = {name: tf.linalg.global_norm(own) for name, own in together.items()}
        return [norms[name] for name in names]

    def ema_decay(self) -> Tensor:
        # Otherwise the initial weights would dominate the average at the start of a run.
        step = tf.cast(tf.convert_to_tensor(self.iterations), tf.float32)
        return tf.minimum(float(self.ema_momentum), step / (step + AVERAGED_FROM))

    def finalize_variable_values(self, var_list: Any) -> None:
        """Keeps the weights, as a run calls `fit` several times; see `averages`."""

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "clip_norm": self.clip_norm,
            "clip_to_zero_norm": self.clip_to_zero_norm,
            "clip_per_variable": self.clip_per_variable,
        }


@keras.saving.register_keras_serializable("magenta_lite")
class ClippedAdam(Clipping, keras.optimizers.Adam):
    """Adam (Kingma & Ba 2014) with epsilon outside the bias correction, as in TensorFlow 1.

    Further arguments are those of `Clipping` and `keras.optimizers.Adam`.
    """

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        epsilon: float = 1e-8,
        name: str = "clipped_adam",
        **kwargs: Any,
    ):
        super().__init__(learning_rate, epsilon=epsilon, name=name, **kwargs)


@keras.saving.register_keras_serializable("magenta_lite")
class ClippedAdafactor(Clipping, keras.optimizers.Optimizer):
    """Adafactor (Shazeer & Stern 2018, https://arxiv.org/abs/1804.04235), without momentum.

    Second moments of matrices are factored into rows and columns, and updates are scaled by the
    root mean square (RMS) of the weights. Keras' own Adafactor divides 0 by 0 for rows without a
    gradient, such as the embeddings of tokens that a batch does not contain.

    Args:
        learning_rate: Relative step size, float or schedule.
        decay_power: Second moments decay by `1 - (step + 1) ** -decay_power`.
        least_scale: Lower bound of the RMS of the weights.
        largest_update: RMS to which larger updates are clipped.
        **kwargs: Arguments of `Clipping` and `keras.optimizers.Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Any = 1e-2,
        decay_power: float = 0.8,
        least_scale: float = 1e-3,
        largest_update: float = 1.0,
        name: str = "clipped_adafactor",
        **kwargs: Any,
    ):
        super().__init__(learning_rate, name=name, **kwargs)
        self.decay_power = decay_power
        self.least_scale = least_scale
        self.largest_update = largest_update

    def build(self, variables: Any) -> None:
        if self.built:
            return
        super().build(variables)
        # Second moments of rows and of columns, or of every weight of a vector.
        self.means = []
        for variable in variables:
            shape = tuple(variable.shape)
            shapes = [shape[:-1], (*shape[:-2], shape[-1])] if len(shape) > 1 else [shape]
            self.means.append(
                [
                    self.add_variable(shape=kept, dtype=variable.dtype, name=f"means_{i}")
                    for i, kept in enumerate(shapes)
                ]
            )

    def update_step(self, gradient: Tensor, variable: Tensor, learning_rate: Tensor) -> None:
        step = tf.cast(self.iterations, tf.float32) + 1
        decay = 1 - tf.pow(step, -self.decay_power)
        squares = tf.square(gradient) + 1e-30
        means = self.means[self.index_of(variable)]
        axes = [-1, -2] if len(means) > 1 else [None]
        for mean, axis in zip(means, axes, strict=True):
            new = squares if axis is None else tf.reduce_mean(squares, axis=axis)
            self.assign(mean, decay * mean + (1 - decay) * new)
        if len(means) > 1:
            rows, columns = (tf.convert_to_tensor(mean) for mean in means)
            rows /= tf.reduce_mean(rows, axis=-1, keepdims=True)
            update = gradient * tf.math.rsqrt(rows)[..., None]
            update *= tf.math.rsqrt(columns)[..., None, :]
        else:
            update = gradient * tf.math.rsqrt(tf.convert_to_tensor(means[0]))
        update /= tf.maximum(1.0, _root_mean_square(update) / self.largest_update)
        scale = tf.maximum(_root_mean_square(tf.convert_to_tensor(variable)), self.least_scale)
        self.assign_sub(variable, learning_rate * scale * update)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "decay_power": self.decay_power,
            "least_scale": self.least_scale,
            "largest_update": self.largest_update,
        }


def _root_mean_square(x):
    return tf.sqrt(tf.reduce_mean(tf.square(x)))

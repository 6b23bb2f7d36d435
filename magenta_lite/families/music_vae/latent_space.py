"""The prior over latent vectors, and spherical interpolation between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from magenta_lite.errors import unknown_name
from magenta_lite.layers.base import Layer
from magenta_lite.modeling.examples import Examples
from magenta_lite.typing import Tensor

PRIORS = ("data", "standard")
WINDOWS = 4096  # largest number of training examples for the fit
BATCH = 256


@keras.saving.register_keras_serializable("magenta_lite.music_vae")
class AggregatedPosterior(Layer):
    """A diagonal Gaussian fitted to the posteriors of training examples.

    A decoder is trained on samples of the aggregated posterior, the mean over examples of
    q(z | x), which differs from N(0, I) after a short training or with free bits (Tomczak & Welling
    2018, https://arxiv.org/abs/1705.07120, sec. 2). N(0, I) until `fit` is called, and in files
    without these weights.

    Args:
        size: Size Z of a latent vector.
    """

    def __init__(self, size: int, dtype: Any = "float32", trainable: bool = False, **kwargs: Any):
        super().__init__(dtype=dtype, trainable=trainable, **kwargs)
        self.size = size
        self.mean = self.add_weight(shape=(size,), initializer="zeros", name="mean")
        self.deviation = self.add_weight(shape=(size,), initializer="ones", name="deviation")

    def call(self, noise: Tensor) -> Tensor:
        """Returns latent vectors (..., Z) of standard normal noise (..., Z)."""
        mean, deviation = tf.convert_to_tensor(self.mean), tf.convert_to_tensor(self.deviation)
        return mean + deviation * noise

    def fit(self, encode: Callable[[Any], Any], examples: Examples) -> None:
        """Fits the moments of the posteriors of at most `WINDOWS` evenly spaced examples.

        `encode` returns the means and standard deviations of the posteriors of a batch, a dict of
        tensors: float (B, Z) each.
        """
        count = min(len(examples), WINDOWS)
        if not count:
            return
        chosen = np.arange(count) * len(examples) // count
        moments = []
        for batch in examples.batches(BATCH, chosen):
            batch = {name: tf.constant(array) for name, array in batch.items()}
            moments.append([tensor.numpy().astype(np.float64) for tensor in encode(batch)])
        mu, sigma = (np.concatenate(parts) for parts in zip(*moments, strict=True))
        self.mean.assign(mu.mean(axis=0).astype(np.float32))
        variance = mu.var(axis=0) + np.square(sigma).mean(axis=0)
        self.deviation.assign(np.sqrt(variance).astype(np.float32))

    def load_own_variables(self, store: Any) -> None:
        """Loads the weights; files of earlier versions have none, which leaves N(0, I)."""
        if store.keys():
            super().load_own_variables(store)


def check_prior(prior: str) -> None:
    """Raises: UserError if `prior` is none of `PRIORS`."""
    if prior not in PRIORS:
        raise unknown_name("prior", prior, PRIORS)


def slerp(start: Tensor, end: Tensor, num_steps: Any) -> Tensor:
    """Returns the spherical interpolation float (N, Z) from `start` (Z,) to `end` (Z,).

    The ends keep their magnitudes. Parallel ends are interpolated linearly, which is the limit.
    """
    t = tf.linspace(0.0, 1.0, num_steps)[:, None]
    cosine = tf.reduce_sum(tf.linalg.l2_normalize(start) * tf.linalg.l2_normalize(end))
    omega = tf.acos(tf.clip_by_value(cosine, -1.0, 1.0))
    straight = tf.abs(tf.sin(omega)) < 1e-6
    sine = tf.where(straight, 1.0, tf.sin(omega))
    arc = (tf.sin((1 - t) * omega) * start + tf.sin(t * omega) * end) / sine
    return tf.where(straight, (1 - t) * start + t * end, arc)

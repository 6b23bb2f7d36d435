"""Distributions of drum steps, for TensorFlow Probability."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp

from magenta_lite.graphs import array_of, counted_loop
from magenta_lite.modeling.sampling import Sampler
from magenta_lite.typing import Tensor

tfd = tfp.distributions

# Arguments of the base class for samples without gradients.
BASE_ARGUMENTS: dict[str, Any] = {
    "reparameterization_type": tfd.NOT_REPARAMETERIZED,
    "validate_args": False,
    "allow_nan_stats": True,
}
HIT_EPSILON = 1e-7  # added to probabilities of hits before the logarithm
NADE_EPSILON = 1e-6  # added to probabilities of NADE before the logarithm


def log_loss(probability: Tensor, target: Tensor, epsilon: float = HIT_EPSILON) -> Tensor:
    """Returns the cross-entropy of 0/1 `target` and `probability`, both (...), in nats."""
    return -target * tf.math.log(probability + epsilon) - (1 - target) * tf.math.log(
        1 - probability + epsilon
    )


class Nade(tfd.Distribution):
    """A neural autoregressive distribution over sets (Larochelle & Murray 2011).

    http://proceedings.mlr.press/v15/larochelle11a.html, sec. 2. Class d is in the set with
    probability sigmoid(output_bias[d] + sigmoid(a[d]) . decoder_weights[d]), where
    a[d] = hidden_bias + the encoder weights of the classes before d that are in the set.

    Shape letters: ... batch, D classes, H hidden units.

    Args:
        hidden_bias: Float (..., H).
        output_bias: Float (..., D).
        encoder_weights: Float (D, H).
        decoder_weights: Float (D, H).
    """

    def __init__(
        self,
        hidden_bias: Tensor,
        output_bias: Tensor,
        encoder_weights: Tensor,
        decoder_weights: Tensor,
        name: str = "nade",
    ):
        parameters = dict(locals())
        self._hidden_bias = tf.convert_to_tensor(hidden_bias)
        self._output_bias = tf.convert_to_tensor(output_bias)
        self._encoder_weights = tf.convert_to_tensor(encoder_weights)
        self._decoder_weights = tf.convert_to_tensor(decoder_weights)
        super().__init__(dtype=tf.int32, parameters=parameters, name=name, **BASE_ARGUMENTS)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        vector, matrix = (tfp.util.ParameterProperties(event_ndims=n) for n in (1, 2))
        biases = {"hidden_bias": vector, "output_bias": vector}
        return biases | {"encoder_weights": matrix, "decoder_weights": matrix}

    @property
    def size(self) -> int:
        """Classes D."""
        return self._output_bias.shape[-1]

    def _event_shape(self):
        return tf.TensorShape([self.size])

    def _event_shape_tensor(self):
        return tf.constant([self.size])

    def _run(self, like, value_of):
        """Returns the logits and values, float32 (..., D) each, of the classes in order.

        `value_of(d, logits)` returns whether class d is in the set (...). `like` (..., D) has the
        broadcast shape: that of the parameters, or with more leading axes.
        """
        biases = _last_axis_first(self._output_bias + tf.zeros_like(like))
        hidden = self._hidden_bias + tf.zeros_like(like)[..., :1]
        shape = hidden.shape[:-1]

        def add_class(d, a, logits, values):
            weighted = tf.sigmoid(a) * self._decoder_weights[d]
            logit = biases[d] + tf.reduce_sum(weighted, axis=-1)
            value = tf.cast(value_of(d, logit), tf.float32)
            a += value[..., None] * self._encoder_weights[d]
            return d + 1, a, logits.write(d, logit), values.write(d, value)

        arrays = [array_of(tf.float32, self.size, shape) for _ in range(2)]
        start = (0, hidden, *arrays)
        options = {"maximum_iterations": self.size}
        _, _, *arrays = counted_loop(self.size, add_class, start, **options)
        return [_first_axis_last(array.stack()) for array in arrays]

    def conditional_logits(self, value: Tensor) -> Tensor:
        """Returns logits (..., D) of each class given the classes of `value` before it."""
        value = tf.cast(value, tf.float32) + tf.zeros_like(self._output_bias)
        given = _last_axis_first(value)
        return self._run(value, lambda d, _: given[d])[0]

    def _log_prob(self, value):
        value = tf.cast(value, tf.float32)
        probability = tf.sigmoid(self.conditional_logits(value))
        return -tf.reduce_sum(log_loss(probability, value, NADE_EPSILON), axis=-1)

    def draw(self, uniforms: Tensor, sampler: Sampler) -> Tensor:
        """Returns int32 (..., D), drawn class by class with `uniforms` (..., D)."""
        first = _last_axis_first(uniforms)
        _, values = self._run(uniforms, lambda d, logits: sampler.draw_binary(logits, first[d]))
        return tf.cast(values, tf.int32)

    def _sample_n(self, n, seed=None):
        shape = tf.concat([[n], tf.shape(self._output_bias)], axis=0)
        seed = tfp.random.sanitize_seed(seed)
        return self.draw(tf.random.stateless_uniform(shape, seed), Sampler())


def _last_axis_first(x):
    return tf.transpose(x, [len(x.shape) - 1, *range(len(x.shape) - 1)])


def _first_axis_last(x):
    return tf.transpose(x, [*range(1, len(x.shape)), 0])


class Groove(tfd.Distribution):
    """Hits, velocities and offsets of D drum classes: (..., 3 * D) float32.

    Hits are independent Bernoulli variables. Velocities and offsets are normal with variance
    1 / (2 * error_weight), so that their negative log-likelihood is the weighted squared error plus
    a constant; samples are their means, as in GrooVAE (Gillick et al. 2019,
    https://arxiv.org/abs/1905.06118).

    Args:
        logits: Float (..., D), logits of hits.
        velocities: Float (..., D) in [0, 1].
        offsets: Float (..., D) in [-1, 1]; positive is early.
        error_weight: Weight of the squared errors.
        at_hits: Whether velocity and offset without a hit are 0, with probability 1.
    """

    def __init__(
        self,
        logits: Tensor,
        velocities: Tensor,
        offsets: Tensor,
        error_weight: float = 1.0,
        at_hits: bool = False,
        name: str = "groove",
    ):
        parameters = dict(locals())
        self._error_weight, self._at_hits = error_weight, at_hits
        self._logits = tf.convert_to_tensor(logits)
        self._velocities = tf.convert_to_tensor(velocities)
        self._offsets = tf.convert_to_tensor(offsets)
        super().__init__(dtype=tf.float32, parameters=parameters, name=name, **BASE_ARGUMENTS)

    @classmethod
    def _parameter_properties(cls, dtype, num_classes=None):
        vector = tfp.util.ParameterProperties(event_ndims=1)
        return {"logits": vector, "velocities": vector, "offsets": vector}

    def _event_shape(self):
        return tf.TensorShape([3 * self._logits.shape[-1]])

    def _event_shape_tensor(self):
        return 3 * tf.shape(self._logits)[-1:]

    def _log_prob(self, value):
        hits, velocities, offsets = tf.split(value, 3, axis=-1)
        squares = tf.math.squared_difference(self._velocities, velocities)
        squares += tf.math.squared_difference(self._offsets, offsets)
        # Of two normal densities.
        errors = self._error_weight * squares + math.log(math.pi / self._error_weight)
        if self._at_hits:
            errors *= hits
        return -tf.reduce_sum(log_loss(tf.sigmoid(self._logits), hits) + errors, axis=-1)

    def _sample_n(self, n, seed=None):
        shape = tf.concat([[n], tf.shape(self._logits)], axis=0)
        uniforms = tf.random.stateless_uniform(shape, tfp.random.sanitize_seed(seed))
        hits = tf.cast(Sampler().draw_binary(self._logits, uniforms), tf.float32)
        others = [tf.repeat(x[None], n, axis=0) for x in (self._velocities, self._offsets)]
        if self._at_hits:
            others = [hits * x for x in others]
        return tf.concat([hits, *others], axis=-1)

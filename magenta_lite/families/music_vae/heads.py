"""Output heads of the decoders: for each kind of event its input vector, loss and sampling.

Shape letters: ... any leading axes, V size of an event's vector, P parameters of a step, N units
of the layer that reads the vector. Events are int32, grooves float32, with the shapes listed at
`EventFormat`; the start and padding are id -1 or zeros, and their vectors are zeros.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from magenta_lite.converters.base import EventFormat
from magenta_lite.families.music_vae.distributions import HIT_EPSILON, Groove, Nade, log_loss
from magenta_lite.layers.base import FromArguments, Layer
from magenta_lite.modeling.music_model import is_top, share_of_commonest
from magenta_lite.modeling.sampling import Sampler
from magenta_lite.typing import Distribution, Tensor

tfd = tfp.distributions


@keras.saving.register_keras_serializable("magenta_lite.music_vae")
class Categorical(FromArguments):
    """One of `size` classes per step; the parameters are logits.

    Attributes:
        event_shape: Shape of an event.
        event_dtype: Dtype of events.
        vector_size: Size V.
        parameter_size: Number of parameters P.
        uniforms: Number of uniforms that sampling an event needs.
        scheduled_sampler: The sampler of scheduled sampling.
    """

    scheduled_sampler = Sampler()
    event_dtype = tf.int32

    def __init__(self, size: int):
        self.size = self.vector_size = self.parameter_size = size
        self.event_shape = ()
        self.uniforms = 1

    def start(self, rows: Any) -> Tensor:
        """Returns the start events (B,), which are read at the first step."""
        return tf.fill([rows], -1)

    def vector(self, events: Tensor, dtype: Any) -> Tensor:
        """Returns events (...) as vectors (..., V)."""
        return tf.one_hot(events, self.vector_size, dtype=dtype)

    def project(self, events: Tensor, kernel: Tensor) -> Tensor:
        """Returns the product of the vectors of `events` (...) with `kernel` (V, N)."""
        # An extra row of zeros for the start.
        rows = tf.pad(kernel, [[0, 1], [0, 0]])
        return tf.gather(rows, tf.where(events < 0, self.vector_size, events))

    def nll(self, parameters: Tensor, events: Tensor) -> Tensor:
        """Returns the negative log-likelihood (...), in nats, of `events` under (..., P)."""
        return tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=tf.maximum(events, 0), logits=parameters
        )

    def choose(self, parameters: Tensor, uniforms: Tensor, sampler: Sampler) -> Tensor:
        """Draws events (B,) from (B, P) with `uniforms` (B, 1)."""
        return sampler.draw(parameters, uniforms[:, 0])[0]

    def measures(self, parameters: Tensor, events: Tensor) -> dict:
        """Returns pairs of value and weight (...) by name, for weighted means over steps."""
        right = is_top(parameters, events)
        return {"accuracy": (right, tf.ones_like(right))}

    def majority_accuracy(self, events: np.ndarray) -> float:
        """Returns the accuracy of always predicting the most frequent of events (N, *E)."""
        return share_of_commonest(events)

    def distribution(self, parameters: Tensor) -> Distribution:
        """Returns the distribution of an event given parameters (..., P)."""
        return tfd.Categorical(logits=parameters)


@keras.saving.register_keras_serializable("magenta_lite.music_vae")
class MultiCategorical(FromArguments):
    """One class for each of several parts per step; the parameters are their logits, joined."""

    scheduled_sampler = Sampler()
    event_dtype = tf.int32

    def __init__(self, sizes: tuple[int, ...]):
        self.sizes = sizes
        self.parts = [Categorical(size) for size in sizes]
        self.event_shape = (len(sizes),)
        self.vector_size = self.parameter_size = sum(sizes)
        self.uniforms = len(sizes)

    def _each(self, parameters, *per_part):
        """Yields each part with its parameters and its column of the other tensors."""
        pieces = tf.split(parameters, self.sizes, axis=-1)
        for i, (part, piece) in enumerate(zip(self.parts, pieces, strict=True)):
            yield part, piece, *(x[..., i] for x in per_part)

    def start(self, rows: Any) -> Tensor:
        return tf.fill([rows, len(self.sizes)], -1)

    def vector(self, events: Tensor, dtype: Any) -> Tensor:
        vectors = [part.vector(events[..., i], dtype) for i, part in enumerate(self.parts)]
        return tf.concat(vectors, axis=-1)

    def project(self, events: Tensor, kernel: Tensor) -> Tensor:
        kernels = tf.split(kernel, self.sizes, axis=0)
        pairs = enumerate(zip(self.parts, kernels, strict=True))
        return sum(part.project(events[..., i], rows) for i, (part, rows) in pairs)

    def nll(self, parameters: Tensor, events: Tensor) -> Tensor:
        return sum(part.nll(logits, ids) for part, logits, ids in self._each(parameters, events))

    def choose(self, parameters: Tensor, uniforms: Tensor, sampler: Sampler) -> Tensor:
        parts = self._each(parameters, uniforms)
        chosen = [
            part.choose(logits, uniform[..., None], sampler) for part, logits, uniform in parts
        ]
        return tf.stack(chosen, axis=-1)

    def measures(self, parameters: Tensor, events: Tensor) -> dict:
        parts = self._each(parameters, events)
        each = [part.measures(logits, ids)["accuracy"] for part, logits, ids in parts]
        mean = sum(right for right, _ in each) / len(each)
        named = {f"accuracy_{i}": pair for i, pair in enumerate(each)}
        return {"accuracy": (mean, tf.ones_like(mean)), **named}

    def majority_accuracy(self, events: np.ndarray) -> float:
        return float(np.mean([share_of_commonest(part) for part in events.T]))

    def distribution(self, parameters: Tensor) -> Distribution:
        pieces = tf.split(parameters, self.sizes, axis=-1)
        return tfd.Blockwise([tfd.Categorical(logits=logits) for logits in pieces])


@keras.saving.register_keras_serializable("magenta_lite.music_vae")
class NadeHead(Layer):
    """A set of `size` classes per step, with an autoregressive distribution.

    The neural autoregressive distribution estimator of Larochelle & Murray (2011). The parameters
    of a step are the biases of its hidden layer and of its outputs.

    Args:
        size: Number of classes D.
        hidden: Units H of NADE's hidden layer.
    """

    # Scheduled sampling takes the most probable value of each class in turn.
    scheduled_sampler = Sampler(temperature=0.0)
    event_dtype = tf.int32

    def __init__(self, size: int, hidden: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.size = size
        self.hidden = hidden
        self.event_shape = (size,)
        self.vector_size = size
        self.parameter_size = hidden + size
        self.uniforms = size
        start = keras.initializers.TruncatedNormal(stddev=size**-0.5)
        shape = (size, hidden)
        self.encoder_weights = self.add_weight(name="w_enc", shape=shape, initializer=start)
        self.decoder_weights = self.add_weight(name="w_dec", shape=shape, initializer=start.clone())

    def start(self, rows: Any) -> Tensor:
        return tf.zeros([rows, self.size], tf.int32)

    def vector(self, events: Tensor, dtype: Any) -> Tensor:
        return tf.cast(events, dtype)

    def project(self, events: Tensor, kernel: Tensor) -> Tensor:
        return tf.matmul(tf.cast(events, kernel.dtype), kernel)

    def nll(self, parameters: Tensor, events: Tensor) -> Tensor:
        return -self.distribution(parameters).log_prob(events)

    def choose(self, parameters: Tensor, uniforms: Tensor, sampler: Sampler) -> Tensor:
        return self.distribution(parameters).draw(uniforms, sampler)

    def measures(self, parameters: Tensor, events: Tensor) -> dict:
        given = tf.cast(events, tf.float32)
        logits = self.distribution(parameters).conditional_logits(events)
        guessed = tf.cast(logits >= 0, tf.float32)
        true_positives = tf.reduce_sum(given * guessed, axis=-1)
        hits, guesses = tf.reduce_sum(given, axis=-1), tf.reduce_sum(guessed, axis=-1)
        all_right = tf.cast(tf.reduce_all(tf.equal(given, guessed), axis=-1), tf.float32)
        return {
            "accuracy": (all_right, tf.ones_like(all_right)),
            "recall": (tf.math.divide_no_nan(true_positives, hits), hits),
            "precision": (tf.math.divide_no_nan(true_positives, guesses), guesses),
        }

    def majority_accuracy(self, events: np.ndarray) -> float:
        return share_of_commonest(events)

    def distribution(self, parameters: Tensor) -> Nade:
        hidden_bias, output_bias = tf.split(parameters, [self.hidden, self.size], axis=-1)
        weights = (tf.convert_to_tensor(w) for w in (self.encoder_weights, self.decoder_weights))
        return Nade(hidden_bias, output_bias, *weights)


@keras.saving.register_keras_serializable("magenta_lite.music_vae")
class HitHead(FromArguments):
    """Hits of `size` drum classes per step; the parameters are their logits.

    Events are those of `GrooveHead`, without their velocities and offsets: those of its input are
    not read, those that it returns are 0.
    """

    scheduled_sampler = Sampler()
    event_dtype = tf.float32

    def __init__(self, size: int):
        self.size = self.vector_size = self.parameter_size = self.uniforms = size
        self.event_shape = (3 * size,)

    def start(self, rows: Any) -> Tensor:
        return tf.zeros([rows, *self.event_shape])

    def vector(self, events: Tensor, dtype: Any) -> Tensor:
        return tf.cast(events[..., : self.vector_size], dtype)

    def project(self, events: Tensor, kernel: Tensor) -> Tensor:
        return tf.matmul(self.vector(events, kernel.dtype), kernel)

    def choose(self, parameters: Tensor, uniforms: Tensor, sampler: Sampler) -> Tensor:
        hits = tf.cast(sampler.draw_binary(parameters[..., : self.size], uniforms), tf.float32)
        return self.with_hits(parameters, hits)

    def with_hits(self, parameters: Tensor, hits: Tensor) -> Tensor:
        """Returns grooves (..., 3 * D) with hits (..., D)."""
        return tf.concat([hits, tf.zeros_like(hits), tf.zeros_like(hits)], axis=-1)


@keras.saving.register_keras_serializable("magenta_lite.music_vae")
class GrooveHead(HitHead):
    """Hits, velocities and offsets of `size` drum classes per step (Gillick et al. 2019, sec. 3).

    The parameters are logits of hits, logits of velocities, and offsets before tanh.

    Args:
        size: D, the number of drum classes.
        error_weight: Weight of the squared errors of velocities and offsets in the loss.
        at_hits: Whether velocities and offsets are conditioned on a hit, so that errors count at
            hits only; otherwise, as in the original, velocity and offset without a hit are 0, and
            are learned like the others.
    """

    def __init__(self, size: int, error_weight: float = 1.0, at_hits: bool = False):
        super().__init__(size)
        self.error_weight, self.at_hits = error_weight, at_hits
        self.vector_size = self.parameter_size = 3 * size

    def _losses(self, parameters, events):
        """Returns log loss of hits, squared errors of velocities and of offsets: (..., D) each."""
        logits, velocity_logits, offsets = tf.split(parameters, 3, axis=-1)
        hits, given_velocities, given_offsets = tf.split(events, 3, axis=-1)
        counted = hits if self.at_hits else 1.0
        return (
            log_loss(tf.sigmoid(logits), hits),
            counted * tf.math.squared_difference(tf.sigmoid(velocity_logits), given_velocities),
            counted * tf.math.squared_difference(tf.tanh(offsets), given_offsets),
        )

    def nll(self, parameters: Tensor, events: Tensor) -> Tensor:
        """Returns the sum of the log loss of hits and of the weighted squared errors: (...).

        This is the negative log-likelihood of `Groove` up to a constant a step, or a hit.
        """
        hits, velocities, offsets = (
            tf.reduce_sum(loss, axis=-1) for loss in self._losses(parameters, events)
        )
        return hits + self.error_weight * velocities + self.error_weight * offsets

    def choose(self, parameters: Tensor, uniforms: Tensor, sampler: Sampler) -> Tensor:
        logits, velocities, offsets = tf.split(parameters, 3, axis=-1)
        hits = tf.cast(sampler.draw_binary(logits, uniforms), tf.float32)
        return tf.concat([hits, tf.sigmoid(velocities), tf.tanh(offsets)], axis=-1)

    def with_hits(self, parameters: Tensor, hits: Tensor) -> Tensor:
        """Returns grooves (..., 3 * D) with hits (..., D), and expected velocities and offsets.

        Without `at_hits` the network learns means over hits and misses, where a miss has velocity
        and offset 0. The mean over hits is that mean divided by the probability of a hit. Offsets
        are at most doubled, because a division by small probabilities would amplify their noise.
        """
        logits, velocities, offsets = tf.split(parameters, 3, axis=-1)
        velocities, offsets = tf.sigmoid(velocities), tf.tanh(offsets)
        if not self.at_hits:
            probability = tf.sigmoid(logits)
            velocities = tf.minimum(velocities / (probability + HIT_EPSILON), 1.0)
            offsets = tf.clip_by_value(offsets / tf.maximum(probability, 0.5), -1.0, 1.0)
        return tf.concat([hits, velocities * hits, offsets * hits], axis=-1)

    def measures(self, parameters: Tensor, events: Tensor) -> dict:
        hits = tf.split(events, 3, axis=-1)[0]
        guessed = tf.cast(tf.split(parameters, 3, axis=-1)[0] >= 0, tf.float32)
        right = tf.reduce_mean(tf.cast(tf.equal(hits, guessed), tf.float32), axis=-1)
        names = ("hits_loss", "velocities_loss", "offsets_loss")
        losses = (tf.reduce_sum(loss, axis=-1) for loss in self._losses(parameters, events))
        values = {"accuracy": right, **dict(zip(names, losses, strict=True))}
        return {name: (value, tf.ones_like(value)) for name, value in values.items()}

    def majority_accuracy(self, events: np.ndarray) -> float:
        hits = np.split(events, 3, axis=-1)[0]
        return float(np.mean([share_of_commonest(drum) for drum in hits.T]))

    def distribution(self, parameters: Tensor) -> Groove:
        logits, velocities, offsets = tf.split(parameters, 3, axis=-1)
        values = tf.sigmoid(velocities), tf.tanh(offsets)
        return Groove(logits, *values, error_weight=self.error_weight, at_hits=self.at_hits)


def make_head(
    events: EventFormat,
    nade_units: int,
    dtype: Any = None,
    error_weight: float = 1.0,
    at_hits: bool = False,
) -> Head:
    """Returns the head for the format of the events.

    `dtype` is the policy of a NADE; the last two are arguments of a `GrooveHead`.
    """
    if events.kind == "categorical":
        return Categorical(events.sizes[0])
    if events.kind == "multi_categorical":
        return MultiCategorical(events.sizes)
    if events.kind == "roll":
        return NadeHead(events.sizes[0], nade_units, name="nade", dtype=dtype)
    return GrooveHead(events.sizes[0], error_weight, at_hits)


Head = Categorical | MultiCategorical | NadeHead | GrooveHead

"""Sampling of events from logits with the settings that all families share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from magenta_lite.modeling.limits import MOST
from magenta_lite.typing import Tensor

SMALLEST = 1e-6  # lowest divisor of logits, so that probabilities are finite at temperature 0


class Sampler(NamedTuple):
    """Settings of sampling from logits: numbers, scalar tensors, or tensors (N,) for N rows.

    The rows are those of the first axis of the logits.

    The logits are divided by the temperature first. The other settings then exclude improbable
    classes, each by the probabilities at that temperature; the most probable class always stays.
    Temperature 0, top-k 1, min-p 1 and top-p up to `SMALLEST` take it without sampling.

    Attributes:
        temperature: Divides the logits; 0 takes the most probable class.
        top_k: Keeps the k most probable classes; 0 keeps all.
        top_p: Keeps the fewest most probable classes that together reach this probability
            (Holtzman et al. 2019, https://arxiv.org/abs/1904.09751); 1 keeps all.
        min_p: Keeps the classes whose probability is at least this share of the largest one
            (Nguyen et al. 2024, https://arxiv.org/abs/2407.01082); 0 keeps all.
    """

    temperature: Any = 1.0
    top_k: Any = 0
    top_p: Any = 1.0
    min_p: Any = 0.0

    @classmethod
    def of(cls, options: Any) -> Sampler:
        """Returns the sampler with the settings in the attributes of `options`."""
        return cls(*(getattr(options, name) for name in cls._fields))

    def tensors(self) -> Sampler:
        """Returns the settings as tensors, so that a graph is traced once for all values."""
        types = (tf.float32, tf.int32, tf.float32, tf.float32)
        pairs = zip(self, types, strict=True)
        return Sampler(*(tf.convert_to_tensor(value, dtype) for value, dtype in pairs))

    def _for(self, axes: int) -> Sampler:
        """Returns the settings as tensors that broadcast with a tensor of `axes` axes."""
        ones = [1] * (axes - 1)
        settings = self.tensors()
        return Sampler(*(tf.reshape(x, [-1, *ones]) if x.shape.rank else x for x in settings))

    def draw(
        self, logits: Tensor, uniforms: Tensor, always: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draws one class of each distribution by inverting its cumulative distribution.

        The random numbers are inputs, so that a draw does not depend on replica, batch or machine.

        Args:
            logits: Float (..., V).
            uniforms: Float (...) in [0, 1).
            always: As of `filtered`.

        Returns:
            Classes int32 (...), and the log probabilities float32 (...), in nats, with which they
            were drawn.
        """
        kept = self.filtered(logits, always)
        probabilities = tf.nn.softmax(kept)
        drawn = tf.where(
            self._is_greedy(len(logits.shape) - 1),
            tf.argmax(logits, axis=-1, output_type=tf.int32),
            inverse_cumulative(probabilities, tf.cumsum(probabilities, axis=-1), uniforms),
        )
        log_p = tf.gather(tf.nn.log_softmax(kept), drawn, axis=-1, batch_dims=len(drawn.shape))
        return drawn, log_p

    def filtered(self, logits: Tensor, always: Tensor | None = None) -> Tensor:
        """Returns the logits float32 (..., V) of the distribution that is drawn from.

        Args:
            logits: Float (..., V).
            always: Bool (..., V), classes that top-k, top-p and min-p do not exclude, unless the
                settings take the most probable class; None for no class.

        Returns:
            Logits; those of excluded classes are the lowest float.
        """
        temperature, top_k, top_p, min_p = self._for(len(logits.shape))
        scaled = tf.cast(logits, tf.float32) / tf.maximum(temperature, SMALLEST)
        if self._keeps_all():
            return scaled
        probability = tf.nn.softmax(scaled)
        largest = tf.reduce_max(probability, axis=-1, keepdims=True)

        def smallest_kept():
            ordered = tf.sort(probability, axis=-1, direction="DESCENDING")
            before = tf.cumsum(ordered, axis=-1, exclusive=True)
            rank = tf.range(logits.shape[-1])
            # Rounding errors of the sum must not exclude classes of rows without a top-p.
            likely = (before < top_p) | (top_p >= 1)
            stays = likely & ((rank < top_k) | (top_k <= 0)) | (rank == 0)
            return tf.reduce_min(tf.where(stays, ordered, 1.0), axis=-1, keepdims=True)

        # Sorting takes longer than all other operations of a step together.
        sorts = tf.reduce_any((top_k > 0) | (top_p < 1))
        lowest = tf.cond(sorts, smallest_kept, lambda: tf.zeros_like(largest))
        stays = probability >= tf.maximum(lowest, min_p * largest)
        if always is not None:
            stays |= always & ~self._is_greedy(len(logits.shape))
        return tf.where(stays, scaled, scaled.dtype.min)

    def _keeps_all(self):
        """Returns whether no class is excluded, by settings that are the defaults, not tensors."""
        return all(x is default for x, default in zip(self[1:], Sampler()[1:], strict=True))

    def _is_greedy(self, axes):
        if self._keeps_all():
            return self._for(axes).temperature <= 0
        temperature, top_k, top_p, min_p = self._for(axes)
        return (temperature <= 0) | (top_k == 1) | (top_p <= SMALLEST) | (min_p >= 1)

    def draw_binary(self, logits: Tensor, uniforms: Tensor) -> Tensor:
        """Draws binary events; the settings apply to the two outcomes.

        Args:
            logits: Float (...), of the probability of an event.
            uniforms: Float (...) in [0, 1).

        Returns:
            Bool (...), the more probable outcome where the other one is excluded.
        """
        temperature, top_k, top_p, min_p = self._for(len(logits.shape))
        probability = tf.sigmoid(logits / tf.maximum(temperature, SMALLEST))
        if self._keeps_all():
            return tf.where(temperature <= 0, logits >= 0, uniforms < probability)
        largest = tf.maximum(probability, 1 - probability)
        certain = (temperature <= 0) | (top_k == 1) | ((top_p < 1) & (largest >= top_p))
        certain |= 1 - largest < min_p * largest
        return tf.where(certain, logits >= 0, uniforms < probability)


def inverse_cumulative(probabilities: Tensor, cumulative: Tensor, uniform: Tensor) -> Tensor:
    """Returns the first class whose cumulative probability exceeds `uniform`, int32 (...).

    XLA computes cumulative sums in parallel, with rounding errors: they may decrease, and end below
    1. Classes of probability 0 are not drawn in spite of that.

    Args:
        probabilities: Float (..., V), at least one above 0.
        cumulative: Float (..., V), their cumulative sums, up to rounding errors.
        uniform: Float (...) in [0, 1).
    """
    possible = probabilities > 0
    total = tf.reduce_max(tf.where(possible, cumulative, 0), axis=-1, keepdims=True)
    exceeds = possible & (cumulative > uniform[..., None] * total)
    return tf.argmax(exceeds, axis=-1, output_type=tf.int32)


def at_most(value: Any, name: str) -> Tensor:
    """Returns the values of an option, int32 of any shape, for what must not begin above its limit.

    Raises:
        tf.errors.InvalidArgumentError: If one exceeds the limit of a call.
    """
    most = int(MOST[name])
    message = f"{name} must be at most {most:,}; give less, in several calls for more"
    with tf.control_dependencies([tf.debugging.assert_less_equal(value, most, message)]):
        return tf.identity(value)


def output_seeds(seed: Any, num_outputs: Any) -> Tensor:
    """Returns a seed for each output, int32 (N, 2), independent of the number N of outputs.

    Raises:
        tf.errors.InvalidArgumentError: If N exceeds the limit of a call.
    """
    numbers = tf.range(at_most(num_outputs, "num_outputs"))
    return tf.stack([tf.fill(tf.shape(numbers), seed), numbers], axis=1)


def row_seeds(seeds: Any, number: int = 0) -> Tensor:
    """Returns int32 (N, 2), for each of seeds int32 (N,) that of its output `number`."""
    seeds = tf.convert_to_tensor(seeds, tf.int32)
    return tf.stack([seeds, tf.fill(tf.shape(seeds), number)], axis=1)


def seeds_of(options: Any) -> Tensor:
    """Returns a seed for each output of a call of `generate`, int32 (N, 2)."""
    if options.seeds:
        return row_seeds(options.seeds)
    return output_seeds(options.seed, options.num_outputs)


def row_specs() -> list[tf.TensorSpec]:
    """Returns the specs of what every served function of rows takes: seed and settings, (N,)."""
    types = {"seed": tf.int32, "temperature": tf.float32, "top_p": tf.float32}
    return [tf.TensorSpec([None], dtype, name) for name, dtype in types.items()]


def row_settings(rows: int, temperature: float, seed: int) -> dict[str, Any]:
    """Returns arguments for `row_specs`, of seeds from `seed` on, without a top-p filter."""
    values = (range(seed, seed + rows), [temperature] * rows, [1.0] * rows)
    return {
        spec.name: tf.constant(value, spec.dtype)
        for spec, value in zip(row_specs(), values, strict=True)
    }


def draw_per_row(draw: Callable[..., Tensor], seeds: Tensor, shape: Any) -> Tensor:
    """Returns random numbers, of which each row depends on its own seed alone.

    Not for graphs compiled by XLA, whose random numbers differ.

    Args:
        draw: `tf.random.stateless_uniform` or `tf.random.stateless_normal`.
        seeds: Int32 (N, 2).
        shape: Shape of a row.

    Returns:
        Float32 (N, *shape).
    """
    return tf.map_fn(lambda seed: draw(shape, seed), seeds, fn_output_signature=tf.float32)


def uniforms_of(seeds: Tensor, shape: Any) -> Tensor:
    """Returns uniforms in [0, 1) of `draw_per_row`, float32 (N, *shape)."""
    return draw_per_row(tf.random.stateless_uniform, seeds, shape)


def step_uniforms(seeds: Tensor, steps: Any) -> Tensor:
    """Returns uniforms float32 (T, N) of T = `steps` steps for seeds int32 (N, 2)."""
    return tf.transpose(uniforms_of(seeds, [steps]))

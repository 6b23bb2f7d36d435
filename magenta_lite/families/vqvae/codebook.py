"""Codebooks that are running means of what they stand for.

Jukebox (Dhariwal et al. 2020, https://arxiv.org/abs/2005.00341, §3); the means are those of van den
Oord et al. (2017, https://arxiv.org/abs/1711.00937, appendix A.1). All replicas add up what they
count and choose from the rows of all, so the codebook is that of the whole batch.

Shape letters: B batch, S steps, R rows (all steps of a batch), K codes, C width of a code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from magenta_lite.typing import Tensor

NOISE = 0.01  # of rows that stand in more than once, times 1 / √C
ROWS_PER_CODE = 16  # that k-means looks at
ENTROPY_FLOOR = 1e-8


class Choice(NamedTuple):
    """Random numbers by which rows are chosen.

    Attributes:
        order: Float32 (B, copies * S); rows with small numbers come first.
        noise: Standard normal float32 (B, copies * S, C); None where there is one copy.
    """

    order: Any
    noise: Any = None


class Statistics(NamedTuple):
    """What a codebook did with a batch; float32 scalars.

    Attributes:
        fit: Mean squared distance of a row from its code.
        prenorm: Standard deviation of all numbers in the rows.
        entropy: Of the codes of the batch, in nats.
        used: Codes that were hit as often as a code must be, on average, to stay.
        alive: Codes that are not replaced.
        change: Root mean square change of the vectors.
    """

    fit: Any
    prenorm: Any
    entropy: Any
    used: Any
    alive: Any
    change: Any


class Coded(NamedTuple):
    """Codes int32 (B, S), their vectors float32 (B, S, C), and `Statistics`."""

    codes: Any
    vectors: Any
    statistics: Statistics


@keras.saving.register_keras_serializable("magenta_lite")
class Codebook(keras.layers.Layer):
    """K vectors, each near the mean of the rows that it is nearest to.

    The first training batch fills the codebook with rows of its own. In every training step, after
    codes were looked up, `hits` and `sums` of each code decay towards the number and the sum of the
    step's rows of that code, and its vector becomes their quotient. A code with fewer `hits` than
    `threshold` gets a random row of the batch instead, whatever its averages are.

    Args:
        codes: K.
        width: C.
        decay: Of `hits` and `sums`.
        threshold: See above; hits a step.
        reset_restarted: A code that gets a random row begins with `threshold` hits of it.
        k_means_steps: Rounds of k-means over rows of the first batch.
        unit_length: Rows have unit length, and so do the vectors.

    Call arguments:
        x: Float32 (B, S, C). No gradient goes through.
        training: Whether to learn; B and S must be known then.
        choices: Two `Choice`s, of the first rows and of those that restart codes; in training.
        counted: Float32 (B,), 1 for examples that count, 0 for those that do not; None for all.

    Returns:
        `Coded`, by the codebook as it was before.
    """

    def __init__(
        self,
        codes: int,
        width: int,
        decay: float = 0.99,
        threshold: float = 1.0,
        reset_restarted: bool = False,
        k_means_steps: int = 0,
        unit_length: bool = False,
        **kwargs: Any,
    ):
        super().__init__(dtype=kwargs.pop("dtype", "float32"), **kwargs)
        self.codes = codes
        self.width = width
        self.decay = decay
        self.threshold = threshold
        self.reset_restarted = reset_restarted
        self.k_means_steps = k_means_steps
        self.unit_length = unit_length
        self.vectors = self._state((codes, width), "vectors", "random_normal")
        self.sums = self._state((codes, width), "sums")
        self.hits = self._state((codes,), "hits")
        self.ready = self._state((), "ready")  # 1 when there is a first codebook
        self.built = True

    def _state(self, shape, name: str, initializer: str = "zeros"):
        # All replicas compute the same.
        return self.add_weight(
            shape=shape,
            initializer=initializer,
            trainable=False,
            aggregation="only_first_replica",
            name=name,
        )

    def begin_with(self, vectors: np.ndarray, hits: float) -> None:
        """Makes `vectors` (K, C) the codebook, each as if it had been hit `hits` times a step."""
        self.vectors.assign(vectors)
        self.sums.assign(tf.convert_to_tensor(vectors) * hits)
        self.hits.assign(tf.fill([self.codes], hits))
        self.ready.assign(1.0)

    def look_up(self, codes: Tensor) -> Tensor:
        """Returns the vectors float32 (..., C) of codes int (...)."""
        return tf.gather(tf.convert_to_tensor(self.vectors), codes)

    def call(
        self,
        x: Tensor,
        training: bool = False,
        choices: Any = None,
        counted: Tensor | None = None,
    ) -> Coded:
        x = tf.stop_gradient(x)
        rows = tf.reshape(x, [-1, self.width])
        vectors = tf.convert_to_tensor(self.vectors)
        if training:
            vectors = tf.where(self.ready > 0, vectors, self._first(x, choices[0]))
        codes, squares = nearest(rows, vectors)
        weights = self._weights(rows, x, counted)
        hits = tf.math.unsorted_segment_sum(weights, codes, self.codes)
        new, alive = vectors, tf.convert_to_tensor(self.hits) >= self.threshold
        if training:
            sums = tf.math.unsorted_segment_sum(rows * weights[:, None], codes, self.codes)
            hits, sums = _summed(hits), _summed(sums)
            new, alive = self._learn(vectors, hits, sums, self._chosen(x, choices[1], self.codes))
        shares = hits / tf.maximum(tf.reduce_sum(hits), 1.0)
        statistics = Statistics(
            fit=tf.reduce_mean(squares),
            prenorm=tf.math.reduce_std(rows),
            entropy=-tf.reduce_sum(shares * tf.math.log(shares + ENTROPY_FLOOR)),
            used=_count(hits >= self.threshold),
            alive=_count(alive),
            change=tf.sqrt(tf.reduce_mean(tf.square(new - vectors))),
        )
        shape = tf.shape(x)[:2]
        coded = tf.reshape(tf.gather(vectors, codes), tf.shape(x))
        return Coded(tf.reshape(codes, shape), tf.ensure_shape(coded, x.shape), statistics)

    def _weights(self, rows, x, counted):
        if counted is None:
            return tf.ones_like(rows[:, 0])
        return tf.repeat(counted, tf.shape(x)[1])

    def _learn(self, vectors, hits, sums, restarts):
        """Takes a step.

        Args:
            vectors: As they were, (K, C).
            hits: Rows of each code in this step, (K,).
            sums: Their sums, (K, C).
            restarts: Random rows, (K, C).

        Returns:
            The new vectors, and which codes stay, bool (K,).
        """
        first = self.ready < 1
        old_hits = tf.where(first, 1.0, tf.convert_to_tensor(self.hits))
        old_sums = tf.where(first, vectors, tf.convert_to_tensor(self.sums))
        hits = self.decay * old_hits + (1 - self.decay) * hits
        sums = self.decay * old_sums + (1 - self.decay) * sums
        alive = hits >= self.threshold
        means = tf.math.divide_no_nan(sums, hits[:, None])
        means = tf.math.l2_normalize(means, axis=1) if self.unit_length else means
        new = tf.where(alive[:, None], means, restarts)
        if self.reset_restarted:
            sums = tf.where(alive[:, None], sums, restarts * self.threshold)
            hits = tf.where(alive, hits, self.threshold)
        for variable, value in (
            (self.vectors, new),
            (self.sums, sums),
            (self.hits, hits),
            (self.ready, tf.constant(1.0)),
        ):
            variable.assign(value)
        return new, alive

    def _first(self, x, choice: Choice):
        """Returns the codebook (K, C) that a first batch x (B, S, C) gives."""
        if not self.k_means_steps:
            return self._chosen(x, choice, self.codes)
        rows = self._chosen(x, choice, ROWS_PER_CODE * self.codes)
        start = rows[: self.codes]

        def round_of_k_means(i, vectors):
            codes, _ = nearest(rows, vectors)
            hits = tf.math.unsorted_segment_sum(tf.ones_like(rows[:, :1]), codes, self.codes)
            sums = tf.math.unsorted_segment_sum(rows, codes, self.codes)
            means = tf.where(hits > 0, tf.math.divide_no_nan(sums, hits), vectors)
            return i + 1, tf.math.l2_normalize(means, axis=1) if self.unit_length else means

        # None in later steps.
        rounds = tf.where(self.ready > 0, 0, self.k_means_steps)
        return tf.while_loop(lambda i, _: i < rounds, round_of_k_means, (0, start))[1]

    def copies(self, shape: Sequence[int]) -> int:
        """Returns how often each row of x, of `shape` (B, S, C), must stand in to be enough."""
        rows = shape[0] * shape[1] * tf.distribute.get_strategy().num_replicas_in_sync
        return -(-self.codes // rows)

    def _chosen(self, x, choice: Choice, count: int):
        """Returns the first rows (n, C) of all replicas, in order; n is `count`, or all K at least.

        Where there are fewer rows than codes, each stands in more than once, with noise.
        """
        copies = self.copies(x.shape)
        rows = tf.tile(x, [1, copies, 1])
        if copies > 1:
            rows += choice.noise * (NOISE * self.width**-0.5)
            rows = tf.math.l2_normalize(rows, axis=2) if self.unit_length else rows
        rows, order = tf.reshape(rows, [-1, self.width]), tf.reshape(choice.order, [-1])
        rows, order = _first_rows(rows, order, count)
        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            mine = tf.concat([order[:, None], rows], axis=1)
            every = context.all_gather(mine, axis=0)
            every.set_shape([mine.shape[0] * context.num_replicas_in_sync, 1 + self.width])
            order, rows = tf.split(every, [1, self.width], axis=1)
            rows, _ = _first_rows(rows, order[:, 0], count)
        return rows

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "codes": self.codes,
            "width": self.width,
            "decay": self.decay,
            "threshold": self.threshold,
            "reset_restarted": self.reset_restarted,
            "k_means_steps": self.k_means_steps,
            "unit_length": self.unit_length,
        }


def nearest(rows: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Returns codes int32 (R,) of rows (R, C), and their squared distances from vectors (K, C)."""
    distances = (
        tf.reduce_sum(tf.square(rows), axis=1, keepdims=True)
        - 2 * tf.matmul(rows, vectors, transpose_b=True)
        + tf.reduce_sum(tf.square(vectors), axis=1)
    )
    codes = tf.argmin(distances, axis=1, output_type=tf.int32)
    return codes, tf.reduce_min(distances, axis=1)


def _first_rows(rows, order, count: int):
    """Returns at most `count` rows with the smallest numbers in `order`, and these numbers."""
    numbers, places = tf.math.top_k(-order, min(count, order.shape[0]))
    return tf.gather(rows, places), -numbers


def _summed(x):
    """Returns the sum of x over all replicas."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return x
    return context.all_reduce(tf.distribute.ReduceOp.SUM, x)


def _count(which):
    return tf.reduce_sum(tf.cast(which, tf.float32))

"""Codebooks learned by exponential moving averages.

Jukebox (Dhariwal et al. 2020, https://arxiv.org/abs/2005.00341, §3); the averages are those of van
den Oord et al. (2017, https://arxiv.org/abs/1711.00937, appendix A.1). Counts and sums are reduced
over all replicas, so that the update is that of the whole batch.

Shape letters: B batch, S steps, R rows (all steps of a batch), K codes, C width of a code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from magenta_lite.graphs import on_gpu
from magenta_lite.layers.base import Layer
from magenta_lite.typing import Tensor

NOISE = 0.01  # standard deviation of the noise on copied rows, times √C
ROWS_PER_CODE = 16  # rows of k-means per code
ENTROPY_FLOOR = 1e-8


class Choice(NamedTuple):
    """Random numbers for a random choice of rows.

    Attributes:
        order: Sort keys float32 (B, copies * S); the rows with the smallest keys are chosen.
        noise: Standard normal float32 (B, copies * S, C); None if `copies` is 1.
    """

    order: Any
    noise: Any = None


class Statistics(NamedTuple):
    """Statistics of a codebook on a batch; float32 scalars.

    Attributes:
        fit: Mean squared distance between a row and the vector of its code.
        prenorm: Standard deviation of all elements of the rows.
        entropy: Entropy of the codes of the batch, in nats.
        used: Number of codes with at least `threshold` hits in this batch.
        alive: Number of codes that are not replaced.
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


@keras.saving.register_keras_serializable("magenta_lite.vqvae")
class Codebook(Layer):
    """A vector quantizer with K vectors, learned by exponential moving averages.

    The vectors are initialised with random rows of the first training batch. In each training step,
    after the quantization, `hits` and `sums` are the moving averages of the number and the sum of
    the rows of each code, and its vector becomes `sums / hits`. A code with fewer `hits` than
    `threshold` is replaced by a random row of the batch.

    Args:
        codes: Codebook size K.
        width: Width C.
        decay: Decay of `hits` and `sums`.
        threshold: Hits per step below which a code is replaced.
        reset_restarted: Whether the averages of a replaced code restart with `threshold` hits.
        k_means_steps: Iterations of k-means over rows of the first batch.
        unit_length: Whether rows, and so vectors, have unit length.

    Call arguments:
        x: Float32 (B, S, C). It receives no gradient.
        training: Whether to update the codebook; B and S must be static then.
        choices: Two `Choice`s, for the initialisation and for replaced codes; in training.
        counted: Float32 (B,), weights 0 or 1 of the examples in the update; None for 1.

    Returns:
        `Coded`, by the codebook before the update.
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
        dtype: Any = "float32",
        **kwargs: Any,
    ):
        super().__init__(dtype=dtype, **kwargs)
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
        self.ready = self._state((), "ready")  # 1 once the codebook is initialised

    def _state(self, shape, name: str, initializer: str = "zeros"):
        # All replicas compute the same values.
        return self.add_weight(
            shape=shape,
            initializer=initializer,
            trainable=False,
            aggregation="only_first_replica",
            name=name,
        )

    def begin_with(self, vectors: np.ndarray, hits: float) -> None:
        """Initialises the codebook with `vectors` (K, C) and averages of `hits` hits per step."""
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
        weights = tf.ones_like(rows[:, 0])
        if counted is not None:
            weights = tf.repeat(counted, tf.shape(x)[1])
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

    def _learn(self, vectors, hits, sums, restarts):
        """Updates the codebook: returns new vectors, and bool (K,), which codes are not replaced.

        `hits` (K,) and `sums` (K, C) are the number and the sum of the rows of each code in this
        step; `restarts` (K, C) are random rows for replaced codes.
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
        self.vectors.assign(new)
        self.sums.assign(sums)
        self.hits.assign(hits)
        self.ready.assign(1.0)
        return new, alive

    def _first(self, x, choice: Choice):
        """Returns the initial vectors (K, C) for a first batch x (B, S, C)."""
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

        # No iterations in later steps.
        rounds = tf.where(self.ready > 0, 0, self.k_means_steps)
        return tf.while_loop(lambda i, _: i < rounds, round_of_k_means, (0, start))[1]

    def copies(self, shape: Sequence[int]) -> int:
        """Returns the number of copies of the rows of x, of `shape` (B, S, C), for K rows."""
        rows = shape[0] * shape[1] * tf.distribute.get_strategy().num_replicas_in_sync
        return -(-self.codes // rows)

    def _chosen(self, x, choice: Choice, count: int):
        """Returns random rows (n, C) of all replicas; n is at most `count` and at least K.

        If a batch has fewer rows than codes, they are copied with noise.
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


def nearest(rows: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the nearest of vectors (K, C) to rows (R, C): int32 (R,), and squared distances."""
    product = _exact_product if on_gpu() else _product
    distances = (
        tf.reduce_sum(tf.square(rows), axis=1, keepdims=True)
        - 2 * product(rows, vectors)
        + tf.reduce_sum(tf.square(vectors), axis=1)
    )
    codes = tf.argmin(distances, axis=1, output_type=tf.int32)
    return codes, tf.reduce_min(distances, axis=1)


def _product(rows, vectors):
    return tf.matmul(rows, vectors, transpose_b=True)


def _exact_product(rows, vectors):
    """Returns rows (R, C) times transposed vectors (K, C) with the precision of float32.

    GPUs round the factors of float32 products to the 11 bits of TF32, by which near vectors change
    places. The parts of a number before and after those bits are multiplied separately.
    """
    (high, low), (high_vectors, low_vectors) = _parted(rows), _parted(vectors)
    small = _product(high, low_vectors) + _product(low, high_vectors)
    return _product(high, high_vectors) + (small + _product(low, low_vectors))


def _parted(x):
    """Returns x, float32, as the sum of numbers with at most 11 and 13 bits."""
    bits = tf.bitwise.bitwise_and(tf.bitcast(x, tf.uint32), tf.constant(0xFFFFE000, tf.uint32))
    high = tf.bitcast(bits, tf.float32)
    return high, x - high


def _first_rows(rows, order, count: int):
    """Returns at most `count` rows with the smallest keys in `order`, and these keys."""
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

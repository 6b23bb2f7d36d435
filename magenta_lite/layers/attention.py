"""Attention with and without relative positions, global and in blocks.

Shape letters: B batch, H heads, L queries, K keys, D key depth, V value depth, R rows of a table.
Queries q are float (B, H, L, D) and must be scaled already, keys k (B, H, K, D), values v
(B, H, K, V); tables of relative distances are (H, R, D) or (R, D) for all heads, those of values
(H, R, V) or (R, V). The functions `attend…` return float (B, H, L, V) in the type of v; their
softmax is in float32. Relative terms follow Music Transformer (Huang et al. 2018,
https://arxiv.org/abs/1809.04281, §3.4) and Shaw et al. 2018 (https://arxiv.org/abs/1803.02155):
q_i · e_(j-i) is added to the logit of query i and key j. The products of each query with all rows
of the table of e are computed at once, with O(L D) memory beyond the logits, and then skewed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from magenta_lite.typing import Tensor

MASKED = -1e9  # added to the logits of masked keys
# Blocks of queries: smaller blocks slow down the products, more blocks enlarge the graph.
SMALLEST_BLOCK = 128
MOST_BLOCKS = 8


@dataclasses.dataclass(frozen=True)
class Distances:
    """The relative distances that the rows of a table represent.

    Attributes:
        both_sides: Row R // 2 is distance 0 and the rows after it are keys to the right (R is odd);
            otherwise the last row is distance 0 and all rows are keys to the left.
        clip: Larger distances use the farthest row; otherwise they have no relative term.
    """

    both_sides: bool = False
    clip: bool = False

    def spread(self, products: Tensor, queries: int, keys: int) -> Tensor:
        """Expands products with the rows of a table to one column for each distance.

        Args:
            products: Float (..., R).
            queries: Number of queries L.
            keys: Number of keys K.

        Returns:
            Float (..., K), or (..., L + K - 1) with `both_sides`; the leftmost distance first.
        """
        rows = products.shape[-1]
        left, right = self._reach(rows)
        farthest_left, farthest_right = self._farthest(queries, keys)
        if self.clip:
            wanted = tf.range(-farthest_left, farthest_right + 1)
            return tf.gather(products, tf.clip_by_value(wanted, -left, right) + left, axis=-1)
        cut_left, cut_right = max(left - farthest_left, 0), max(right - farthest_right, 0)
        kept = products
        if cut_left or cut_right:
            kept = products[..., cut_left : rows - cut_right]
        missing = [max(farthest_left - left, 0), max(farthest_right - right, 0)]
        return tf.pad(kept, [[0, 0]] * (len(products.shape) - 1) + [missing])

    def rows_for(self, table: Tensor, length: int) -> Tensor:
        """Expands the rows of a table (..., R, D) as `spread` expands columns."""
        columns = self.spread(tf.linalg.matrix_transpose(table), length, length)
        return tf.linalg.matrix_transpose(columns)

    def used_rows(self, rows: int, queries: int, keys: int) -> slice:
        """Returns the slice of the R rows of a table that L queries and K keys can use."""
        if self.clip:
            return slice(0, rows)
        left, right = self._reach(rows)
        far = max(self._farthest(queries, keys))  # symmetric: the middle row keeps its place
        return slice(max(left - far, 0), rows - max(right - far, 0))

    def _farthest(self, queries: int, keys: int) -> tuple[int, int]:
        """Returns the largest distances of keys to the left and to the right of queries."""
        # Two-sided, the first query is at the first key; one-sided, the last at the last.
        return (queries - 1, keys - 1) if self.both_sides else (keys - 1, 0)

    def _reach(self, rows: int) -> tuple[int, int]:
        """Returns the largest distances to the left and to the right that have rows."""
        return (rows // 2, rows // 2) if self.both_sides else (rows - 1, 0)


PAST = Distances()
BOTH_SIDES = Distances(both_sides=True)
CLIPPED = Distances(both_sides=True, clip=True)


def skew(products: Tensor, keys: int) -> Tensor:
    """Reindexes products from distances to keys ("skewing", Huang et al. 2018, §3.4.1).

    Args:
        products: Float (..., L, C); column C - 1 - d (one-sided), or the middle one - d, belongs to
            the key at distance d to the left of the query.
        keys: Number of keys K.

    Returns:
        Float (..., L, K). Entries whose distance has no column hold values of other queries and
        must be masked.
    """
    *batch, length, columns = products.shape
    batch = [-1 if n is None else n for n in batch]
    # With one more column and one row fewer, each row starts one column further to the left.
    padded = tf.pad(products, [[0, 0]] * (len(batch) + 1) + [[1, 0]])
    flat = tf.reshape(padded, [*batch, length * (columns + 1)])
    # The gradient of `tf.slice` is several times as fast as that of indexing.
    rest = tf.slice(flat, [0] * len(batch) + [length], [-1] * (len(batch) + 1))
    moved = tf.reshape(rest, [*batch, length, columns])
    return moved if keys == columns else moved[..., :keys]


def unskew(weights: Any, columns: int) -> Tensor:
    """Reindexes weights (..., L, K) from keys to distances (..., L, C): the transpose of `skew`.

    Weights whose distance has no column must be zero.
    """
    *batch, length, keys = weights.shape
    batch = [-1 if n is None else n for n in batch]
    moved = tf.pad(weights, [[0, 0]] * (len(batch) + 1) + [[0, columns - keys]])
    flat = tf.reshape(moved, [*batch, length * columns])
    padded = tf.pad(flat, [[0, 0]] * len(batch) + [[length, 0]])
    return tf.reshape(padded, [*batch, length, columns + 1])[..., 1:]


def causal_bias(queries: int, keys: int) -> Tensor:
    """Returns the causal mask float32 (L, K); the last query is at the last key."""
    return (1 - tf.linalg.band_part(tf.ones([queries, keys]), -1, keys - queries)) * MASKED


def padding_bias(is_padding: Tensor) -> Tensor:
    """Returns the mask float32 (B, 1, 1, K) of padded keys, those where bool (B, K) is true."""
    return tf.cast(is_padding, tf.float32)[:, None, None, :] * MASKED


def relative_logits(
    q: Tensor, table: Tensor, distances: Distances = PAST, keys: int | None = None
) -> Tensor:
    """Returns q_i · e_(j-i) for queries i and keys j.

    The last query is at the last key; with `both_sides` the first query is at the first key.

    Args:
        q: Queries, of whose depth the first D count.
        table: A table of relative distances.
        distances: The distances of its rows.
        keys: Number of keys K; L if None.

    Returns:
        Float (B, H, L, K); without `both_sides` valid only for keys that are not after the query.
    """
    queries = q.shape[2]
    columns = keys or queries
    used = distances.used_rows(table.shape[-2], queries, columns)
    products = _with_rows(q[..., : table.shape[-1]], table[..., used, :])
    return skew(distances.spread(products, queries, columns), columns)


def with_intervals(q: Tensor, table: Tensor, pitches: Tensor) -> Tensor:
    """Extends queries, so that their products with extended keys depend on intervals.

    The term q_i · e_(p_i - p_j) is added to the logit of query i and key j (Huang et al. 2018,
    §4.1). Keys are extended by `one_hot_pitches`.

    Args:
        q: Queries.
        table: Float (H, 2 P, D). Row 0 is for pairs in which a pitch is missing, row P for equal
            pitches, and the rows after it are for queries above keys.
        pitches: Int32 (B, L), numbers of the pitches of the queries, 1 to P; 0 for none.

    Returns:
        Float (B, H, L, D + P + 1).
    """
    count = table.shape[-2] // 2
    numbers = tf.range(count + 1)
    rows = numbers[:, None] - numbers + count
    rows = tf.where((numbers[:, None] > 0) & (numbers > 0), rows, 0)
    wanted = tf.gather(rows, pitches)[:, None]
    wanted = tf.broadcast_to(wanted, tf.concat([tf.shape(q)[:3], [count + 1]], axis=0))
    return tf.concat([q, tf.gather(_with_rows(q, table), wanted, batch_dims=3)], axis=-1)


def one_hot_pitches(k: Tensor, pitches: Tensor, count: int) -> Tensor:
    """Extends keys (B, H, K, D) by one-hot vectors of their pitches, int32 (B, K), 0 to `count`."""
    one_hot = tf.one_hot(pitches, count + 1, dtype=k.dtype)[:, None]
    return tf.concat([k, tf.repeat(one_hot, k.shape[1], axis=1)], axis=-1)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None = None,
    key_table: Tensor | None = None,
    value_table: Tensor | None = None,
    distances: Distances = PAST,
    keep: Tensor | None = None,
) -> Tensor:
    """Computes the attention of every query to all keys.

    Args:
        q, k, v: Queries, keys and values.
        bias: Added to the logits, broadcasts to (B, H, L, K); None for no bias.
        key_table: Table for a relative term of the logits; if K ≠ L, with both sides.
        value_table: Table for a relative term of the output; requires K = L.
        distances: The distances of the rows of the tables.
        keep: Dropout factors of the weights, broadcast to (B, H, L, K); None for no dropout.
    """
    logits = tf.matmul(q, k, transpose_b=True)
    if key_table is not None:
        logits += relative_logits(q, key_table, distances, k.shape[2])
    weights = _softmax(logits, bias, keep, v.dtype)
    out = tf.matmul(weights, v)
    if value_table is not None:
        rows = distances.rows_for(value_table, q.shape[2])
        by_distance = unskew(weights, rows.shape[-2])
        out += tf.matmul(by_distance, _broadcast_rows(by_distance, rows))
    return out


def attend_causally(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    key_table: Tensor | None = None,
    draw: Callable[[int], Tensor] | None = None,
) -> Tensor:
    """Computes causal attention.

    Queries are processed in blocks, each with the keys up to its last query: little more than half
    the work of `attend` with a causal mask.

    Args:
        q, k, v: Queries, keys and values, K = L.
        key_table: Table for a relative term of the logits; the last row is distance 0.
        draw: Returns n dropout factors (B, n), shared by all heads; None for no dropout.
    """
    length = q.shape[2]
    block = max(SMALLEST_BLOCK, -(-length // MOST_BLOCKS))
    ends = [*range(block, length, block), length]
    starts = [0, *ends[:-1]]
    shapes = [(1, end - start, end) for start, end in zip(starts, ends, strict=True)]
    keeps = [None] * len(ends)
    if draw is not None:
        sizes = [math.prod(shape) for shape in shapes]
        drawn = tf.split(draw(sum(sizes)), sizes, axis=1)
        keeps = [tf.reshape(x, [-1, *shape]) for x, shape in zip(drawn, shapes, strict=True)]
    # Split and concatenated, because the gradients of indexing are slow.
    q, k, v = (tf.split(x, [shape[1] for shape in shapes], axis=2) for x in (q, k, v))
    out = []
    for i, (end, keep) in enumerate(zip(ends, keeps, strict=True)):
        logits = tf.matmul(q[i], tf.concat(k[: i + 1], axis=2), transpose_b=True)
        if key_table is not None:
            logits += relative_logits(q[i], key_table, keys=end)
        weights = _softmax(logits, causal_bias(q[i].shape[2], end), keep, v[i].dtype)
        out.append(tf.matmul(weights, tf.concat(v[: i + 1], axis=2)))
    return tf.concat(out, axis=2)


def attend_in_blocks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    block: int,
    key_table: Tensor | None = None,
    value_table: Tensor | None = None,
    keep: Tensor | None = None,
) -> Tensor:
    """Computes causal attention to the current and the previous block (Huang et al. 2018, §3.5).

    A sequence shorter than two blocks is one block. As in the original, a relative term of the
    output is added from the second block on.

    Args:
        q, k, v: Queries, keys and values, K = L.
        block: Block length in positions.
        key_table: Table of at least two blocks of rows; the last row is distance 0.
        value_table: The same for a relative term of the output.
        keep: Dropout factors of the weights, (B, 1 or H, L, two blocks), the previous block first;
            None for no dropout.
    """
    length = q.shape[2]
    if length < 2 * block:
        keep = None if keep is None else keep[..., -length:]
        return attend(q, k, v, causal_bias(length, length), key_table, keep=keep)
    padding = -length % block
    q, k, v = (tf.pad(x, [[0, 0], [0, 0], [0, padding], [0, 0]]) for x in (q, k, v))
    if keep is not None:
        keep = tf.pad(keep, [[0, 0], [0, 0], [0, padding], [0, 0]])
    head = None if keep is None else keep[:, :, :block, block:]
    q0, k0, v0 = (x[:, :, :block] for x in (q, k, v))
    first = attend(q0, k0, v0, causal_bias(block, block), key_table, keep=head)

    blocks = (length + padding) // block

    def tail(x):  # (B, H, n - 1, block, ...)
        return tf.reshape(x[:, :, block:], [-1, x.shape[1], blocks - 1, block, x.shape[3]])

    def tail_and_before(x):
        before = tf.reshape(x[:, :, :-block], [-1, x.shape[1], blocks - 1, block, x.shape[3]])
        return tf.concat([before, tail(x)], axis=3)

    q1, k1, v1 = tail(q), tail_and_before(k), tail_and_before(v)
    logits = tf.matmul(q1, k1, transpose_b=True)
    if key_table is not None:
        rows = key_table[..., -2 * block :, :]
        logits += skew(_with_rows(q1[..., : rows.shape[-1]], rows), 2 * block)
    kept = None if keep is None else tail(keep)
    weights = _softmax(logits, causal_bias(block, 2 * block), kept, v.dtype)
    out = tf.matmul(weights, v1)
    if value_table is not None:
        by_distance = unskew(weights, 2 * block)
        out += tf.matmul(
            by_distance, _broadcast_rows(by_distance, value_table[..., -2 * block :, :])
        )
    out = tf.reshape(out, [-1, v.shape[1], length + padding - block, v.shape[3]])
    return tf.concat([first, out], axis=2)[:, :, :length]


def timing_signal(positions: Tensor, channels: int) -> Tensor:
    """Returns sinusoids of a geometric series of wavelengths (Vaswani et al. 2017, §3.5).

    Sines come first, then cosines.

    Args:
        positions: Positions (L,).
        channels: Number of channels C; if it is odd, the last channel is zero.

    Returns:
        Float32 (L, C).
    """
    half = channels // 2
    step = tf.math.log(10_000.0) / max(half - 1, 1)
    rates = tf.exp(-step * tf.range(half, dtype=tf.float32))
    angles = tf.cast(positions, tf.float32)[:, None] * rates
    signal = tf.concat([tf.sin(angles), tf.cos(angles)], axis=1)
    return tf.pad(signal, [[0, 0], [0, channels % 2]])


def _with_rows(q, rows):
    """Returns the products of q (B, H, ..., L, D) with rows (H, R, D) or (R, D)."""
    return tf.matmul(q, _broadcast_rows(q, rows), transpose_b=True)


def _broadcast_rows(like, rows):
    """Broadcasts rows (H, R, D) or (R, D) to all batch axes of `like` (B, H, ..., L, D).

    `tf.matmul` must not broadcast them: oneDNN, which TensorFlow 2.21 uses on CPUs, then writes
    out of bounds (https://github.com/tensorflow/tensorflow/pull/120199).
    """
    if len(rows.shape) == 3:
        rows = tf.reshape(rows, [rows.shape[0], *[1] * (len(like.shape) - 4), *rows.shape[1:]])
    return tf.broadcast_to(rows, tf.concat([tf.shape(like)[:-2], rows.shape[-2:]], axis=0))


def _softmax(logits, bias, keep, dtype):
    logits = tf.cast(logits, tf.float32)
    weights = tf.nn.softmax(logits if bias is None else logits + bias)
    return tf.cast(weights if keep is None else weights * keep, dtype)

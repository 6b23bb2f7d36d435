"""Factored attention: over rows, columns and summaries of a sequence arranged as a table.

Jukebox (Dhariwal et al. 2020, https://arxiv.org/abs/2005.00341, appendix A.1), after the Sparse
Transformer (Child et al. 2019, https://arxiv.org/abs/1904.10509).

Shape letters: B batch, L positions, R rows, C columns (L = R C), W width, S width of queries, H
heads, D = S / H, M keys, Q new positions, T positions of a memory.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from magenta_lite.families.jukebox.config import KINDS, TransformerSizes
from magenta_lite.layers.attention import MASKED, attend, attend_causally, causal_bias
from magenta_lite.layers.base import Layer
from magenta_lite.layers.weights import linear
from magenta_lite.typing import Tensor

DEVIATION = 0.02  # standard deviation of initial kernels / `initial_scale`
SUMMARIES = ("summary", "summary_spread")
RINGS = ("row", "previous_row")  # kinds whose cache is a ring of rows
SHARED_KEYS = ("dense", "prime", *SUMMARIES)  # kinds whose queries share their keys, up to a mask


@keras.saving.register_keras_serializable("magenta_lite.jukebox")
class FactoredAttention(Layer):
    """Multi-head attention of one kind. Position p, in row p // C and column p % C, attends to:

    - `dense`: all positions up to p;
    - `row`: the positions of its row up to p;
    - `column`: the positions of its column up to p;
    - `previous_row`: the row before; in row 0 to nothing, so that the output is the bias;
    - `summary`: the last position of every row but the last one, up to p, and a zero vector;
    - `summary_spread`: as `summary` with the last `sizes.spread` positions and as many zeros;
    - `cross`: a memory;
    - `prime`: the first `visible_front` positions up to p.

    Call arguments:
        x: Float (B, L, W), L = `sizes.context_length`.
        memory: For `cross`, float (B, T, W).

    Returns:
        Float (B, L, W).
    """

    def __init__(self, sizes: TransformerSizes, kind: str, **kwargs: Any):
        # Matrix products are in the dtype of the input, the softmax is in float32.
        super().__init__(**kwargs)
        if kind not in KINDS:
            raise ValueError(f"'{kind}' is not a kind of attention; there are {', '.join(KINDS)}")
        self.sizes, self.kind = sizes, kind
        self.depth = sizes.attention_dim // sizes.num_heads
        width, inside, scale = sizes.hidden_dim, sizes.attention_dim, sizes.initial_scale
        crosses = kind == "cross"
        self.qkv = linear_weights(self, "qkv", width, inside if crosses else 3 * inside, scale)
        self.memory_kv: Any = None
        if crosses:
            self.memory_kv = linear_weights(self, "memory_kv", width, 2 * inside, scale)
        # Cross attention starts as zero: a new model ignores its lyrics.
        self.out = linear_weights(self, "out", inside, width, 0.0 if crosses else scale)

    @property
    def visible_front(self) -> int:
        """Number of positions of `prime`: the first multiple of R above `sizes.prime`."""
        sizes = self.sizes
        return min((sizes.prime // sizes.blocks + 1) * sizes.blocks, sizes.context_length)

    # All positions at once -------------------------------------------------------------------

    def call(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        q, k, v = self._projected(x, memory)
        return linear(self._attended(q, k, v), *self.out)

    def weights_of(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        """Returns the weights of `cross` and `prime`: float32 (B, H, L, M)."""
        q, k, _ = self._projected(x, memory)
        bias = None
        if self.kind == "prime":
            k, bias = self._front(k), self._shared_bias(np.arange(self.sizes.context_length))
        logits = tf.cast(tf.matmul(by_heads(q), by_heads(k), transpose_b=True), tf.float32)
        return tf.nn.softmax(logits if bias is None else logits + bias)

    def _projected(self, x, memory=None):
        """Returns scaled q, k and v: (B, L, H, D) each."""
        if self.kind == "cross":
            return self._cross_queries(x), *self._of_memory(memory)
        q, k, v = (self._heads(part) for part in tf.split(linear(x, *self.qkv), 3, axis=-1))
        return q * self.depth**-0.5, k, v

    def _cross_queries(self, x):
        return self._heads(linear(x, *self.qkv)) * self.depth**-0.5

    def _of_memory(self, memory):
        return [self._heads(x) for x in tf.split(linear(memory, *self.memory_kv), 2, axis=-1)]

    def _heads(self, x):
        return tf.reshape(x, [-1, x.shape[1], self.sizes.num_heads, self.depth])

    def _attended(self, q, k, v):
        """Returns the attention output (B, L, S) of q, k and v (B, L, H, D)."""
        sizes, kind = self.sizes, self.kind
        if kind == "dense":
            return joined(attend_causally(by_heads(q), by_heads(k), by_heads(v)))
        if kind == "cross":
            return joined(attend(by_heads(q), by_heads(k), by_heads(v)))
        if kind in SHARED_KEYS:
            of_keys = self._front if kind == "prime" else self._summaries
            bias = self._shared_bias(np.arange(sizes.context_length))
            return joined(attend(by_heads(q), by_heads(of_keys(k)), by_heads(of_keys(v)), bias))
        if kind == "column":
            q, k, v = (self._by_columns(x) for x in (q, k, v))
            out = attend(q, k, v, causal_bias(sizes.blocks, sizes.blocks))
            return self._from_columns(out)
        if kind == "previous_row":
            k, v = self._row_later(k), self._row_later(v)
        bias = causal_bias(sizes.row, sizes.row) if kind == "row" else None
        out = joined(attend(*(self._by_rows(x) for x in (q, k, v)), bias))
        return tf.reshape(out, [-1, sizes.context_length, sizes.attention_dim])

    def _by_rows(self, x):
        """Returns x (B, L, H, D) as (B R, H, C, D)."""
        return by_heads(tf.reshape(x, [-1, self.sizes.row, *x.shape[2:]]))

    def _by_columns(self, x):
        """Returns x (B, L, H, D) as (B C, H, R, D)."""
        rows, row = self.sizes.blocks, self.sizes.row
        table = tf.reshape(x, [-1, rows, row, *x.shape[2:]])
        columns = tf.transpose(table, [0, 2, 3, 1, 4])
        return tf.reshape(columns, [-1, x.shape[2], rows, x.shape[3]])

    def _from_columns(self, x):
        """Returns x (B C, H, R, D) as (B, L, S)."""
        sizes = self.sizes
        columns = tf.reshape(x, [-1, sizes.row, sizes.num_heads, sizes.blocks, x.shape[3]])
        table = tf.transpose(columns, [0, 3, 1, 2, 4])
        return tf.reshape(table, [-1, sizes.context_length, sizes.attention_dim])

    def _row_later(self, x):
        """Returns x (B, L, H, D) shifted by one row, with zeros in row 0."""
        row = self.sizes.row
        kept, _ = tf.split(x, [x.shape[1] - row, row], axis=1)
        return tf.pad(kept, [[0, 0], [row, 0], [0, 0], [0, 0]])

    def _front(self, x):
        """Returns the first `visible_front` positions of x (B, L, H, D)."""
        front = self.visible_front
        return tf.split(x, [front, x.shape[1] - front], axis=1)[0]

    @property
    def _spread(self) -> int:
        return self.sizes.spread if self.kind == "summary_spread" else 1

    def _summaries(self, x):
        """Returns zeros and then the ends of all rows of x (B, L, H, D) but the last one."""
        rows, row, spread = self.sizes.blocks, self.sizes.row, self._spread
        table = tf.reshape(x, [-1, rows, row, *x.shape[2:]])
        _, ends = tf.split(table, [row - spread, spread], axis=2)
        ends, _ = tf.split(ends, [rows - 1, 1], axis=1)
        flat = tf.reshape(ends, [-1, (rows - 1) * spread, *x.shape[2:]])
        return tf.pad(flat, [[0, 0], [spread, 0], [0, 0], [0, 0]])

    def _shared_positions(self) -> np.ndarray:
        """Returns the position of each shared key, int (M,); -1 for keys that are never masked."""
        sizes, spread = self.sizes, self._spread
        if self.kind == "dense":
            return np.arange(sizes.context_length)
        if self.kind == "prime":
            return np.arange(self.visible_front)
        ends = np.arange(sizes.context_length).reshape(sizes.blocks, -1)[:-1, sizes.row - spread :]
        return np.concatenate([np.full(spread, -1), ends.reshape(-1)])

    def _shared_bias(self, positions):
        """Returns the causal mask of shared keys for queries at `positions`: float32 (Q, M)."""
        positions = tf.convert_to_tensor(positions, tf.int32)
        keys = tf.constant(self._shared_positions(), tf.int32)
        return tf.where(keys[None] <= positions[:, None], 0.0, MASKED)

    # Decoding with a cache -------------------------------------------------------------------

    def init_cache(self, batch: Any, memory: Tensor | None = None) -> tuple:
        """Returns an empty cache of keys and values, for the positions that the kind attends to.

        Kinds that attend to rows overwrite old rows.

        Args:
            batch: Int scalar B.
            memory: For `cross`, float (B, T, W).

        Returns:
            Two float (slots, B, H, D); for `cross` (B, H, T, D).
        """
        if self.kind == "cross":
            return tuple(by_heads(x) for x in self._of_memory(memory))
        shape = [self._slots, batch, self.sizes.num_heads, self.depth]
        empty = tf.zeros(shape, self.compute_dtype)
        return empty, empty

    @property
    def longest_step(self) -> int:
        """Largest number of new positions per step."""
        return self.sizes.row if self.kind in RINGS else self.sizes.context_length

    @property
    def _slots(self) -> int:
        sizes = self.sizes
        if self.kind in RINGS:
            # A step may start in one row and end in the next.
            return sizes.row * (2 if self.kind == "row" else 3)
        if self.kind in ("prime", *SUMMARIES):
            return len(self._shared_positions()) + 1  # one for positions that are never read
        return sizes.context_length

    def _slot(self, positions):
        """Returns the slot of each position, int32 (Q,)."""
        sizes, spread = self.sizes, self._spread
        row, column = positions // sizes.row, positions % sizes.row
        unseen = self._slots - 1
        if self.kind == "column":
            return column * sizes.blocks + row
        if self.kind == "prime":
            return tf.minimum(positions, unseen)
        if self.kind in SUMMARIES:
            place = column - (sizes.row - spread)
            ends_row = (place >= 0) & (row < sizes.blocks - 1)
            return tf.where(ends_row, spread * (row + 1) + place, unseen)
        return positions % self._slots

    def step(self, x: Tensor, positions: Tensor, cache: tuple) -> tuple[Tensor, tuple]:
        """Computes the outputs at new positions, given a cache of those before.

        Args:
            x: Float (B, Q, W), Q at most `longest_step`.
            positions: Int32 (Q,), consecutive.
            cache: As of `init_cache` or the previous step.

        Returns:
            Float (B, Q, W), and the cache with the new positions.
        """
        if self.kind == "cross":
            out = joined(attend(by_heads(self._cross_queries(x)), *cache))
            return linear(out, *self.out), cache
        q, k, v = self._projected(x)
        slots = tf.expand_dims(self._slot(positions), 1)
        keys, values = cache = tuple(
            tf.tensor_scatter_nd_update(old, slots, tf.transpose(new, [1, 0, 2, 3]))
            for old, new in zip(cache, (k, v), strict=True)
        )
        if self.kind in SHARED_KEYS:
            count = len(self._shared_positions())
            k, v = (tf.transpose(c[:count], [1, 2, 0, 3]) for c in (keys, values))
            out = joined(attend(by_heads(q), k, v, self._shared_bias(positions)))
        else:
            out = self._attend_own_keys(q, keys, values, positions)
        return linear(out, *self.out), cache

    def _attend_own_keys(self, q, keys, values, positions):
        """Attends from each position to the keys of its row, previous row or column."""
        sizes, kind = self.sizes, self.kind
        row, column = positions // sizes.row, positions % sizes.row
        if kind == "column":
            which, size, seen = column, sizes.blocks, row
        elif kind == "row":
            which, size, seen = row % 2, sizes.row, column
        else:
            # Row 0 reads row 2 as the one before, which is still zero.
            which, size, seen = (row + 2) % 3, sizes.row, tf.fill([q.shape[1]], sizes.row)
        shape = [self._slots // size, size, -1, sizes.num_heads, self.depth]

        def own(cache):  # (Q, B, H, size, D)
            groups = tf.gather(tf.reshape(cache, shape), which)
            return tf.transpose(groups, [0, 2, 3, 1, 4])

        bias = tf.where(tf.range(size) <= tf.expand_dims(seen, 1), 0.0, MASKED)
        bias = tf.reshape(bias, [-1, 1, 1, 1, size])
        by_query = tf.expand_dims(tf.transpose(q, [1, 0, 2, 3]), 3)  # (Q, B, H, 1, D)
        out = tf.squeeze(attend(by_query, own(keys), own(values), bias), 3)
        out = tf.transpose(out, [1, 0, 2, 3])
        return tf.reshape(out, [-1, q.shape[1], sizes.attention_dim])


def by_heads(x: Tensor) -> Tensor:
    """Swaps the axes of positions and heads: (B, L, H, D) as (B, H, L, D), or back."""
    return tf.transpose(x, [0, 2, 1, 3])


def joined(x: Tensor) -> Tensor:
    """Returns x (B, H, L, D) as (B, L, H D)."""
    return tf.reshape(by_heads(x), [-1, x.shape[2], x.shape[1] * x.shape[3]])


def linear_weights(
    layer: keras.layers.Layer, name: str, rows: int, columns: int, scale: float
) -> tuple[keras.Variable, keras.Variable]:
    """Adds the kernel (rows, columns) and the bias of a linear map to a layer, and returns them.

    `scale` is a factor on the standard deviation of the initial kernel.
    """
    normal = keras.initializers.RandomNormal(stddev=DEVIATION * scale)
    kernel = normal if scale else "zeros"
    return (
        layer.add_weight(shape=(rows, columns), initializer=kernel, name=f"{name}_kernel"),
        layer.add_weight(shape=(columns,), initializer="zeros", name=f"{name}_bias"),
    )

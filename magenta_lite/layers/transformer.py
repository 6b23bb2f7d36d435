"""A transformer layer: self-attention, optional cross-attention to a memory, and feed-forward.

Every sublayer is residual and reads a normalized input ("pre-norm"). Shape letters: B batch, T
steps, C channels, H heads, D key depth, V value depth, K slots of a cache.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from magenta_lite.graphs import replaced_at, rolled
from magenta_lite.layers.attention import (
    BOTH_SIDES,
    MASKED,
    PAST,
    attend,
    attend_causally,
    attend_in_blocks,
    one_hot_pitches,
    with_intervals,
)
from magenta_lite.layers.base import Layer
from magenta_lite.layers.dropout import Dropout
from magenta_lite.layers.sparse_attention import attend_sparsely, visible
from magenta_lite.layers.weights import linear, norm_weights, normalize, product, quick_gelu
from magenta_lite.typing import Tensor


@dataclasses.dataclass(frozen=True)
class LayerSizes:
    """Sizes of a layer.

    Attributes:
        hidden_dim: Width C of the residual stream.
        key_dim: Total width of queries and keys over all heads.
        filter_dim: Hidden width of the feed-forward sublayer.
        num_heads: Number of heads H.
        table_rows: Rows R of the table of relative distances; 0 for no relative attention.
        shared_table: Whether all heads share one table.
        pitches: Number P of pitches of the tokens, for attention that is relative in pitch, too; 0
            for none.
        both_sides: Whether attention is bidirectional (the table then has 2R - 1 rows).
        block: Block length in positions, for attention to the current and the previous block; 0
            for attention to all positions.
        memory: Whether the layer has cross-attention to a memory.
        pattern: Sparse attention pattern of `sparse_attention`, `strided` or `fixed`; empty for
            dense attention.
        stride: Stride of the pattern.
        summary: Summary columns of the pattern `fixed`.
        biases: Whether the projections of attention have biases.
        gelu: Whether the feed-forward activation is a GELU (x * sigmoid(1.702 x)) instead of a
            ReLU.
        deviation: Standard deviation of initial kernels, times the square root of their rows; 0
            for the initialization of Glorot and Bengio (2010).
        output_scale: Factor on `deviation` for the kernels that write to the residual stream.
    """

    hidden_dim: int
    key_dim: int
    filter_dim: int
    num_heads: int
    table_rows: int = 0
    shared_table: bool = False
    pitches: int = 0
    both_sides: bool = False
    block: int = 0
    memory: bool = False
    pattern: str = ""
    stride: int = 0
    summary: int = 0
    biases: bool = False
    gelu: bool = False
    deviation: float = 0.0
    output_scale: float = 1.0


@keras.saving.register_keras_serializable("magenta_lite.layers")
class TransformerLayer(Layer):
    """A transformer layer with the weights of Vaswani et al. (2017) or of Child et al. (2019).

    Products are in the type of the input, everything else is in float32.

    Args:
        sizes: Sizes of the layer.
        number: Number of the layer, which makes its dropout independent of other layers.
    """

    def __init__(self, sizes: LayerSizes, number: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.sizes = sizes
        self.number = number
        # Set by the trainer: recompute activations in the backward pass instead of keeping them.
        self.recompute = False
        hidden = sizes.hidden_dim
        self.attention = self._attention("self")
        self.table = None
        if sizes.table_rows:
            rows = 2 * sizes.table_rows - 1 if sizes.both_sides else sizes.table_rows
            depth = sizes.key_dim // sizes.num_heads
            self.table = self.add_weight(
                shape=(rows, depth) if sizes.shared_table else (sizes.num_heads, rows, depth),
                initializer=keras.initializers.RandomNormal(stddev=depth**-0.5),
                name="relative_table",
            )
        self.intervals = None
        if sizes.pitches:
            depth = sizes.key_dim // sizes.num_heads
            self.intervals = self.add_weight(
                shape=(sizes.num_heads, 2 * sizes.pitches, depth),
                initializer=keras.initializers.RandomNormal(stddev=depth**-0.5),
                name="interval_table",
            )
        self.memory_attention: Any = self._attention("memory") if sizes.memory else None
        self.ffn_norm = norm_weights(self, "ffn_norm", hidden)
        self.filter_weights = (
            self._kernel("filter", hidden, sizes.filter_dim),
            self._bias("filter", sizes.filter_dim),
        )
        self.output_weights = (
            self._kernel("output", sizes.filter_dim, hidden, sizes.output_scale),
            self._bias("output", hidden),
        )

    def _attention(self, name: str) -> dict[str, Any]:
        sizes, hidden = self.sizes, self.sizes.hidden_dim
        columns = {"q": sizes.key_dim, "k": sizes.key_dim, "v": hidden, "out": hidden}
        weights: dict[str, Any] = {"norm": norm_weights(self, f"{name}_norm", hidden)}
        for part, size in columns.items():
            scale = sizes.output_scale if part == "out" else 1.0
            weights[part] = self._kernel(f"{name}_{part}", hidden, size, scale)
            if sizes.biases:
                weights[f"{part}_bias"] = self._bias(f"{name}_{part}", size)
        return weights

    def _kernel(self, name: str, rows: int, columns: int, scale: float = 1.0):
        initial: Any = "glorot_uniform"
        if self.sizes.deviation:
            deviation = scale * self.sizes.deviation * rows**-0.5
            initial = keras.initializers.RandomNormal(stddev=deviation)
        return self.add_weight(shape=(rows, columns), initializer=initial, name=f"{name}_kernel")

    def _bias(self, name: str, size: int):
        return self.add_weight(shape=(size,), initializer="zeros", name=f"{name}_bias")

    @property
    def key_depth(self) -> int:
        """Depth of the keys in a cache, with the pitches if attention is relative in pitch."""
        sizes = self.sizes
        return sizes.key_dim // sizes.num_heads + (sizes.pitches + 1 if sizes.pitches else 0)

    @property
    def value_depth(self) -> int:
        """Depth of the values in a cache."""
        return self.sizes.hidden_dim // self.sizes.num_heads

    # All steps at once ------------------------------------------------------------------------

    def call(
        self,
        x: Tensor,
        bias: Tensor | None = None,
        memory: Tensor | None = None,
        memory_bias: Tensor | None = None,
        dropout: Dropout | None = None,
        pitches: Tensor | None = None,
    ) -> Tensor:
        """Returns the output float (B, T, C) of the layer for all steps.

        Args:
            x: Float (B, T, C).
            bias: Added to the logits of attention, broadcasts to (B, H, T, T); None for causal
                attention.
            memory: Float (B, K, C), read by cross-attention.
            memory_bias: Added to the logits of cross-attention, (B, 1, 1, K).
            dropout: A `Dropout`; None for no dropout.
            pitches: Int32 (B, T), numbers of the pitches of tokens from 1 on, 0 for none; only for
                a layer with `sizes.pitches`.
        """
        dropout = dropout or Dropout(None, 0.0)
        place = 8 * self.number

        def all_steps(x):
            normed = normalize(x, *self.attention["norm"])
            q, k, v = self._projected(normed, self.attention, "qkv")
            if self.intervals is not None:
                q = with_intervals(q, tf.cast(self.intervals, q.dtype), pitches)
                k = one_hot_pitches(k, pitches, self.sizes.pitches)
            attended = self._attend(q, k, v, bias, dropout, place)
            x += dropout(self._joined(attended, self.attention), place + 1)
            if memory is not None:
                attended = self._attend_memory(x, memory, memory_bias, dropout, place + 2)
                x += dropout(attended, place + 3)
            inside = linear(normalize(x, *self.ffn_norm), *self.filter_weights)
            inside = dropout(self._activated(inside), place + 4)
            return x + dropout(linear(inside, *self.output_weights), place + 5)

        return tf.recompute_grad(all_steps)(x) if self.recompute else all_steps(x)

    def _activated(self, x):
        return quick_gelu(x) if self.sizes.gelu else tf.nn.relu(x)

    def _attend(self, q, k, v, bias, dropout, place):
        sizes, length = self.sizes, q.shape[2]
        table = None if self.table is None else tf.cast(self.table, q.dtype)
        # All heads share their dropout, since random numbers cost as much as the attention itself.
        if sizes.block:
            keep = dropout.factors(place, (1, length, 2 * sizes.block))
            return attend_in_blocks(q, k, v, sizes.block, table, keep=keep)
        if sizes.pattern:
            draw = dropout.at(place)
            pattern = (sizes.pattern, sizes.stride, sizes.summary)
            return attend_sparsely(q, k, v, *pattern, draw=draw)
        if bias is None:
            return attend_causally(q, k, v, table, draw=dropout.at(place))
        distances = BOTH_SIDES if sizes.both_sides else PAST
        keep = dropout.factors(place, (1, length, length))
        return attend(q, k, v, bias, table, distances=distances, keep=keep)

    def _attend_memory(self, x, memory, bias, dropout, place):
        weights = self.memory_attention
        (q,) = self._projected(normalize(x, *weights["norm"]), weights, "q")
        k, v = self.keys_values(memory, "memory_attention")
        keep = dropout.factors(place, (1, x.shape[1], memory.shape[1]))
        return self._joined(attend(q, k, v, bias, keep=keep), weights)

    def keys_values(self, x: Tensor, attention: str = "attention") -> list[Tensor]:
        """Returns keys (B, H, T, D) and values (B, H, T, V) of normalized x (B, T, C)."""
        return self._projected(x, getattr(self, attention), "kv")

    def _projected(self, x, weights, names: str):
        """Returns the projections `names`, of q (scaled), k and v, of x (B, T, C): (B, H, T, D)."""
        scale = (self.sizes.key_dim // self.sizes.num_heads) ** -0.5
        kernels = [weights[n] * scale if n == "q" else weights[n] for n in names]
        widths = [kernel.shape[1] for kernel in kernels]
        # One product is faster than one for each projection.
        together = product(x, tf.concat(kernels, axis=1))
        if self.sizes.biases:
            biases = [
                weights[f"{n}_bias"] * scale if n == "q" else weights[f"{n}_bias"] for n in names
            ]
            together += tf.cast(tf.concat(biases, axis=0), x.dtype)
        return [self._heads(part) for part in tf.split(together, widths, axis=2)]

    def _heads(self, x):
        heads = self.sizes.num_heads
        split = tf.reshape(x, [-1, x.shape[1], heads, x.shape[2] // heads])
        return tf.transpose(split, [0, 2, 1, 3])

    def _joined(self, attended, weights):
        together = tf.transpose(attended, [0, 2, 1, 3])
        flat = tf.reshape(together, [-1, together.shape[1], self.sizes.hidden_dim])
        out = product(flat, weights["out"])
        return out + tf.cast(weights["out_bias"], out.dtype) if self.sizes.biases else out

    # Incremental decoding --------------------------------------------------------------------

    def step_weights(self) -> dict[str, Any]:
        """Returns the float32 weights of a step; kernels of one product are concatenated."""
        own, memory, sizes = self.attention, self.memory_attention, self.sizes
        joined = {"qkv": tf.concat([own[n] for n in "qkv"], axis=1)}
        kept = {"out": own["out"], "filter": self.filter_weights, "output": self.output_weights}
        if sizes.biases:
            joined["qkv_bias"] = tf.concat([own[f"{n}_bias"] for n in "qkv"], axis=0)
            kept["out_bias"] = own["out_bias"]
        if self.table is not None:
            kept["table"] = self.table
        if self.intervals is not None:
            kept["intervals"] = self.intervals
        if memory is not None:
            kept |= {"memory_q": memory["q"], "memory_out": memory["out"]}
        weights = joined | tf.nest.map_structure(tf.convert_to_tensor, kept)
        if sizes.shared_table and self.table is not None:
            weights["table"] = tf.repeat(weights["table"][None], sizes.num_heads, axis=0)
        return weights

    def step(
        self,
        weights: dict[str, Any],
        x: Tensor,
        position: Tensor,
        keys: Tensor,
        values: Tensor,
        memory: tuple | None = None,
        pitches: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Computes one step, with keys and values of other positions in a ring buffer.

        Position p is in slot p % K.

        Args:
            weights: Result of `step_weights`.
            x: Float32 (B, C).
            position: Int32 scalar.
            keys: Float32 (B * H, K, D); with four axes XLA would copy them at every step.
            values: Float32 (B * H, K, V).
            memory: A pair of keys (B * H, K, D) and values of the memory, and the bias (K,) that
                masks its padding; None without a memory.
            pitches: Int32 (B,), the pitches of the tokens, as in a call.

        Returns:
            Output float32 (B, C), and keys and values with this position.
        """
        sizes, size = self.sizes, keys.shape[1]
        projected = tf.matmul(normalize(x, *self.attention["norm"]), weights["qkv"])
        projected += weights.get("qkv_bias", 0.0)
        parts = tf.split(projected, [sizes.key_dim, sizes.key_dim, sizes.hidden_dim], axis=1)
        q, k, v = (self._one_step(part) for part in parts)
        q *= (sizes.key_dim // sizes.num_heads) ** -0.5
        if pitches is not None:
            q, k = self._with_pitches(q, k, weights["intervals"], pitches)
        slot = position % size
        keys = replaced_at(keys, slot, tf.squeeze(k, 1))
        values = replaced_at(values, slot, tf.squeeze(v, 1))
        logits = tf.matmul(q, keys, transpose_b=True)
        if self.table is not None:
            logits += ring_of_distances(q, weights["table"], position, size)
        stands_at = position - (position - tf.range(size)) % size
        first = tf.maximum((position // sizes.block - 1) * sizes.block, 0) if sizes.block else 0
        seen = stands_at >= first
        if sizes.pattern:
            seen = seen & self._seen_by_heads(position, stands_at, tf.shape(q)[0])
        logits += tf.where(seen, 0.0, MASKED)
        x += self._joined_step(logits, values, weights["out"], seen)
        x += weights.get("out_bias", 0.0)
        if memory is not None:
            (keys_there, values_there), bias = memory
            normed = normalize(x, *self.memory_attention["norm"])
            q = self._one_step(tf.matmul(normed, weights["memory_q"]))
            q *= (sizes.key_dim // sizes.num_heads) ** -0.5
            logits = tf.matmul(q, keys_there, transpose_b=True) + bias
            x += self._joined_step(logits, values_there, weights["memory_out"])
        kernel, bias = weights["filter"]
        inside = self._activated(tf.matmul(normalize(x, *self.ffn_norm), kernel) + bias)
        kernel, bias = weights["output"]
        return x + tf.matmul(inside, kernel) + bias, keys, values

    def _one_step(self, x):
        """Reshapes x (B, H * D) to (B * H, 1, D)."""
        return tf.reshape(x, [-1, 1, x.shape[1] // self.sizes.num_heads])

    def _with_pitches(self, q, k, table, pitches):
        """Extends the query and the key of a step, both (B * H, 1, D), by intervals."""
        q, k = (tf.reshape(x, [-1, self.sizes.num_heads, 1, x.shape[2]]) for x in (q, k))
        q = with_intervals(q, table, pitches[:, None])
        k = one_hot_pitches(k, pitches[:, None], self.sizes.pitches)
        return (tf.reshape(x, [-1, 1, x.shape[3]]) for x in (q, k))

    def _seen_by_heads(self, position, stands_at, rows):
        """Returns which slots the heads attend to by their pattern: bool (B * H, 1, K)."""
        sizes = self.sizes
        halves = visible(sizes.pattern, sizes.stride, sizes.summary, position, stands_at)
        by_head = tf.repeat(tf.stack(halves), sizes.num_heads // 2, axis=0)
        return tf.tile(by_head[:, None], [rows // sizes.num_heads, 1, 1])

    def _joined_step(self, logits, values, kernel, seen=None):
        weights = tf.nn.softmax(logits)
        if self.sizes.pattern:
            weights *= tf.cast(tf.reduce_any(seen, axis=-1, keepdims=True), weights.dtype)
        attended = tf.matmul(weights, values)
        return tf.matmul(tf.reshape(attended, [-1, self.sizes.hidden_dim]), kernel)


def prefilled(
    layers: Sequence[TransformerLayer],
    x: Tensor,
    memory: Tensor | None = None,
    memory_bias: Tensor | None = None,
    pitches: Tensor | None = None,
) -> list[tuple[Tensor, Tensor]]:
    """Returns keys (B, H, T, D) and values (B, H, T, V) of each layer of a causal stack.

    x, float (B, T, C), is the input of the first layer; the memory and the pitches are those of the
    layers' call.
    """
    x, pairs = tf.cast(x, layers[0].compute_dtype), []
    for layer in layers:
        keys, values = layer.keys_values(normalize(x, *layer.attention["norm"]))
        if pitches is not None:
            keys = one_hot_pitches(keys, pitches, layer.sizes.pitches)
        pairs.append((keys, values))
        x = layer(x, None, memory, memory_bias, pitches=pitches)
    return pairs


def step(
    layers: Sequence[TransformerLayer],
    weights: Sequence[dict[str, Any]],
    x: Tensor,
    position: Tensor,
    keys: Sequence[Tensor],
    values: Sequence[Tensor],
    memories: Sequence[tuple] | None = None,
    pitches: Tensor | None = None,
) -> tuple[Tensor, tuple, tuple]:
    """Computes one step of a stack; weights, caches and memories are those of each layer.

    `pitches` are those of `TransformerLayer.step`.

    Returns:
        As `TransformerLayer.step`, with keys and values of each layer.
    """
    new = []
    for i, layer in enumerate(layers):
        memory = memories[i] if memories else None
        x, *pair = layer.step(weights[i], x, position, keys[i], values[i], memory, pitches)
        new.append(pair)
    new_keys, new_values = zip(*new, strict=True)
    return x, new_keys, new_values


def ring_of_distances(q: Tensor, table: Tensor, position: Tensor, size: int) -> Tensor:
    """Returns the relative term of the logits of one position.

    Args:
        q: Float (B * H, 1, D), the query at `position`, of whose depth the first D count.
        table: Float (H, R, D); the last row is distance 0.
        position: Int32 scalar.
        size: Number of slots K; position p is in slot p % K.

    Returns:
        Float (B * H, 1, K).
    """
    heads, rows, depth = table.shape
    by_head = tf.reshape(q[..., :depth], [-1, heads, depth])
    products = tf.einsum("bhd,hrd->bhr", by_head, table[:, max(rows - size, 0) :])
    by_distance = tf.pad(products, [[0, 0], [0, 0], [max(size - rows, 0), 0]])
    # Column m is distance K - 1 - m, and slot s is (position - s) % K away.
    by_slot = rolled(by_distance, (position + 1) % size)
    return tf.reshape(by_slot, [-1, 1, size])

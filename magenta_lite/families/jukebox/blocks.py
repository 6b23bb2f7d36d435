"""Blocks of factored attention, and the transformer over tokens.

Shape letters: B batch, L tokens, Q new tokens, W width, V vocabulary, T positions of a memory.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from magenta_lite.families.jukebox.config import TransformerSizes
from magenta_lite.families.jukebox.factored_attention import (
    DEVIATION,
    FactoredAttention,
    linear_weights,
)
from magenta_lite.layers.base import Layer
from magenta_lite.layers.weights import (
    embedding_table,
    linear,
    norm_weights,
    normalize,
    quick_gelu,
)
from magenta_lite.typing import Tensor

NORM_EPSILON = 1e-5
POSITION_DEVIATION = 0.01  # initial standard deviation of position embeddings / `initial_scale`


@keras.saving.register_keras_serializable("magenta_lite.jukebox")
class FactoredBlock(Layer):
    """A pre-normalised residual block of `FactoredAttention` of a kind and a feed-forward layer.

    Call arguments:
        x: Float (B, L, W).
        memory: For the kind `cross`, float (B, T, W).

    Returns:
        Float (B, L, W).
    """

    def __init__(self, sizes: TransformerSizes, kind: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.sizes, self.kind = sizes, kind
        # Set by training: recompute activations for the gradient to save memory.
        self.recompute = False
        width, inside, scale = sizes.hidden_dim, sizes.filter_dim, sizes.initial_scale
        self.attention_norm = norm_weights(self, "attention_norm", width)
        with keras.name_scope(self.name):
            self.attention = FactoredAttention(
                sizes, kind, name="attention", dtype=self.dtype_policy
            )
        self.feed_forward_norm = norm_weights(self, "feed_forward_norm", width)
        self.enter = linear_weights(self, "enter", width, inside, scale)
        self.leave = linear_weights(self, "leave", inside, width, 0.0 if kind == "cross" else scale)

    def call(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        def all_tokens(x, *memory):
            return self._added(x, self.attention(_norm(x, self.attention_norm), *memory))

        inputs = (x,) if memory is None else (x, memory)
        return tf.recompute_grad(all_tokens)(*inputs) if self.recompute else all_tokens(*inputs)

    def _added(self, x, attended):
        inside = linear(_norm(x + attended, self.feed_forward_norm), *self.enter)
        more = linear(quick_gelu(inside), *self.leave)
        scale = 1 / self.sizes.num_layers if self.sizes.residual_scale else 1.0
        return x + scale * (attended + more)

    def step(self, x: Tensor, positions: Tensor, cache: tuple) -> tuple[Tensor, tuple]:
        """Returns the outputs of new tokens, and the cache; see `FactoredAttention.step`."""
        attended, cache = self.attention.step(_norm(x, self.attention_norm), positions, cache)
        return self._added(x, attended), cache


@keras.saving.register_keras_serializable("magenta_lite.jukebox")
class TokenTransformer(Layer):
    """A causal transformer over tokens: the output at a position depends on the tokens before it.

    A start vector stands before the first token. There is no final layer normalisation.

    Args:
        sizes: Sizes.
        own_start: Whether the start vector is a weight; otherwise it is an input.
        readout: Output matrix of `logits`. `tied`: the token embeddings, applied to the sum of the
            last layer's output and the condition; `own`: a separate weight; empty: none.

    Call arguments:
        ids: Int32 (B, L), L = `sizes.context_length`.
        start: Float (B, 1, W); None with `own_start`.
        condition: Float (B, L, W), added to the embeddings; None for none.
        memory: Float (B, T, W), for layers of cross attention.

    Returns:
        Float (B, L, W), the output of the last layer.
    """

    def __init__(
        self,
        sizes: TransformerSizes,
        own_start: bool,
        readout: str = "tied",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.sizes, self.own_start, self.readout = sizes, own_start, readout
        width, deviation = sizes.hidden_dim, DEVIATION * sizes.initial_scale
        self.embedding = embedding_table(self, "embedding", sizes.vocabulary, width, deviation)
        deviation = POSITION_DEVIATION * sizes.initial_scale
        self.positions = embedding_table(self, "positions", sizes.context_length, width, deviation)
        self.start = embedding_table(self, "start", 1, width, deviation) if own_start else None
        self.output_matrix = None
        if readout == "own":
            uniform = keras.initializers.RandomUniform(-(width**-0.5), width**-0.5)
            self.output_matrix = self.add_weight(
                shape=(sizes.vocabulary, width), initializer=uniform, name="output_matrix"
            )
        with keras.name_scope(self.name):
            self.layers = [
                FactoredBlock(sizes, kind, name=f"layer_{i}", dtype=self.dtype_policy)
                for i, kind in enumerate(sizes.kinds)
            ]

    def call(
        self,
        ids: Tensor,
        start: Tensor | None = None,
        condition: Tensor | None = None,
        memory: Tensor | None = None,
    ) -> Tensor:
        return self._below(len(self.layers), ids, start, condition, memory)

    def _below(self, number, ids, start, condition, memory):
        """Returns the input of layer `number`, float (B, L, W)."""
        before, _ = tf.split(self._embedded(ids), [self.sizes.context_length - 1, 1], axis=1)
        x = tf.concat([self._started(start, tf.shape(ids)[0]), before], axis=1) + self.positions
        x = tf.cast(x, self.compute_dtype)
        if condition is not None:
            x += tf.cast(condition, x.dtype)
        for layer in self.layers[:number]:
            x = layer(x, memory) if layer.kind == "cross" else layer(x)
        return x

    def _embedded(self, ids):
        """Returns the token embeddings, (B, L, W)."""
        return tf.gather(self.embedding, ids)

    def _started(self, start, batch):
        """Returns the start vector of each row, (B, 1, W)."""
        if self.own_start:
            return tf.repeat(tf.convert_to_tensor(self.start)[None], batch, axis=0)
        return tf.cast(start, tf.convert_to_tensor(self.embedding).dtype)

    def logits(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Returns float32 logits (B, L, V) for outputs x (B, L, W) of the last layer."""
        x = tf.cast(x, tf.float32)
        if self.readout == "tied" and condition is not None:
            x += tf.cast(condition, tf.float32)
        matrix = self.embedding if self.readout == "tied" else self.output_matrix
        return unembedded(x, matrix)

    def weights_at(
        self,
        number: int,
        ids: Tensor,
        start: Tensor | None = None,
        condition: Tensor | None = None,
        memory: Tensor | None = None,
    ) -> Tensor:
        """Returns the attention weights of layer `number`: float32 (B, H, L, M)."""
        x = self._below(number, ids, start, condition, memory)
        layer = self.layers[number]
        return layer.attention.weights_of(_norm(x, layer.attention_norm), memory)

    # Decoding with a cache -------------------------------------------------------------------

    @property
    def longest_step(self) -> int:
        """Largest number of new tokens per step."""
        return min(layer.attention.longest_step for layer in self.layers)

    def init_cache(self, batch: Any, memory: Tensor | None = None) -> tuple:
        """Returns the empty cache of each layer, for B rows; see `FactoredAttention`."""
        return tuple(layer.attention.init_cache(batch, memory) for layer in self.layers)

    def step(
        self,
        ids: Tensor,
        first: Tensor,
        count: int,
        cache: tuple,
        start: Tensor | None = None,
        condition: Tensor | None = None,
    ) -> tuple[Tensor, tuple]:
        """Computes the outputs at new positions from `first` on, given a cache of those before.

        Args:
            ids: Int32 (B, L); tokens `first - 1` to `first + count - 2` are read.
            first: Int32 scalar.
            count: Number of new tokens Q, at most `longest_step`.
            cache: As of `init_cache` or the previous step.
            start: As of the call.
            condition: As of the call, for all L tokens.

        Returns:
            Float (B, Q, W), and the cache with the new tokens.
        """
        positions = first + tf.range(count)
        before = tf.gather(ids, tf.maximum(positions - 1, 0), axis=1)
        x = tf.where(
            (positions > 0)[None, :, None],
            self._embedded(before),
            self._started(start, tf.shape(ids)[0]),
        )
        x = tf.cast(x + tf.gather(self.positions, positions), self.compute_dtype)
        if condition is not None:
            x += tf.cast(tf.gather(condition, positions, axis=1), x.dtype)
        # The layers need a static length.
        x = tf.ensure_shape(x, [None, count, self.sizes.hidden_dim])
        new = []
        for layer, of_layer in zip(self.layers, cache, strict=True):
            x, of_layer = layer.step(x, positions, of_layer)
            new.append(of_layer)
        return x, tuple(new)


def unembedded(x: Tensor, matrix: Tensor) -> Tensor:
    """Returns float32 products (B, L, V) of x (B, L, W) with the rows of a matrix (V, W)."""
    flat = tf.reshape(tf.cast(x, tf.float32), [-1, x.shape[-1]])
    products = tf.matmul(flat, tf.cast(matrix, tf.float32), transpose_b=True)
    return tf.reshape(products, [-1, x.shape[1], matrix.shape[0]])


def _norm(x, weights):
    return normalize(x, *weights, epsilon=NORM_EPSILON)

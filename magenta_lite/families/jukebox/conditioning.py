"""Conditioning of a prior: labels, time, lyrics, or the codes of the level above.

Jukebox (Dhariwal et al. 2020, https://arxiv.org/abs/2005.00341, §4.1 to §4.4).

Shape letters: B batch, L context length in codes, W width, T characters of lyrics, G genres.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from magenta_lite.families.jukebox.blocks import (
    NORM_EPSILON,
    POSITION_DEVIATION,
    TokenTransformer,
    unembedded,
)
from magenta_lite.families.jukebox.config import JukeboxPriorConfig
from magenta_lite.families.jukebox.factored_attention import DEVIATION, linear_weights
from magenta_lite.families.vqvae.convolutions import convolution
from magenta_lite.layers.base import Layer
from magenta_lite.layers.weights import embedding_table, linear, norm_weights, normalize
from magenta_lite.typing import Tensor


@keras.saving.register_keras_serializable("magenta_lite.jukebox")
class LabelEmbedding(Layer):
    """Embeds artist, genres, and the position of a context in its piece.

    Call arguments:
        labels: Int32 (B, `config.label_size`): length of the piece, offset and length of the
            context in samples, artist, genres (-1 for none), lyrics.

    Returns:
        The start vector, float (B, 1, W), and the embedding of time at each code, float (B, L, W),
        None for a model without time.
    """

    def __init__(self, config: JukeboxPriorConfig, **kwargs: Any):
        super().__init__(**kwargs)
        self.config, deviation = config, POSITION_DEVIATION * config.initial_scale
        rows = {"artists": config.artists, "genres": config.genres}
        if config.time_bins:
            rows |= {f"{name}_time": config.time_bins for name in ("total", "absolute", "relative")}
        self.tables = {
            name: embedding_table(self, name, count, config.width, deviation)
            for name, count in rows.items()
        }

    def call(self, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        fixed, genres, _ = tf.split(
            labels, [4, self.config.max_genres, self.config.lyric_tokens], axis=1
        )
        there = tf.cast(genres >= 0, tf.float32)[..., None]
        by_genre = tf.gather(self.tables["genres"], tf.maximum(genres, 0))
        by_genre = tf.reduce_sum(by_genre * tf.cast(there, by_genre.dtype), axis=1)
        start = tf.gather(self.tables["artists"], fixed[:, 3]) + by_genre
        return start[:, None], self._time(fixed) if self.config.time_bins else None

    def _time(self, fixed):
        bins = time_bins(self.config, fixed).items()
        return sum(tf.gather(self.tables[f"{name}_time"], places) for name, places in bins)


def time_bins(config: JukeboxPriorConfig, labels: Tensor) -> dict:
    """Returns the time bins of the codes of a context.

    Computed in float32 as in the original, because its rounding decides on the bins at borders.
    `labels`, int32 (B, 3 or more), begin with the length of the piece, and offset and length of the
    context, in samples.

    Returns:
        Int32: `total` (B, 1), for the length of the piece; `absolute` (B, L), for the time since
        its start; and `relative` (B, L), for that time as a share of the length.
    """
    total, offset, length = (tf.cast(labels[:, i : i + 1], tf.float32) for i in range(3))
    shortest = config.min_duration * config.sample_rate
    longest = config.max_duration * config.sample_rate
    end = offset + length
    share, share_end = offset / total, tf.minimum(end / total, 1.0)
    passed = tf.range(config.context, dtype=tf.float32) / config.context

    def bins(position, low, high):
        scaled = (position - low) / (high - low)
        return tf.cast(tf.floor(config.time_bins * scaled), tf.int32)

    return {
        "total": bins(total, shortest, longest),
        "absolute": bins(offset + (end - offset) * passed, 0.0, longest),
        "relative": bins(share + (share_end - share) * passed, 0.0, 1.0),
    }


@keras.saving.register_keras_serializable("magenta_lite.jukebox")
class LyricEncoder(Layer):
    """Encodes lyrics, int32 (B, T), as the memory for cross attention, float (B, T, W).

    It is also trained to predict them.
    """

    def __init__(self, config: JukeboxPriorConfig, **kwargs: Any):
        super().__init__(**kwargs)
        self.config, sizes, width = config, config.lyric_encoder, config.width
        with keras.name_scope(self.name):
            self.reader = TokenTransformer(
                sizes, own_start=True, readout="", name="reader", dtype=self.dtype_policy
            )
        self.projection = linear_weights(
            self, "projection", sizes.hidden_dim, width, sizes.initial_scale
        )
        self.norm = norm_weights(self, "norm", width)
        rows, deviation = sizes.vocabulary, DEVIATION * config.initial_scale
        self.output_matrix = embedding_table(self, "output_matrix", rows, width, deviation)

    def call(self, lyrics: Tensor) -> Tensor:
        x = linear(self.reader(lyrics), *self.projection)
        return normalize(x, *self.norm, epsilon=NORM_EPSILON)

    def logits(self, states: Any) -> Tensor:
        """Returns float32 logits (B, T, V) of the characters for outputs of the call."""
        return unembedded(states, self.output_matrix)


@keras.saving.register_keras_serializable("magenta_lite.jukebox")
class CodeConditioner(Layer):
    """Upsamples the codes of the level above to the rate of the codes that are predicted.

    Maps int32 (B, L / `config.above_ratio`) to float (B, L, W).
    """

    def __init__(self, config: JukeboxPriorConfig, **kwargs: Any):
        super().__init__(**kwargs)
        # Set by training: recompute residual blocks for the gradient to save memory.
        self.recompute = False
        self.config = config
        wide, inside, stride = config.width, config.conditioner_width, config.conditioner_stride
        deviation = DEVIATION * config.initial_scale
        self.embedding = embedding_table(self, "embedding", config.codes, wide, deviation)
        self.enter = convolution(self, "enter", wide, inside, 3)
        self.residuals, self.lengthen = [], []
        for s in range(config.conditioner_stages):
            self.residuals.append(
                [
                    (
                        convolution(self, f"dilated_{s}_{i}", inside, inside, 3, dilation=dilation),
                        convolution(self, f"mixing_{s}_{i}", inside, inside, 1),
                    )
                    for i, dilation in enumerate(config.conditioner_dilations)
                ]
            )
            outputs = wide if s == config.conditioner_stages - 1 else inside
            self.lengthen.append(
                convolution(
                    self, f"lengthen_{s}", inside, outputs, 2 * stride, stride, transposed=True
                )
            )
        self.norm = norm_weights(self, "norm", wide)

    def call(self, above: Tensor) -> Tensor:
        x = self.enter(tf.cast(tf.gather(self.embedding, above), self.compute_dtype))
        for residuals, lengthen in zip(self.residuals, self.lengthen, strict=True):
            for dilated, mixing in residuals:
                x = self._residual(x, dilated, mixing)
            x = lengthen(x)
        return normalize(x, *self.norm, epsilon=NORM_EPSILON)

    def _residual(self, x, dilated, mixing):
        config = self.config
        scale = config.conditioner_depth**-0.5 if config.conditioner_residual_scale else 1.0

        def block(x):
            return x + scale * mixing(tf.nn.relu(dilated(tf.nn.relu(x))))

        return tf.recompute_grad(block)(x) if self.recompute else block(x)

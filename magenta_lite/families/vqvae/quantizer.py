"""The (residual) quantizer between an encoder and a decoder.

Shape letters: B batch, S steps, E code width, N quantizers of a level.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from magenta_lite.families.vqvae.codebook import Choice, Codebook, Statistics
from magenta_lite.families.vqvae.config import VQVAEConfig
from magenta_lite.layers.base import Layer
from magenta_lite.layers.random_numbers import at_place, normals, uniforms
from magenta_lite.typing import Tensor


class Quantized(NamedTuple):
    """The output of a `Quantizer`.

    Attributes:
        vectors: Float32 (B, S, E), for the decoder, with a straight-through gradient.
        codes: Int32 (B, S); (B, S, N) of several quantizers.
        commitment: Commitment loss, the mean squared distance of x from its code vectors; a scalar.
        statistics: `Statistics`, the mean over all quantizers.
    """

    vectors: Any
    codes: Any
    commitment: Any
    statistics: Statistics


@keras.saving.register_keras_serializable("magenta_lite.vqvae")
class Quantizer(Layer):
    """The quantizer of a level: one codebook, or a residual quantizer of several.

    Residual quantization and its dropout are those of SoundStream (Zeghidour et al. 2021,
    https://arxiv.org/abs/2107.03312, §III-C). Normalised low-dimensional codes are those of Yu et
    al. (2021, https://arxiv.org/abs/2110.04627, §3.2), here learned by moving averages.

    Call arguments:
        x: Float (B, S, E).
        training: Whether to update the codebooks.
        choices: For each quantizer the `choices` of its `Codebook`; in training.
        kept: Int32 (B,), number of quantizers used for each example; None for all.

    Returns:
        A `Quantized`.
    """

    def __init__(self, config: VQVAEConfig, dtype: Any = "float32", **kwargs: Any):
        super().__init__(dtype=dtype, **kwargs)
        self.config, width = config, config.codebook_width
        with keras.name_scope(self.name):
            self.codebooks = [
                Codebook(
                    config.codes,
                    width,
                    config.codebook_decay,
                    config.revival_threshold,
                    config.reset_restarted,
                    config.k_means_steps,
                    unit_length=config.factorized_width > 0,
                    name=f"codebook_{i}",
                )
                for i in range(config.quantizers)
            ]
            self.enter = self.leave = None
            if config.factorized_width:
                self.enter = self._projection(config.code_width, width, "enter")
                self.leave = self._projection(width, config.code_width, "leave")

    def _projection(self, inputs: int, outputs: int, name: str):
        layer = keras.layers.Dense(outputs, name=name, dtype=self.dtype_policy)
        layer.build((None, None, inputs))
        return layer

    def call(
        self,
        x: Tensor,
        training: bool = False,
        choices: Sequence[tuple[Choice, Choice]] | None = None,
        kept: Tensor | None = None,
    ) -> Quantized:
        if self.enter:
            x = tf.math.l2_normalize(self.enter(x), axis=2)
        quantized, residual, commitment = tf.zeros_like(x), x, 0.0
        codes, statistics = [], []
        for i, codebook in enumerate(self.codebooks):
            counted = None if kept is None else tf.cast(kept > i, tf.float32)
            coded = codebook(
                residual, training=training, choices=choices and choices[i], counted=counted
            )
            squares = tf.square(residual - tf.stop_gradient(coded.vectors))
            vectors = coded.vectors
            if counted is not None:
                squares *= counted[:, None, None]
                vectors *= counted[:, None, None]
            commitment += tf.reduce_mean(squares) / len(self.codebooks)
            quantized, residual = quantized + vectors, residual - tf.stop_gradient(vectors)
            codes.append(coded.codes)
            statistics.append(coded.statistics)
        # One straight-through estimator around the sum.
        vectors = x + tf.stop_gradient(quantized - x)
        return Quantized(
            self.leave(vectors) if self.leave else vectors,
            codes[0] if len(codes) == 1 else tf.stack(codes, axis=2),
            commitment,
            Statistics(*(sum(values) / len(values) for values in zip(*statistics, strict=True))),
        )

    def look_up(self, codes: Tensor) -> Tensor:
        """Returns the vectors float32 (B, S, E) of codes, for the decoder.

        Args:
            codes: Int (B, S); of several quantizers (B, S, n) with the first n of N.
        """
        if len(self.codebooks) == 1:
            vectors = self.codebooks[0].look_up(codes)
        else:
            each = zip(self.codebooks, tf.unstack(codes, axis=2), strict=False)
            vectors = sum(codebook.look_up(rows) for codebook, rows in each)
        return self.leave(vectors) if self.leave else vectors

    def draw_choices(
        self, x_shape: Sequence[int], seeds: Tensor, place: int
    ) -> list[tuple[Choice, Choice]]:
        """Returns the `choices` of a training call, drawn with the seeds of the examples.

        Args:
            x_shape: (B, S, E), static.
            seeds: Int32 (B, 2).
            place: A different number for each `Quantizer` of a model.
        """
        steps, width = x_shape[1], self.config.codebook_width
        copies = self.codebooks[0].copies(x_shape)
        orders = 2 * len(self.codebooks)
        rows = orders * copies * steps

        order = uniforms(at_place(seeds, 2 * place), (rows,))
        order = tf.split(order, orders, axis=1)
        noise = [None] * orders
        if copies > 1:
            noise = normals(at_place(seeds, 2 * place + 1), (rows, width))
            noise = tf.split(noise, orders, axis=1)
        pairs = [Choice(*pair) for pair in zip(order, noise, strict=True)]
        return list(zip(pairs[::2], pairs[1::2], strict=True))

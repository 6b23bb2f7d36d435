"""Velocities and offsets of the hits of a groove, from all of its hits."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from magenta_lite.families.music_vae.encoders import near_zero_dense
from magenta_lite.layers.base import Layer
from magenta_lite.layers.dropout import Dropout
from magenta_lite.layers.lstm import LSTM
from magenta_lite.typing import Tensor


@keras.saving.register_keras_serializable("magenta_lite.music_vae")
class Expression(Layer):
    """A bidirectional LSTM from the hits of a groove to their velocities and offsets.

    At every step it reads the hits, and a code of the latent vector, which is small at first, as
    the noise of the latent vector would disturb the training.

    Shape letters: T steps, B grooves, D drum classes, Z latent size.

    Args:
        units: LSTM units per direction.
        head: A `GrooveHead` with `at_hits`.
        latent_size: Size Z of the latent vector.
    """

    def __init__(self, units: int, head: Any, latent_size: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.units, self.head = units, head
        self.latent_size = latent_size
        with keras.name_scope(self.name):
            self.code = near_zero_dense("code", latent_size, units, "tanh")
            self.directions = [
                LSTM(units, head.size, units, name=name, dtype=self.dtype_policy)
                for name in ("forward", "backward")
            ]
            self.output_projection = keras.layers.Dense(
                2 * head.size, name="output_projection", dtype=self.dtype_policy
            )
            self.output_projection.build((None, 2 * units))

    def call(
        self, events: Tensor, logits: Tensor, z: Tensor, dropout: Dropout | None = None
    ) -> Tensor:
        """Computes the parameters of the head.

        Args:
            events: Float (T, B, 3 * D), of which the hits are read.
            logits: Float32 (T, B, D), the logits of hits.
            z: Float (B, Z).
            dropout: Of the outputs of the LSTM; None for no dropout.

        Returns:
            Float32 (T, B, 3 * D): `logits`, logits of velocities, and offsets before tanh.
        """
        hits, code = events[..., : self.head.size], self.code(z)
        forward, backward = self.directions
        x = [forward(hits, code), tf.reverse(backward(tf.reverse(hits, [0]), code), [0])]
        x = tf.concat(x, axis=-1)
        if dropout:
            x = dropout(x, self.name, axis=1)
        return tf.concat([logits, tf.cast(self.output_projection(x), tf.float32)], axis=-1)

    def complete(self, events: Tensor, logits: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Returns grooves with the hits of `events`, and parameters: float32 (T, B, 3 * D) each.

        The arguments are those of the call.
        """
        parameters = self(events, logits, z)
        return self.head.with_hits(parameters, events[..., : self.head.size]), parameters

"""The LSTMs of decoders: over the events of a segment, and over the codes of segments."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from magenta_lite.families.music_vae.encoders import near_zero_dense
from magenta_lite.layers.base import Layer
from magenta_lite.layers.dropout import Dropout
from magenta_lite.layers.lstm import LSTM, lstm_cell
from magenta_lite.typing import Tensor


def _initial_state_layer(units, latent_size: int) -> keras.layers.Dense:
    """Returns the tanh layer from a latent vector to the initial states of all LSTM layers."""
    return near_zero_dense("initial_state", latent_size, 2 * sum(units), "tanh")


def _split_states(values, units):
    """Returns [(h, c), …] of (..., U), one pair per layer, from (..., 2 * sum(units))."""
    parts = tf.split(values, [n for n in units for _ in range(2)], axis=-1)  # c0, h0, c1, h1, …
    return list(zip(parts[1::2], parts[::2], strict=True))


@keras.saving.register_keras_serializable("magenta_lite.music_vae")
class LSTMDecoder(Layer):
    """Stacked LSTM over the previous event and a code at every step.

    A tanh layer maps the code to the initial states of all layers.

    Shape letters: L steps, B sequences, K size of the code, C of the controls, P parameters.

    Args:
        units: LSTM units of each layer.
        head: Output head of the events, see `heads`.
        code_size: Size K of the code.
        control_size: Size C of the controls.
    """

    def __init__(
        self,
        units: tuple[int, ...],
        head: Any,
        code_size: int,
        control_size: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = tuple(units)
        self.head = head
        self.code_size = code_size
        self.control_size = control_size
        with keras.name_scope(self.name):
            self.initial_state = _initial_state_layer(self.units, code_size)
            sizes = [head.vector_size + control_size, *self.units[:-1]]
            self.layers = [
                LSTM(n, size, 0 if i else code_size, name=f"lstm_{i}", dtype=self.dtype_policy)
                for i, (n, size) in enumerate(zip(self.units, sizes, strict=True))
            ]
            self.output_projection = keras.layers.Dense(
                head.parameter_size, name="output_projection", dtype=self.dtype_policy
            )
            self.output_projection.build((None, self.units[-1]))

    def initial_states(self, code: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Returns [(h, c), …] of float32 (..., U), one pair per layer, from code (..., K)."""
        return _split_states(self.initial_state(code), self.units)

    def call(
        self,
        previous: Tensor,
        code: Tensor,
        controls: Tensor | None = None,
        dropout: Dropout | None = None,
    ) -> Tensor:
        """Computes all steps with teacher forcing.

        Args:
            previous: (L, B, *event_shape), the event before each step.
            code: Float (B, K).
            controls: Float (L, B, C), or None.
            dropout: Of the inputs of every layer; None for no dropout.

        Returns:
            Float32 (L, B, P).
        """
        x = self.head.vector(previous, self.compute_dtype)
        if controls is not None:
            x = tf.concat([x, tf.cast(controls, x.dtype)], axis=-1)
        for i, (layer, state) in enumerate(
            zip(self.layers, self.initial_states(code), strict=True)
        ):
            constant = code if i == 0 else None
            if dropout:
                if i == 0:  # each step has its own mask of the code
                    repeated = tf.repeat(tf.cast(code, x.dtype)[None], x.shape[0], axis=0)
                    x, constant = tf.concat([x, repeated], axis=-1), None
                x = dropout(x, f"{self.name}_{i}", axis=1)
            x = layer(x, constant=constant, state=state)
        return tf.cast(self.output_projection(x), tf.float32)

    def stepper(self, codes: Tensor) -> tuple[Any, list[Tensor]]:
        """Returns the inputs of `prepare` in float32, for codes float (S, B, K) of S segments.

        Returns:
            Initial states [(h, c), …] of (S, B, U), and a list of tensors.
        """
        weights = [layer.weights_as(tf.float32) for layer in self.layers]
        output = [tf.convert_to_tensor(weight) for weight in self.output_projection.weights]
        return self.initial_states(codes), [weights, output, codes]

    def prepare(self, tensors: list[Tensor]) -> Any:
        """Returns the weights for `step`, with the products that are the same at every step."""
        weights, output, codes = tensors
        (kernel, recurrent, bias), *rest = weights
        events, controls, code = tf.split(
            kernel, [self.head.vector_size, self.control_size, self.code_size], axis=0
        )
        every_step = tf.tensordot(codes, code, axes=1) + bias  # (S, B, 4U)
        # One kernel for the concatenation of a layer's input and its last output.
        joined = [(tf.concat([k, r], axis=0), b) for k, r, b in rest]
        return events, controls, recurrent, every_step, joined, output

    def step(
        self, prepared: Any, segment: Tensor, previous: Tensor, states: Any, controls: Any
    ) -> tuple[Tensor, Any]:
        """Computes one step.

        Args:
            prepared: Result of `prepare`.
            segment: Int scalar, index of the code.
            previous: (B, *event_shape).
            states: [(h, c), …].
            controls: Float (B, C), or None.

        Returns:
            Parameters float32 (B, P) and new states.
        """
        events, control_kernel, recurrent, every_step, joined, (kernel, bias) = prepared
        h, c = states[0]
        gates = self.head.project(previous, events) + every_step[segment] + tf.matmul(h, recurrent)
        if controls is not None:
            gates += tf.matmul(controls, control_kernel)
        new_states = [lstm_cell(gates, c)]
        for (matrix, layer_bias), (h, c) in zip(joined, states[1:], strict=True):
            below = new_states[-1][0]
            gates = tf.matmul(tf.concat([below, h], axis=-1), matrix) + layer_bias
            new_states.append(lstm_cell(gates, c))
        return tf.matmul(new_states[-1][0], kernel) + bias, new_states


@keras.saving.register_keras_serializable("magenta_lite.music_vae")
class Conductor(Layer):
    """Stacked LSTM without inputs, from a latent vector to a code for each segment.

    Args:
        units: LSTM units of each layer.
        steps: Number of segments S.
        latent_size: Size Z of the latent vector.
    """

    def __init__(self, units: tuple[int, ...], steps: int, latent_size: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = tuple(units)
        self.steps = steps
        self.latent_size = latent_size
        with keras.name_scope(self.name):
            self.initial_state = _initial_state_layer(self.units, latent_size)
            # The original feeds a zero, so there is one row of weights that nothing ever reads.
            sizes = [1, *self.units[:-1]]
            self.layers = [
                LSTM(n, size, name=f"lstm_{i}", dtype=self.dtype_policy)
                for i, (n, size) in enumerate(zip(self.units, sizes, strict=True))
            ]

    def call(self, z: Tensor) -> Tensor:
        """Returns codes float32 (S, B, units[-1]) of z float (B, Z)."""
        x = tf.zeros([self.steps, tf.shape(z)[0], 1])
        states = _split_states(self.initial_state(z), self.units)
        for layer, state in zip(self.layers, states, strict=True):
            x = layer(x, state=state)
        return tf.cast(x, tf.float32)

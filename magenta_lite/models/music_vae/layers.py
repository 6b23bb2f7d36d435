"""Encoder and decoder of the flat MusicVAE."""

from __future__ import annotations

import functools

import keras
import tensorflow as tf

from magenta_lite.layers.lstm import LSTM, lstm_cell


@keras.saving.register_keras_serializable("magenta_lite")
class BidirectionalEncoder(keras.layers.Layer):
    """Stacked bidirectional LSTM; gives the last layer's final outputs of both directions.

    Args:
        units: LSTM units of each layer, per direction.
        input_size: Input channels C.

    Call arguments:
        x: Float (T, B, C), time-major.
        length: Int32 (B,), how many steps of each example count. The backward direction starts
            at the last of them.

    Returns:
        Float (B, 2 * units[-1]): forward output after the last step, backward output after the
        first. Zeros where `length` is 0.
    """

    def __init__(self, units: tuple[int, ...], input_size: int, **kwargs):
        super().__init__(**kwargs)
        self.units = tuple(units)
        self.input_size = input_size
        sizes = [input_size, *(2 * n for n in self.units[:-1])]
        self.forward_layers = [
            LSTM(n, size, name=f"forward_{i}")
            for i, (n, size) in enumerate(zip(self.units, sizes, strict=True))
        ]
        self.backward_layers = [
            LSTM(n, size, name=f"backward_{i}")
            for i, (n, size) in enumerate(zip(self.units, sizes, strict=True))
        ]
        self.built = True

    def call(self, x, length):
        for forward_layer, backward_layer in zip(
            self.forward_layers, self.backward_layers, strict=True
        ):
            forward = forward_layer(x)
            backward = backward_layer(_reverse(x, length))
            x = tf.concat([forward, _reverse(backward, length)], axis=-1)
        # Both directions have read everything after `length` steps of their own reading.
        last = tf.stack([tf.maximum(length - 1, 0), tf.range(tf.shape(length)[0])], axis=-1)
        final = tf.concat([tf.gather_nd(forward, last), tf.gather_nd(backward, last)], axis=-1)
        return tf.where(length[:, None] > 0, final, tf.zeros_like(final))

    def get_config(self):
        return {**super().get_config(), "units": self.units, "input_size": self.input_size}


def _reverse(x, length):
    """Reverses the first `length` steps of time-major `x` (T, B, C)."""
    return tf.reverse_sequence(x, length, seq_axis=0, batch_axis=1)


@keras.saving.register_keras_serializable("magenta_lite")
class CategoricalDecoder(keras.layers.Layer):
    """Stacked LSTM that reads its previous event and the latent vector at every step.

    The latent vector also gives every layer's initial state through one tanh layer. The event
    before the first is a vector of zeros.

    Args:
        units: LSTM units of each layer.
        depth: Classes V of an event.
        latent_size: Width Z of the latent vector.
    """

    def __init__(self, units: tuple[int, ...], depth: int, latent_size: int, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.units = tuple(units)
        self.depth = depth
        self.latent_size = latent_size
        self.initial_state = keras.layers.Dense(
            2 * sum(self.units),
            activation="tanh",
            kernel_initializer=keras.initializers.RandomNormal(stddev=0.001),
            dtype="float32",
            name="initial_state",
        )
        self.initial_state.build((None, latent_size))
        self.layers = [
            LSTM(n, size, constant_size=latent_size if i == 0 else 0, name=f"lstm_{i}")
            for i, (n, size) in enumerate(zip(self.units, [depth, *self.units[:-1]], strict=True))
        ]
        self.output_projection = keras.layers.Dense(depth, name="output_projection")
        self.output_projection.build((None, self.units[-1]))
        self.built = True

    def initial_states(self, z):
        """Returns [(h, c), …] of float32 (B, U), one pair per layer, from z (B, Z)."""
        sizes = [n for n in self.units for _ in range(2)]
        parts = tf.split(self.initial_state(z), sizes, axis=-1)  # c0, h0, c1, h1, …
        return list(zip(parts[1::2], parts[::2], strict=True))

    def call(self, events, z):
        """Teacher forcing: the event that each step reads is given.

        Args:
            events: Int32 (T, B), what each step should give; step t reads event t - 1.
            z: Float (B, Z).

        Returns:
            Float32 (T, B, V), logits.
        """
        previous = tf.concat([-tf.ones_like(events[:1]), events[:-1]], axis=0)
        x = tf.one_hot(previous, self.depth, dtype=self.compute_dtype)  # -1 becomes zeros
        for i, (layer, state) in enumerate(zip(self.layers, self.initial_states(z), strict=True)):
            x = layer(x, constant=z if i == 0 else None, state=state)
        return tf.cast(self.output_projection(x), tf.float32)

    def decode(self, z, steps, choose):
        """Decodes step by step, each step reading the event chosen before.

        Always in float32 and compiled: on CPUs that is faster than bfloat16, see `lstm_scan`.

        Args:
            z: Float (B, Z).
            steps: How many steps T; an int, so that the loop can be compiled.
            choose: Function of (t, logits float32 (B, V)) to the event int32 (B,) of step t.

        Returns:
            Events int32 (T, B) and logits float32 (T, B, V).
        """
        weights = [
            *[layer.weights_as(tf.float32) for layer in self.layers],
            [tf.convert_to_tensor(weight) for weight in self.output_projection.weights],
        ]
        inputs = z, self.initial_states(z), weights
        # No gradient flows through a sample; a tape around this must not try.
        inputs = tf.nest.map_structure(tf.stop_gradient, inputs)
        decode = functools.partial(self._decode, steps=steps, choose=choose)
        return tf.function(decode, jit_compile=True)(*inputs)

    def _decode(self, z, states, weights, steps, choose):
        (kernel, first_recurrent, bias), *rest, (output_kernel, output_bias) = weights
        # Event V stands for the start and adds nothing, like a vector of zeros.
        event_kernel = tf.pad(kernel[: self.depth], [[0, 1], [0, 0]])
        every_step = tf.matmul(z, kernel[self.depth :]) + bias
        # One product for a layer's input together with its own last output.
        joined = [(tf.concat([k, r], axis=0), b) for k, r, b in rest]

        def step(t, event, states, events, logits):
            h, c = states[0]
            gates = tf.gather(event_kernel, event) + every_step + tf.matmul(h, first_recurrent)
            new_states = [lstm_cell(gates, c)]
            for (matrix, bias), (h, c) in zip(joined, states[1:], strict=True):
                below = new_states[-1][0]
                gates = tf.matmul(tf.concat([below, h], axis=-1), matrix) + bias
                new_states.append(lstm_cell(gates, c))
            step_logits = tf.matmul(new_states[-1][0], output_kernel) + output_bias
            event = choose(t, step_logits)
            return t + 1, event, new_states, events.write(t, event), logits.write(t, step_logits)

        start = tf.fill([tf.shape(z)[0]], self.depth)
        arrays = (
            tf.TensorArray(tf.int32, size=steps, element_shape=start.shape),
            tf.TensorArray(tf.float32, size=steps, element_shape=[*start.shape, self.depth]),
        )
        *_, events, logits = tf.while_loop(
            lambda t, *_: t < steps, step, (0, start, states, *arrays)
        )
        return events.stack(), logits.stack()

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "depth": self.depth,
            "latent_size": self.latent_size,
        }

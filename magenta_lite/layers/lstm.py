"""An LSTM whose products are as large as they can be.

The input projection of all steps is one product before the recurrence, and the gradient of the
recurrent kernel one product after it, instead of one small product a step. On two to four CPU
cores this trains a MusicVAE about twice as fast as `keras.layers.LSTM`; see
`scripts/benchmarks/`.
"""

from __future__ import annotations

import keras
import tensorflow as tf


def lstm_cell(gates, c):
    """One step of an LSTM after its products, in float32.

    Args:
        gates: Float (B, 4U), pre-activations i, f, g, o.
        c: Float32 (B, U), cell state.

    Returns:
        Output h float32 (B, U), new cell state (B, U), and the four gates' activations.
    """
    i, f, g, o = tf.split(tf.cast(gates, tf.float32), 4, axis=-1)
    i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
    c = f * c + i * g
    return o * tf.tanh(c), c, (i, f, g, o)


def _cell_gradient(activations, c_previous, c, dh, dc):
    """Gradients of the pre-activations (B, 4U) and of the previous cell state (B, U)."""
    i, f, g, o = tf.split(tf.cast(activations, tf.float32), 4, axis=-1)
    tanh_c = tf.tanh(c)
    dc = dc + dh * o * (1 - tanh_c * tanh_c)
    gates = (
        dc * g * i * (1 - i),
        dc * c_previous * f * (1 - f),
        dc * i * (1 - g * g),
        dh * tanh_c * o * (1 - o),
    )
    return tf.concat(gates, axis=-1), dc * f


def _tensor_array(like, steps):
    return tf.TensorArray(like.dtype, size=steps, element_shape=like.shape)


@tf.custom_gradient
def lstm_scan(projected, recurrent_kernel, h0, c0):
    """Runs an LSTM over inputs that are already projected.

    Args:
        projected: Float (T, B, 4U), gates i, f, g, o; the input's part of the pre-activations.
        recurrent_kernel: Float (U, 4U).
        h0: Float (B, U), initial output.
        c0: Float32 (B, U), initial cell state.

    Returns:
        Float (T, B, U), the outputs h of every step, in the type of `projected`.
    """
    steps = tf.shape(projected)[0]
    dtype = projected.dtype

    def forward(t, h, c, all_activations, all_c, all_h):
        gates = projected[t] + tf.matmul(h, recurrent_kernel)
        h, c, activations = lstm_cell(gates, c)
        h = tf.cast(h, dtype)
        activations = tf.cast(tf.concat(activations, axis=-1), dtype)
        return (
            t + 1,
            h,
            c,
            all_activations.write(t, activations),
            all_c.write(t, c),
            all_h.write(t, h),
        )

    arrays = [_tensor_array(x, steps) for x in (projected[0], c0, h0)]
    *_, all_activations, all_c, all_h = tf.while_loop(
        lambda t, *_: t < steps, forward, (0, h0, c0, *arrays)
    )
    activations, c, h = all_activations.stack(), all_c.stack(), all_h.stack()
    c_previous = tf.concat([c0[None], c[:-1]], axis=0)
    h_previous = tf.concat([h0[None], h[:-1]], axis=0)

    def gradient(dh_out):
        def backward(t, dh, dc, all_gates):
            dh = tf.cast(dh_out[t], tf.float32) + tf.cast(dh, tf.float32)
            gates, dc = _cell_gradient(activations[t], c_previous[t], c[t], dh, dc)
            gates = tf.cast(gates, dtype)
            dh = tf.matmul(gates, recurrent_kernel, transpose_b=True)
            return t - 1, dh, dc, all_gates.write(t, gates)

        start = (steps - 1, tf.zeros_like(h0), tf.zeros_like(c0), _tensor_array(projected[0], steps))
        _, dh, dc, all_gates = tf.while_loop(lambda t, *_: t >= 0, backward, start)
        gates = all_gates.stack()
        units = recurrent_kernel.shape[0]
        d_recurrent = tf.matmul(
            tf.reshape(h_previous, [-1, units]),
            tf.reshape(gates, [-1, 4 * units]),
            transpose_a=True,
        )
        return gates, d_recurrent, dh, dc

    return h, gradient


@keras.saving.register_keras_serializable("magenta_lite")
class LSTM(keras.layers.Layer):
    """A long short-term memory layer over time-major sequences (Hochreiter & Schmidhuber 1997).

    Gates are in Keras' order i, f, g, o and the forget gate's bias starts at 1. Kernel and
    recurrent kernel are drawn together as one glorot-uniform matrix, like TensorFlow 1's cells.
    Element-wise work is done in float32, products in the layer's compute type.

    Shape letters: T steps, B batch, C input channels, K channels of a constant input, U units.

    Args:
        units: Width U of output and cell state.
        input_size: Input channels C.
        constant_size: Channels K of an input that is the same at every step, such as a latent
            vector; its part of the kernel stands below the input's.

    Call arguments:
        x: Float (T, B, C).
        constant: Float (B, K), or None when `constant_size` is 0.
        state: The pair (h, c) of float (B, U) to start from; None starts from zeros.

    Returns:
        Float (T, B, U), the output of every step.
    """

    def __init__(self, units: int, input_size: int, constant_size: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.input_size = input_size
        self.constant_size = constant_size
        rows = input_size + constant_size
        # glorot-uniform over the whole matrix: fans are all rows (recurrent ones too) and 4U.
        limit = (6 / (rows + units + 4 * units)) ** 0.5

        def uniform():
            return keras.initializers.RandomUniform(-limit, limit)

        self.kernel = self.add_weight(
            name="kernel", shape=(rows, 4 * units), initializer=uniform()
        )
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel", shape=(units, 4 * units), initializer=uniform()
        )
        self.bias = self.add_weight(
            name="bias", shape=(4 * units,), initializer=self._forget_bias
        )
        self.built = True

    @staticmethod
    def _forget_bias(shape, dtype=None):
        units = shape[0] // 4
        return keras.ops.concatenate(
            [
                keras.ops.zeros((units,), dtype),
                keras.ops.ones((units,), dtype),
                keras.ops.zeros((2 * units,), dtype),
            ]
        )

    def compute_weights(self):
        """Returns kernel, recurrent kernel and bias as tensors of the compute type."""
        weights = (self.kernel, self.recurrent_kernel, self.bias)
        return [tf.cast(tf.convert_to_tensor(w), self.compute_dtype) for w in weights]

    def call(self, x, constant=None, state=None):
        kernel, recurrent_kernel, every_step = self.compute_weights()
        if constant is not None:
            constant = tf.cast(constant, kernel.dtype)
            every_step += tf.matmul(constant, kernel[self.input_size :])
        steps, batch = tf.unstack(tf.shape(x)[:2])
        flat = tf.reshape(tf.cast(x, kernel.dtype), [-1, self.input_size])
        projected = tf.matmul(flat, kernel[: self.input_size])
        projected = tf.reshape(projected, [steps, batch, 4 * self.units]) + every_step
        if state is None:
            zeros = tf.zeros([batch, self.units])
            state = (zeros, zeros)
        h, c = state
        return lstm_scan(
            projected, recurrent_kernel, tf.cast(h, projected.dtype), tf.cast(c, tf.float32)
        )

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "input_size": self.input_size,
            "constant_size": self.constant_size,
        }

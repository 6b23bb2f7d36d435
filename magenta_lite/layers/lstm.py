"""An LSTM with few, large products and fused element-wise work, for fast training on CPUs.

A step is one product of the concatenated input and last output, and one fused pass for the gates.
Wide inputs are projected for all steps at once, so that a step reads fewer weights. In the backward
pass the gradient of each kernel is one product over all steps instead of one small product a step.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from magenta_lite.graphs import array_of, counted_loop, inner_graph, on_gpu
from magenta_lite.layers.base import Layer
from magenta_lite.layers.initial_values import orthogonal_gates
from magenta_lite.typing import Tensor

WIDE_INPUT = 512  # channels
# Recurrent kernels of this width and above exceed a CPU's cache; TensorFlow's products of few rows
# are then up to twice as fast as XLA's.
WIDE_UNITS = 1024


def lstm_cell(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Computes one step of an LSTM from its pre-activations, in float32.

    Args:
        gates: Float (B, 4U), pre-activations i, f, g, o.
        c: Float32 (B, U), cell state.

    Returns:
        Output h (B, U) in the type of `gates` and new cell state float32 (B, U).
    """
    h, c, _ = cell(tf.cast(gates, tf.float32), c)
    return tf.cast(h, gates.dtype), c


def cell(gates: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns h, the new cell state (B, U) and the activations of gates (B, 4U), all float32."""
    i, f, g, o = activations = _activated(gates)
    c = f * c + i * g
    return o * tf.tanh(c), c, tf.concat(activations, axis=-1)


def _activated(gates):
    i, f, g, o = tf.split(gates, 4, axis=-1)
    return tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)


def cell_gradient(
    activations: Tensor, c_previous: Tensor, c: Tensor, dh: Tensor, dc: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns the gradients of pre-activations (B, 4U) and of the previous cell state (B, U)."""
    i, f, g, o = tf.split(activations, 4, axis=-1)
    tanh_c = tf.tanh(c)
    dc = dc + dh * o * (1 - tanh_c * tanh_c)
    gates = (
        dc * g * i * (1 - i),
        dc * c_previous * f * (1 - f),
        dc * i * (1 - g * g),
        dh * tanh_c * o * (1 - o),
    )
    return tf.concat(gates, axis=-1), dc * f


# XLA fuses the element-wise work of a step into one pass over memory.
@inner_graph(jit_compile=True)
def _fused_cell(product, every_step, c):
    h, c, activations = cell(tf.cast(product, tf.float32) + tf.cast(every_step, tf.float32), c)
    return tf.cast(h, product.dtype), c, tf.cast(activations, product.dtype)


@inner_graph(jit_compile=True)
def _activations(product, every_step):
    """Returns the gate activations of all steps, as `_fused_cell` returns those of one step."""
    gates = tf.cast(product, tf.float32) + tf.cast(every_step, tf.float32)
    return tf.cast(tf.concat(_activated(gates), axis=-1), product.dtype)


@inner_graph(jit_compile=True)
def _fused_cell_gradient(activations, c_previous, c, dh_out, dh_recurrent, dc):
    dh = tf.cast(dh_out, tf.float32) + tf.cast(dh_recurrent, tf.float32)
    gates, dc = cell_gradient(tf.cast(activations, tf.float32), c_previous, c, dh, dc)
    return tf.cast(gates, activations.dtype), dc


def _scan(x, matrix, every_step, h0, c0):
    """Returns outputs (T, B, U), cell states (T, B, U) and gate activations (T, B, 4U).

    `matrix` is kernel and recurrent kernel, or the recurrent kernel alone if `x` is projected.
    """
    steps = tf.shape(x)[0] if x.shape[0] is None else x.shape[0]
    is_projected = matrix.shape[0] == h0.shape[1]

    def step(t, h, c, all_h, all_c, all_activations):
        if is_projected:
            product = x[t] + tf.matmul(h, matrix)
        else:
            product = tf.matmul(tf.concat([x[t], h], axis=-1), matrix)
        h, c, activations = _fused_cell(product, every_step, c)
        all_activations = all_activations.write(t, activations)
        return t + 1, h, c, all_h.write(t, h), all_c.write(t, c), all_activations

    arrays = (
        array_of(x.dtype, steps, h0.shape),
        array_of(c0.dtype, steps, c0.shape),
        array_of(x.dtype, steps, [h0.shape[0], matrix.shape[1]]),
    )
    _, _, _, *arrays = counted_loop(steps, step, (0, h0, c0, *arrays))
    return [array.stack() for array in arrays]


def _scan_gradient(activations, c_previous, c, dh_out, transposed_kernel):
    """Returns the gradients of the pre-activations (T, B, 4U), of h0 and of c0 (B, U)."""
    steps = tf.shape(activations)[0]

    def step(t, dh, dc, all_gates):
        gates, dc = _fused_cell_gradient(activations[t], c_previous[t], c[t], dh_out[t], dh, dc)
        dh = tf.matmul(gates, transposed_kernel)
        return t - 1, dh, dc, all_gates.write(t, gates)

    start = (
        tf.zeros_like(dh_out[0]),
        tf.zeros_like(c[0]),
        array_of(activations.dtype, steps, activations.shape[1:]),
    )
    _, dh, dc, all_gates = tf.while_loop(lambda t, *_: t >= 0, step, (steps - 1, *start))
    return all_gates.stack(), dh, dc


_compiled_scan = inner_graph(_scan, jit_compile=True)
_compiled_scan_gradient = inner_graph(_scan_gradient, jit_compile=True)


def lstm_scan(
    x: Tensor,
    kernel: Tensor,
    recurrent_kernel: Tensor,
    every_step: Tensor,
    h0: Tensor,
    c0: Tensor,
    recompute: bool = False,
) -> Tensor:
    """Runs an LSTM over all steps.

    In float32 the whole loop is compiled. In bfloat16 or with many units only the element-wise
    part of a step is compiled on CPUs, since XLA's products are then slower than TensorFlow's. On
    GPUs the loop is always compiled, since TensorFlow starts each of its operations from the CPU.

    Args:
        x: Float (T, B, C).
        kernel: Float (C, 4U), gates i, f, g, o.
        recurrent_kernel: Float (U, 4U).
        every_step: Float (B, 4U) or (1, 4U), added to the gates at every step: the bias and the
            projection of a constant input.
        h0: Float (B, U), initial output.
        c0: Float32 (B, U), initial cell state.
        recompute: Keep outputs and cell states only, and recompute the gates of all steps in the
            backward pass: one more product, and a third of the memory.

    Returns:
        Float (T, B, U), the output h of every step, in the type of `x`.
    """

    @tf.custom_gradient
    def scan(*tensors):
        return _scan_with_gradient(recompute, *tensors)

    return scan(x, kernel, recurrent_kernel, every_step, h0, c0)


def _scan_with_gradient(recompute, x, kernel, recurrent_kernel, every_step, h0, c0):
    # Without this an eager tape would differentiate the compiled loop a second time.
    x, kernel, recurrent_kernel, every_step, h0, c0 = (
        tf.stop_gradient(tensor) for tensor in (x, kernel, recurrent_kernel, every_step, h0, c0)
    )
    wide = h0.shape[1] >= WIDE_UNITS
    compiled = on_gpu() or (x.dtype == tf.float32 and not wide)
    scan = _compiled_scan if compiled else _scan
    scan_gradient = _compiled_scan_gradient if compiled else _scan_gradient
    matrix = tf.concat([kernel, recurrent_kernel], axis=0)
    if wide or kernel.shape[0] > WIDE_INPUT:
        projected = tf.reshape(tf.matmul(flat_rows(x), kernel), [*tf.unstack(tf.shape(x)[:2]), -1])
        projected = tf.ensure_shape(projected, [*x.shape[:2], kernel.shape[1]])
        h, c, activations = scan(projected, recurrent_kernel, every_step, h0, c0)
    else:
        h, c, activations = scan(x, matrix, every_step, h0, c0)
    h = tf.ensure_shape(h, [x.shape[0], *h.shape[1:]])  # loops lose the static number of steps
    kept = None if recompute else activations

    def gradient(dh_out):
        h_previous = tf.concat([h0[None], h[:-1]], axis=0)
        c_previous = tf.concat([c0[None], c[:-1]], axis=0)
        activations = kept
        if recompute:
            # Without the dependency the gates would be computed in the forward pass and kept.
            with tf.control_dependencies([dh_out]):
                inputs = tf.concat([tf.identity(x), h_previous], axis=-1)
            activations = _activations(tf.tensordot(inputs, matrix, axes=1), every_step)
        transposed = tf.transpose(recurrent_kernel)  # once, not at every step
        d_gates, dh, dc = scan_gradient(activations, c_previous, c, dh_out, transposed)
        d_every_step = tf.reduce_sum(d_gates, axis=0)
        if every_step.shape[0] == 1:
            d_every_step = tf.reduce_sum(d_every_step, axis=0, keepdims=True)
        flat = flat_rows(d_gates)
        return (
            tf.reshape(tf.matmul(flat, kernel, transpose_b=True), tf.shape(x)),
            tf.matmul(flat_rows(x), flat, transpose_a=True),
            tf.matmul(flat_rows(h_previous), flat, transpose_a=True),
            d_every_step,
            dh,
            dc,
        )

    return h, gradient


def flat_rows(x: Tensor) -> Tensor:
    """Reshapes x (T, B, N) to (T * B, N)."""
    return tf.reshape(x, [-1, x.shape[-1]])


@keras.saving.register_keras_serializable("magenta_lite.layers")
class LSTM(Layer):
    """A long short-term memory layer over time-major sequences (Hochreiter & Schmidhuber 1997).

    Gates are in Keras' order i, f, g, o. The forget gate's bias is initialized to 1, the kernel
    Glorot-uniform, and the recurrent kernel of each gate orthogonal (Saxe et al. 2013). Products
    are computed in the layer's compute type, element-wise operations in float32.

    Shape letters: T steps, B batch, C input channels, K channels of a constant input, U units.

    Args:
        units: Width U of output and cell state.
        input_size: Input channels C.
        constant_size: Channels K of an input that is the same at every step, such as a latent
            vector; its rows of the kernel follow those of the input.

    Call arguments:
        x: Float (T, B, C).
        constant: Float (B, K); None if `constant_size` is 0 or `x` (T, B, C + K) contains it at
            every step.
        state: Initial state, a pair (h, c) of float (B, U); None for zeros.

    Returns:
        Float (T, B, U), the output of every step.
    """

    def __init__(self, units: int, input_size: int, constant_size: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        self.units = units
        self.input_size = input_size
        self.constant_size = constant_size
        self.recompute = False  # set by the trainer; see `lstm_scan`
        rows = input_size + constant_size
        # Glorot's limit over kernel and recurrent kernel together, like TensorFlow 1's cells.
        limit = (6 / (rows + units + 4 * units)) ** 0.5
        self.kernel = self.add_weight(
            name="kernel",
            shape=(rows, 4 * units),
            initializer=keras.initializers.RandomUniform(-limit, limit),
        )
        self.recurrent_kernel = self.add_weight(
            name="recurrent_kernel", shape=(units, 4 * units), initializer=orthogonal_gates
        )
        self.bias = self.add_weight(name="bias", shape=(4 * units,), initializer=self._forget_bias)

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

    def weights_as(self, dtype: Any) -> list[Tensor]:
        """Returns kernel, recurrent kernel and bias as tensors of type `dtype`."""
        weights = (self.kernel, self.recurrent_kernel, self.bias)
        return [tf.cast(tf.convert_to_tensor(w), dtype) for w in weights]

    def call(
        self, x: Tensor, constant: Tensor | None = None, state: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        kernel, recurrent_kernel, bias = self.weights_as(self.compute_dtype)
        every_step = bias[None]
        if constant is not None:
            constant = tf.cast(constant, kernel.dtype)
            every_step += tf.matmul(constant, kernel[self.input_size :])
            kernel = kernel[: self.input_size]
        if state is None:
            zeros = tf.zeros([tf.shape(x)[1], self.units])
            state = (zeros, zeros)
        h, c = state
        return lstm_scan(
            tf.cast(x, kernel.dtype),
            kernel,
            recurrent_kernel,
            every_step,
            tf.cast(h, kernel.dtype),
            tf.cast(c, tf.float32),
            self.recompute,
        )

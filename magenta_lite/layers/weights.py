"""Weights that layers and models of several families have, and what is computed with them.

Results have the type of their input x, unless stated otherwise; weights are float32.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from magenta_lite.typing import Tensor


def embedding_table(
    layer: keras.layers.Layer, name: str, rows: int, width: int, deviation: float
) -> keras.Variable:
    """Adds an embedding table (rows, width) to a layer, drawn from N(0, `deviation`²)."""
    normal = keras.initializers.RandomNormal(stddev=deviation)
    return layer.add_weight(shape=(rows, width), initializer=normal, name=name)


def norm_weights(
    layer: keras.layers.Layer, name: str, width: int
) -> tuple[keras.Variable, keras.Variable]:
    """Adds the scale and the bias of a layer normalization to a layer."""
    return (
        layer.add_weight(shape=(width,), initializer="ones", name=f"{name}_scale"),
        layer.add_weight(shape=(width,), initializer="zeros", name=f"{name}_bias"),
    )


def normalize(x: Tensor, scale: Tensor, bias: Tensor, epsilon: float = 1e-6) -> Tensor:
    """Applies layer normalization (Ba et al. 2016) to x (..., C), in float32."""
    wide = tf.cast(x, tf.float32)
    mean, variance = tf.nn.moments(wide, axes=[-1], keepdims=True)
    normed = (wide - mean) * tf.math.rsqrt(variance + epsilon)
    # Keras casts the weights of a mixed-precision layer to its compute type.
    scale, bias = tf.cast(scale, tf.float32), tf.cast(bias, tf.float32)
    return tf.cast(normed * scale + bias, x.dtype)


def product(x: Tensor, kernel: Tensor) -> Tensor:
    """Returns x (..., C), with at most one unknown axis, times a kernel (C, D)."""
    out = tf.matmul(tf.reshape(x, [-1, x.shape[-1]]), tf.cast(kernel, x.dtype))
    return tf.reshape(out, [*(-1 if n is None else n for n in x.shape[:-1]), kernel.shape[1]])


def linear(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """Returns the linear map of x (..., C) with a kernel (C, D) and a bias (D,)."""
    return product(x, kernel) + tf.cast(bias, x.dtype)


def quick_gelu(x: Tensor) -> Tensor:
    """Returns an approximation of the GELU, x * sigmoid(1.702 x) (Hendrycks and Gimpel 2016)."""
    return x * tf.sigmoid(1.702 * x)

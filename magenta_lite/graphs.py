"""TensorFlow graphs without AutoGraph, and with XLA where it may be used."""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from magenta_lite.typing import Tensor

# Loops and branches over tensors are written as such here (`tf.while_loop`, `tf.where`), so
# AutoGraph has nothing to rewrite; looking for it takes several seconds before the first step.
graph_function: Callable[..., Any] = functools.partial(tf.function, autograph=False)

_inlined = contextvars.ContextVar("_inlined", default=False)


def inner_graph(function: Callable | None = None, **options: Any) -> Callable:
    """Decorator: makes a function a graph that is traced once and called from other graphs.

    Within `without_xla` the function is traced into the graph around it instead, so that neither
    its own compilation nor that of a graph which was traced before ends up there.

    Args:
        function: Of tensors.
        options: Of `tf.function`, above all `jit_compile=True`.
    """
    if function is None:
        return functools.partial(inner_graph, **options)
    graph = graph_function(function, **options)

    @functools.wraps(function)
    def call(*args, **kwargs):
        return (function if _inlined.get() else graph)(*args, **kwargs)

    traced: Any = call
    traced.graph = graph
    return traced


@contextlib.contextmanager
def without_xla() -> Iterator[None]:
    """While it is active, graphs are traced without XLA, which TensorFlow Serving switches off."""
    token = _inlined.set(True)
    try:
        yield
    finally:
        _inlined.reset(token)


def replaced_at(x: Tensor, position: Tensor, value: Tensor) -> Tensor:
    """Returns x (B, K, ...) with value (B, ...) at `position`, an int32 scalar, of axis 1."""
    if _inlined.get():  # `slice_update` is an operation of XLA
        rows = tf.range(tf.shape(x)[0])
        places = tf.stack([rows, tf.fill(tf.shape(rows), position)], axis=1)
        return tf.tensor_scatter_nd_update(x, places, value)
    start = (0, position, *(0 for _ in x.shape[2:]))
    return keras.ops.slice_update(x, start, value[:, None])

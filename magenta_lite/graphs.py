"""TensorFlow graphs without AutoGraph, with or without XLA."""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from magenta_lite.typing import Tensor

# Loops and branches over tensors are explicit in this package (`tf.while_loop`, `tf.where`), so
# AutoGraph is not needed; it would delay the first step by several seconds.
graph_function: Callable[..., Any] = functools.partial(tf.function, autograph=False)

_inlined = contextvars.ContextVar("_inlined", default=False)
_unrolled = contextvars.ContextVar("_unrolled", default=False)


def on_gpu() -> bool:
    """Returns whether TensorFlow computes on a GPU."""
    return bool(tf.config.list_physical_devices("GPU"))


def inner_graph(function: Callable | None = None, **options: Any) -> Callable:
    """Decorator that makes a function a graph, which is traced once and called from other graphs.

    Within `without_xla` the function is traced inline into the calling graph instead, so that the
    latter contains neither its compilation nor an earlier traced graph. Options are those of
    `tf.function`, above all `jit_compile=True`.
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
    """Context manager that traces graphs without XLA, for TensorFlow Serving."""
    token = _inlined.set(True)
    try:
        yield
    finally:
        _inlined.reset(token)


@contextlib.contextmanager
def unrolled() -> Iterator[None]:
    """Context manager that traces graphs without XLA and loops, for runtimes without TensorFlow."""
    token = _unrolled.set(True)
    try:
        with without_xla():
            yield
    finally:
        _unrolled.reset(token)


def counted_loop(count: Tensor, step: Callable, start: tuple, **options: Any) -> tuple:
    """Runs `step(t, *state)`, which returns t + 1 and the next state, for t = 0 to `count` - 1.

    It is a `tf.while_loop` with its options, or repeated `count` times within `unrolled`, where
    `count` must not be a tensor. `start` is 0 and the first state, with arrays of `array_of`.
    """
    if not _unrolled.get():
        return tf.while_loop(lambda t, *_: t < count, step, start, **options)
    for t in range(count):
        start = (t + 1, *step(t, *start[1:])[1:])
    return start


class _Rows:
    """An array of tensors that are written in order, without operations of TensorFlow."""

    def __init__(self):
        self._rows = []

    def write(self, t: int, row: Tensor) -> _Rows:
        assert t == len(self._rows)
        self._rows.append(row)
        return self

    def stack(self) -> Tensor:
        return tf.stack(self._rows)


def array_of(dtype: Any, size: Any, element_shape: Any) -> Any:
    """Returns a `tf.TensorArray` for a `counted_loop`, or what takes its place in `unrolled`."""
    if _unrolled.get():
        return _Rows()
    return tf.TensorArray(dtype, size=size, element_shape=element_shape)


def replaced_at(x: Tensor, position: Tensor, value: Tensor) -> Tensor:
    """Returns x (B, K, ...) with value (B, ...) at index `position`, an int32 scalar, of axis 1."""
    others = [0] * (len(x.shape) - 2)
    if _unrolled.get():
        rows = tf.range(tf.shape(x)[0])
        places = tf.stack([rows, tf.fill(tf.shape(rows), position)], axis=1)
        return tf.tensor_scatter_nd_update(x, places, value)
    if _inlined.get():  # changes x in place if nothing else reads it; the form above copies x
        all_but_one = (1 << len(x.shape)) - 1 - (1 << 1)  # a bit for each axis except 1
        return tf.raw_ops.TensorStridedSliceUpdate(
            input=x,
            begin=[0, position, *others],
            end=[0, position + 1, *others],
            strides=[1] * len(x.shape),
            value=value[:, None],
            begin_mask=all_but_one,
            end_mask=all_but_one,
        )
    return keras.ops.slice_update(x, (0, position, *others), value[:, None])


def rolled(x: Tensor, shift: Tensor) -> Tensor:
    """Returns x (..., K) rolled along its last axis by `shift`, an int32 scalar in [0, K)."""
    size = x.shape[-1]
    if _unrolled.get():  # few runtimes have a `roll`, or parts of variable sizes
        return tf.gather(x, (tf.range(size) - shift) % size, axis=-1)
    if _inlined.get():  # faster than `roll` without XLA
        return tf.concat([x[..., size - shift :], x[..., : size - shift]], axis=-1)
    return tf.roll(x, shift, axis=-1)

"""Initializers of weights, and a context that skips the slow ones."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from magenta_lite.typing import Tensor

_replaced = contextvars.ContextVar("replaced", default=False)


@contextlib.contextmanager
def replaced_at_once() -> Iterator[None]:
    """Initializes orthogonal weights with zeros, for models whose weights are read from a file.

    Orthogonalizing the matrices of a large model takes longer than reading them.
    """
    token = _replaced.set(True)
    try:
        yield
    finally:
        _replaced.reset(token)


def orthogonal_gates(shape: Sequence[int], dtype: Any = None) -> Tensor:
    """Returns a recurrent kernel (U, 4U), orthogonal for each gate (Saxe et al. 2013)."""
    if _replaced.get():
        return keras.ops.zeros(shape, dtype)
    units = shape[0]
    gate = keras.initializers.Orthogonal()
    gates = [gate.clone()((units, units), dtype) for _ in range(4)]
    return keras.ops.concatenate(gates, axis=1)

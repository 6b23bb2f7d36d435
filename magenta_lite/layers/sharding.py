"""Splits a batch into shards that several CPU cores process independently."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from magenta_lite.graphs import on_gpu

# Independent of the number of cores, so that sums are rounded alike on every machine.
SHARDS = 2
# Smaller shards make products inefficient, and the more so the more weights they read.
MIN_ROWS = 16
MIN_ROWS_PER_UNIT = 1 / 8


def in_row_shards(function: Callable, inputs: dict[str, tf.Tensor], units: int) -> Any:
    """Calls `function(inputs)` on shards of the rows and concatenates the results.

    A recurrent step alternates a product, which uses all cores, with element-wise work, which
    does not. Independent shards overlap the two, which makes training up to 40 % faster on four
    CPU cores. The batch is not split on a GPU, nor if its size is small or unknown.

    Args:
        function: Maps a dict like `inputs` to a structure of tensors whose first axis is the rows.
        inputs: Tensors whose first axis is the rows.
        units: Width of the widest layer.

    Returns:
        The result of `function(inputs)`.
    """
    rows = next(iter(inputs.values())).shape[0]
    least = SHARDS * max(MIN_ROWS, units * MIN_ROWS_PER_UNIT)
    if rows is None or rows < least or on_gpu():
        return function(inputs)
    edges = [rows * i // SHARDS for i in range(SHARDS + 1)]
    parts = [
        function({name: x[start:end] for name, x in inputs.items()})
        for start, end in itertools.pairwise(edges)
    ]
    return tf.nest.map_structure(lambda *pieces: tf.concat(pieces, axis=0), *parts)

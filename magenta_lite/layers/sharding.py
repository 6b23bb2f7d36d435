"""Splitting a batch so that several cores work on it without waiting for one another."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

# A fixed number, not the number of cores: sums are then rounded alike on every machine.
SHARDS = 2
MIN_ROWS = 16  # a shard's products become too small below,
MIN_ROWS_PER_UNIT = 1 / 16  # and all the sooner the more weights they have to read


def in_row_shards(function: Callable, inputs: dict[str, tf.Tensor], units: int) -> Any:
    """Calls `function(inputs)` on shards of the rows and joins what it returns.

    A recurrent step alternates a product, which uses all cores, with element-wise work, which
    does not. Independent shards overlap the one with the other, which makes training up to 40 %
    faster on four CPU cores. A GPU, or a batch of unknown or small size, is not split.

    Args:
        function: Of a dict like `inputs`; returns a structure of tensors whose first axis is the
            rows.
        inputs: Tensors whose first axis is the rows.
        units: Of the widest layer.

    Returns:
        What `function(inputs)` would.
    """
    rows = next(iter(inputs.values())).shape[0]
    least = SHARDS * max(MIN_ROWS, units * MIN_ROWS_PER_UNIT)
    if rows is None or rows < least or tf.config.list_physical_devices("GPU"):
        return function(inputs)
    edges = [rows * i // SHARDS for i in range(SHARDS + 1)]
    parts = [
        function({name: x[start:end] for name, x in inputs.items()})
        for start, end in itertools.pairwise(edges)
    ]
    return tf.nest.map_structure(lambda *pieces: tf.concat(pieces, axis=0), *parts)

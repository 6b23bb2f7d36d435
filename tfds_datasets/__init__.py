"""Dataset builders for TensorFlow Datasets: one folder each, `tfds build` works inside it."""

from __future__ import annotations

import importlib


def builder_class(name: str) -> type:
    """Returns the builder of a data set, which stands where TFDS looks for it, and registers it."""
    return importlib.import_module(f"{__name__}.{name}.{name}_dataset_builder").Builder

"""Dataset builders for TensorFlow Datasets, one folder each, in which `tfds build` works."""

from __future__ import annotations

import importlib


def builder_class(name: str) -> type:
    """Imports the builder class of a data set, which registers it with TFDS."""
    return importlib.import_module(f"{__name__}.{name}.{name}_dataset_builder").Builder

"""From a config to a model."""

from __future__ import annotations

import importlib
from typing import Any

import keras

from magenta_lite.config import ExperimentConfig


def build_model(
    config: ExperimentConfig, converter: Any, precision: str = "float32"
) -> keras.Model:
    """Returns the untrained model that `config` describes, for `converter`'s events.

    Args:
        config: Says the family and the sizes.
        converter: The built converter of `config.converter`.
        precision: Keras dtype policy of its layers. Weights are float32 in any case.
    """
    family = importlib.import_module(f"magenta_lite.families.{config.family}.model")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        return family.build(config, converter)
    finally:
        keras.config.set_dtype_policy(before)

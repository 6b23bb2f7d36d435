"""From a config to a model."""

from __future__ import annotations

from typing import Any

import keras

from magenta_lite.config import ExperimentConfig
from magenta_lite.families import FAMILIES
from magenta_lite.modeling.music_model import MusicModel


def build_model(config: ExperimentConfig, converter: Any, precision: str = "float32") -> MusicModel:
    """Returns the untrained model that `config` describes, for `converter`'s events.

    Args:
        config: Says the family and the sizes.
        converter: The built converter of `config.converter`.
        precision: Keras dtype policy of its layers. Weights are float32 in any case.
    """
    model_class = FAMILIES[config.family].model_class()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        return model_class.for_config(config, converter)
    finally:
        keras.config.set_dtype_policy(before)

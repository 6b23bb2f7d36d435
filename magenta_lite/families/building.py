"""From a config to a model."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import keras

from magenta_lite.families import FAMILIES
from magenta_lite.modeling.music_model import MusicModel

if TYPE_CHECKING:
    from magenta_lite.config import ExperimentConfig


def build_model(config: ExperimentConfig, converter: Any, precision: str = "float32") -> MusicModel:
    """Returns the untrained model that `config` describes, for `converter`'s events.

    Args:
        config: Says the family and the sizes.
        converter: The built converter of `config.converter`.
        precision: Keras dtype policy of the layers, whose weights are in float32 in any case.
    """
    return FAMILIES[config.family].model_class().for_config(config, converter, dtype=precision)


def count_weights(config: ExperimentConfig, converter: Any) -> int:
    """Returns the number of weights of `build_model`'s model, without memory for them."""

    def count() -> int:
        with keras.StatelessScope(initialize_variables=False):
            return sum(math.prod(weight.shape) for weight in build_model(config, converter).weights)

    # Keras keeps a list of uninitialized variables, which ends with the thread.
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(count).result()

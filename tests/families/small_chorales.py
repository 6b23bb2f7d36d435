"""Small models of chorales with large random weights."""

import keras
import numpy as np

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.families.building import build_model

SETTINGS = (
    "model.layers=1",
    "model.hidden_size=16",
    "model.key_size=16",
    "model.filter_size=16",
    "model.heads=2",
    "converter.crop=32",
)
TWO_PITCHES = ("converter.min_pitch=60", "converter.max_pitch=61")


def made(*overrides):
    """Returns a model and its converter."""
    keras.utils.set_random_seed(1)
    config = get_config("music_transformer_jsb", (*SETTINGS, *overrides))
    converter = build_converter(config.converter)
    model = build_model(config, converter)
    for weight in model.weights:
        weight.assign(weight + np.random.default_rng(2).normal(0, 0.5, weight.shape))
    return model, converter

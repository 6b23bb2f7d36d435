"""Small transformers with random weights."""

import numpy as np

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.families.building import build_model
from magenta_lite.training.run import Run

SMALL = ("model.layers=1", "model.hidden_size=32", "model.heads=2", "model.positions=96")
MODELS = {
    "performance": ("music_transformer_tiny", *SMALL),
    "local": (
        "music_transformer_tiny",
        *SMALL[:-1],
        "model.attention=relative_local",
        "model.block_length=16",  # the cache overflows
    ),
    "chorale": ("music_transformer_jsb", *SMALL[:-1]),
    "accompaniment": ("music_transformer_melody_tiny", *SMALL, "model.positions=256"),
    "musenet": ("musenet_tiny", *SMALL, "converter.crop=96"),
}


def random_transformer(name):
    """Returns an untrained model of `MODELS`."""
    config_name, *overrides = MODELS[name]
    config = get_config(config_name, tuple(overrides))
    converter = build_converter(config.converter)
    model = build_model(config, converter)
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        if len(weight.shape) > 1:
            weight.assign(rng.normal(0, 1.5 / np.sqrt(weight.shape[0]), weight.shape))
    return Run(config, converter, model)

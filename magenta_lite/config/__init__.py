"""Configs of runs: frozen dataclasses, their registry, `--set`, and their YAML files.

A config contains only values; converters, data sets and models are built from it. Imports no
TensorFlow.
"""

from magenta_lite.config.registry import config_names, get_config, register
from magenta_lite.config.schedules import fine_tuned, resumed, scaled
from magenta_lite.config.sections import (
    SECTIONS,
    DataConfig,
    ExperimentConfig,
    GenerateConfig,
    TrainConfig,
)
from magenta_lite.config.values import (
    FORMER_CONVERTER_FIELDS,
    LATER_CONVERTER_FIELDS,
    TRAINING_CONVERTER_FIELDS,
    keys_of,
    load_config,
    override,
    save_config,
)

__all__ = [
    "FORMER_CONVERTER_FIELDS",
    "LATER_CONVERTER_FIELDS",
    "SECTIONS",
    "TRAINING_CONVERTER_FIELDS",
    "DataConfig",
    "ExperimentConfig",
    "GenerateConfig",
    "TrainConfig",
    "config_names",
    "fine_tuned",
    "get_config",
    "keys_of",
    "load_config",
    "override",
    "register",
    "resumed",
    "save_config",
    "scaled",
]

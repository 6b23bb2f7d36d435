"""Voices of Bach's chorales."""

from __future__ import annotations

from typing import Any, ClassVar

import tensorflow_datasets as tfds

from magenta_lite.converters.base import Report
from magenta_lite.data import building, chorales
from magenta_lite.data.reading import Source
from tfds_datasets.collection_builder import (
    CONVERTERS,
    CollectionBuilder,
    CollectionConfig,
    name_of,
)

NAMES = ("event_melody", "mel_2bar", "mel_16bar")


def chorales_config(more: str, converter_config: Any) -> CollectionConfig:
    """Returns the config of the chorales in the given encoding; the known one if there is one.

    Raises:
        UserError: If `more`, which names a part of a collection, is not empty.
    """
    chorales.list_chorales(more)
    config = CollectionConfig(
        name=name_of(converter_config),
        description="Voices of Bach's chorales.",
        converter=building.stored_config(converter_config),
    )
    return Builder.builder_configs.get(config.name, config)


class Builder(CollectionBuilder):
    """Reads the scores of the installed music21; nothing is downloaded."""

    DEFAULT_BUILDER_CONFIG_NAME = "event_melody"
    BUILDER_CONFIGS: ClassVar = [
        CollectionConfig(
            name=name,
            description=f"Encoding {name} of the voices of Bach's chorales.",
            converter=CONVERTERS[name],
        )
        for name in NAMES
    ]

    def _sources(self, dl_manager: tfds.download.DownloadManager) -> tuple[list[Source], Report]:
        return chorales.list_chorales()

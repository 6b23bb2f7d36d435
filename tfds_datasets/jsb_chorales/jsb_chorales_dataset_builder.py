"""JSB Chorales on a grid of sixteenths."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from magenta_lite.converters.base import Report
from magenta_lite.converters.chorale import ChoraleConverterConfig
from magenta_lite.data import building, jsb_chorales
from magenta_lite.data.reading import Source
from tfds_datasets.collection_builder import CollectionBuilder, CollectionConfig, downloaded


@dataclasses.dataclass
class ChoraleConfig(CollectionConfig):
    """One encoding of the data set.

    Attributes:
        path: A copy of the file; empty: it is downloaded.
    """

    path: str = ""


def chorale_config(path: str, converter_config: Any) -> ChoraleConfig:
    """Returns the config of a copy as it is now, or without `path` of what is downloaded."""
    default = Builder.builder_configs["chorale"]
    name = (
        default.name
        if converter_config == default.converter
        else building.converter_name(converter_config)
    )
    if path:
        sources, _ = jsb_chorales.list_chorales(path)
        name = f"{name}-{building.fingerprint(sources)}"
    config = ChoraleConfig(
        name=name,
        description="Chorales on a grid of sixteenths.",
        converter=converter_config,
        path=path,
    )
    return Builder.builder_configs.get(name, config)


class Builder(CollectionBuilder):
    """Reads the published file; the split is that of the papers."""

    DEFAULT_BUILDER_CONFIG_NAME = "chorale"
    BUILDER_CONFIGS: ClassVar = [
        ChoraleConfig(
            name="chorale",
            description="Four voices, step by step.",
            converter=ChoraleConverterConfig(),
        )
    ]

    def _sources(self, dl_manager: tfds.download.DownloadManager) -> tuple[list[Source], Report]:
        path = self.builder_config.path or downloaded(dl_manager, jsb_chorales.URL, "jsb_chorales")
        return jsb_chorales.list_chorales(path)

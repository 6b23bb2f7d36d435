"""Piano performances of MAESTRO, its MIDI part."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from magenta_lite.converters.base import Report
from magenta_lite.data import building, maestro
from magenta_lite.data.reading import Source
from tfds_datasets.collection_builder import (
    PERFORMANCE_CONVERTERS,
    CollectionBuilder,
    CollectionConfig,
    downloaded,
    name_of,
)


@dataclasses.dataclass
class MaestroConfig(CollectionConfig):
    """One encoding of the data set.

    Attributes:
        path: A copy, zipped or unpacked; empty: it is downloaded.
    """

    path: str = ""


def maestro_config(path: str, converter_config: Any) -> MaestroConfig:
    """Returns the config of a copy as it is now, or without `path` of what is downloaded."""
    name = name_of(converter_config)
    if path:
        sources, _ = maestro.list_performances(path)
        name = f"{name}-{building.fingerprint(sources)}"
    config = MaestroConfig(
        name=name,
        description="Piano performances of MAESTRO 3.0.0.",
        converter=converter_config,
        path=path,
    )
    return Builder.builder_configs.get(name, config)


class Builder(CollectionBuilder):
    """Reads every performance; the splits are those of `maestro-v3.0.0.csv`."""

    DEFAULT_BUILDER_CONFIG_NAME = "performance"
    BUILDER_CONFIGS: ClassVar = [
        MaestroConfig(
            name=name, description=f"Encoding {name} of MAESTRO 3.0.0.", converter=converter
        )
        for name, converter in PERFORMANCE_CONVERTERS.items()
    ]

    def _sources(self, dl_manager: tfds.download.DownloadManager) -> tuple[list[Source], Report]:
        path = self.builder_config.path or downloaded(dl_manager, maestro.URL, "maestro_midi")
        return maestro.list_performances(path)

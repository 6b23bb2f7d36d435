"""Piano performances of MAESTRO, its MIDI part."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from magenta_lite.data import building, maestro
from magenta_lite.data.reading import Source
from magenta_lite.encoders.base import Report
from tfds_datasets.collection_builder import (
    PERFORMANCE_ENCODERS,
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


def maestro_config(path: str, encoder_config: Any) -> MaestroConfig:
    """Returns the config of a copy as it is now, or without `path` of what is downloaded."""
    name = name_of(encoder_config)
    if path:
        sources, _ = maestro.list_performances(path)
        name = f"{name}-{building.fingerprint(sources)}"
    config = MaestroConfig(
        name=name,
        description="Piano performances of MAESTRO 3.0.0.",
        encoder=encoder_config,
        path=path,
    )
    return Builder.builder_configs.get(name, config)


class Builder(CollectionBuilder):
    """Reads every performance; the splits are those of `maestro-v3.0.0.csv`."""

    DEFAULT_BUILDER_CONFIG_NAME = "performance"
    BUILDER_CONFIGS: ClassVar = [
        MaestroConfig(name=name, description=f"Encoding {name} of MAESTRO 3.0.0.", encoder=encoder)
        for name, encoder in PERFORMANCE_ENCODERS.items()
    ]

    def _sources(self, dl_manager: tfds.download.DownloadManager) -> tuple[list[Source], Report]:
        path = self.builder_config.path or downloaded(dl_manager, maestro.URL, "maestro_midi")
        return maestro.list_performances(path)

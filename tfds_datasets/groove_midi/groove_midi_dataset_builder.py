"""Drums of the Groove MIDI Dataset."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from magenta_lite.converters.base import Report
from magenta_lite.data import building, groove_midi
from magenta_lite.data.reading import Source
from tfds_datasets.collection_builder import (
    DRUM_CONVERTERS,
    CollectionBuilder,
    CollectionConfig,
    downloaded,
    name_of,
)


@dataclasses.dataclass
class GrooveConfig(CollectionConfig):
    """One encoding of the data set.

    Attributes:
        path: A copy, zipped or unpacked; empty: it is downloaded.
    """

    path: str = ""


def groove_config(path: str, converter_config: Any) -> GrooveConfig:
    """Returns the config of a copy as it is now, or without `path` of what is downloaded."""
    name = name_of(converter_config)
    if path:
        sources, _ = groove_midi.list_grooves(path)
        name = f"{name}-{building.fingerprint(sources)}"
    config = GrooveConfig(
        name=name,
        description="Windows of the Groove MIDI Dataset.",
        converter=converter_config,
        path=path,
    )
    return Builder.builder_configs.get(name, config)


class Builder(CollectionBuilder):
    """Reads every take; the splits are those of `info.csv`."""

    DEFAULT_BUILDER_CONFIG_NAME = "groove_2bar"
    BUILDER_CONFIGS: ClassVar = [
        GrooveConfig(
            name=name,
            description=f"Encoding {name} of the Groove MIDI Dataset.",
            converter=converter,
        )
        for name, converter in DRUM_CONVERTERS.items()
    ]

    def _sources(self, dl_manager: tfds.download.DownloadManager) -> tuple[list[Source], Report]:
        path = self.builder_config.path or downloaded(dl_manager, groove_midi.URL, "groove_midi")
        return groove_midi.list_grooves(path)

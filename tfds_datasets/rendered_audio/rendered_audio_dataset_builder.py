"""Folk tunes and chorales as sound."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from magenta_lite.converters.base import Report
from magenta_lite.data import sounding
from magenta_lite.data.reading import Source
from tfds_datasets.collection_builder import (
    AUDIO_CONVERTERS,
    CollectionBuilder,
    CollectionConfig,
    name_of,
)


@dataclasses.dataclass
class RenderedAudioConfig(CollectionConfig):
    """One encoding of some of the pieces.

    Attributes:
        collection: A key of `magenta_lite.data.sounding.COLLECTIONS`.
    """

    collection: str = ""


def rendered_audio_config(collection: str, converter_config: Any) -> RenderedAudioConfig:
    """Returns the config of a collection in the given encoding; the known one if there is one.

    Raises:
        UserError: If there is no such collection.
    """
    sounding.check_collection(collection)
    name = name_of(converter_config)
    config = RenderedAudioConfig(
        name=f"{collection}_{name}" if collection else name,
        description="Folk tunes and chorales as sound.",
        converter=converter_config,
        collection=collection,
    )
    return Builder.builder_configs.get(config.name, config)


class Builder(CollectionBuilder):
    """Reads tunes and chorales of the installed music21 and makes them sound; no download."""

    DEFAULT_BUILDER_CONFIG_NAME = "mono_16khz"
    BUILDER_CONFIGS: ClassVar = [
        RenderedAudioConfig(
            name=name,
            description=f"Encoding {name} of folk tunes and chorales as sound.",
            converter=converter,
        )
        for name, converter in AUDIO_CONVERTERS.items()
    ]

    def _sources(self, dl_manager: tfds.download.DownloadManager) -> tuple[list[Source], Report]:
        return sounding.list_pieces(self.builder_config.collection)

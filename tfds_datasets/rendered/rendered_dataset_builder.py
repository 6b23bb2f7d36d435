"""Folk tunes and chorales, rendered for the piano."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from magenta_lite.converters.base import Report
from magenta_lite.data import rendering
from magenta_lite.data.reading import Source
from tfds_datasets.collection_builder import (
    PERFORMANCE_CONVERTERS,
    CollectionBuilder,
    CollectionConfig,
    name_of,
)


@dataclasses.dataclass
class RenderedConfig(CollectionConfig):
    """One encoding of some of the pieces.

    Attributes:
        collection: One of `magenta_lite.data.rendering.COLLECTIONS`.
    """

    collection: str = ""


def rendered_config(collection: str, converter_config: Any) -> RenderedConfig:
    """Returns the config of a collection in the given encoding; the known one if there is one.

    Raises:
        UserError: If there is no such collection.
    """
    rendering.check_collection(collection)
    name = name_of(converter_config)
    config = RenderedConfig(
        name=f"{collection}_{name}" if collection else name,
        description="Folk tunes and chorales, rendered for the piano.",
        converter=converter_config,
        collection=collection,
    )
    return Builder.builder_configs.get(config.name, config)


class Builder(CollectionBuilder):
    """Reads tunes and chorales of the installed music21 and plays each; no download."""

    DEFAULT_BUILDER_CONFIG_NAME = "performance"
    BUILDER_CONFIGS: ClassVar = [
        RenderedConfig(
            name=name,
            description=f"Encoding {name} of folk tunes and chorales for the piano.",
            converter=converter,
        )
        for name, converter in PERFORMANCE_CONVERTERS.items()
    ]

    def _sources(self, dl_manager: tfds.download.DownloadManager) -> tuple[list[Source], Report]:
        return rendering.list_pieces(self.builder_config.collection)

"""Folk tunes and chorales, arranged for a small band."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from magenta_lite.converters.base import Report
from magenta_lite.data import arranging, building
from magenta_lite.data.reading import Source
from tfds_datasets.collection_builder import (
    CONVERTERS,
    CollectionBuilder,
    CollectionConfig,
    name_of,
)

NAMES = (
    "trio_16bar",
    "drums_2bar",
    "drums_2bar_roll",
    "drums_2bar_full_roll",
    "groove_2bar",
    "groove_4bar",
    "mel_2bar_chords",
    "multiperf_1bar",
    "multiperf_1bar_chords",
)


@dataclasses.dataclass
class ArrangedConfig(CollectionConfig):
    """One encoding of some of the tunes.

    Attributes:
        collection: A key of `magenta_lite.data.arranging.COLLECTIONS`.
    """

    collection: str = ""


def arranged_config(collection: str, converter_config: Any) -> ArrangedConfig:
    """Returns the config of a collection in the given encoding; the known one if there is one.

    Raises:
        UserError: If there is no such collection.
    """
    arranging.check_collection(collection)
    name = name_of(converter_config)
    config = ArrangedConfig(
        name=f"{collection}_{name}" if collection else name,
        description="Folk tunes and chorales, arranged for a small band.",
        converter=building.stored_config(converter_config),
        collection=collection,
    )
    return Builder.builder_configs.get(config.name, config)


class Builder(CollectionBuilder):
    """Reads tunes and chorales of the installed music21 and arranges each; no download."""

    DEFAULT_BUILDER_CONFIG_NAME = "trio_16bar"
    BUILDER_CONFIGS: ClassVar = [
        ArrangedConfig(
            name=name,
            description=f"Encoding {name} of arranged folk tunes and chorales.",
            converter=CONVERTERS[name],
        )
        for name in NAMES
    ] + [
        ArrangedConfig(
            name="leads_mel_2bar_chords",
            description="Melodies and chords of folk tunes and chorales, without the band.",
            converter=CONVERTERS["mel_2bar_chords"],
            collection="leads",
        )
    ]

    def _sources(self, dl_manager: tfds.download.DownloadManager) -> tuple[list[Source], Report]:
        return arranging.list_tunes(self.builder_config.collection)

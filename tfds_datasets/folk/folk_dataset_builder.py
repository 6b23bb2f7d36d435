"""Melodies of the tune books inside music21."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from magenta_lite.converters.base import Report
from magenta_lite.data import folk
from magenta_lite.data.reading import Source
from tfds_datasets.collection_builder import (
    MELODY_CONVERTERS,
    CollectionBuilder,
    CollectionConfig,
    name_of,
)

DESCRIPTIONS = {
    "": "Fiddle tunes of Aird (1778), O'Neill (1850 tunes) and Ryan (1883).",
    "kids": "German children's songs of the Essen collection; FOR NON-COMMERCIAL USE ONLY.",
    "essen": "The Essen folk song collection; FOR NON-COMMERCIAL USE ONLY.",
}


# Where copies that were held out apart are held out together now.
VERSIONS = {"essen": "1.1.0"}


@dataclasses.dataclass
class FolkConfig(CollectionConfig):
    """One encoding of some of the books.

    Attributes:
        books: A key of `magenta_lite.data.folk.BOOKS`.
    """

    books: str = ""


def folk_config(books: str, converter_config: Any) -> FolkConfig:
    """Returns the config of `books` in the given encoding; the known one if there is one.

    Raises:
        UserError: If there are no such books.
    """
    folk.check_books(books)
    name = name_of(converter_config)
    config = FolkConfig(
        name=f"{books}_{name}" if books else name,
        description=DESCRIPTIONS[books],
        converter=converter_config,
        books=books,
        version=VERSIONS.get(books),
    )
    return Builder.builder_configs.get(config.name, config)


class Builder(CollectionBuilder):
    """Reads the books as text from the installed music21; nothing is downloaded."""

    DEFAULT_BUILDER_CONFIG_NAME = "mel_2bar"
    BUILDER_CONFIGS: ClassVar = [
        FolkConfig(
            name=f"{books}_{name}" if books else name,
            description=description,
            converter=converter,
            books=books,
            version=VERSIONS.get(books),
        )
        for books, description in DESCRIPTIONS.items()
        for name, converter in MELODY_CONVERTERS.items()
    ]

    def _sources(self, dl_manager: tfds.download.DownloadManager) -> tuple[list[Source], Report]:
        return folk.list_books(self.builder_config.books)

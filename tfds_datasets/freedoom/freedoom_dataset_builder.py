"""Bands of the free game Freedoom."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from magenta_lite.converters.base import Report
from magenta_lite.data import building, wad
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
    "multiperf_1bar",
    "mel_2bar",
    "mel_16bar",
)


@dataclasses.dataclass
class FreedoomConfig(CollectionConfig):
    """One encoding of the songs.

    Attributes:
        path: A WAD file, or a folder with some; empty: those of the installed packages.
    """

    path: str = ""


def freedoom_config(path: str, converter_config: Any) -> FreedoomConfig:
    """Returns the config of the songs in the given encoding; the known one if there is one.

    Args:
        path: A WAD file, or a folder with some; empty: those of the installed packages.
        converter_config: A converter section.

    Raises:
        UserError: If there is no WAD file.
    """
    sources, _ = wad.list_songs(path)
    name = name_of(converter_config)
    if path:
        name = f"{name}-{building.fingerprint(sources)}"
    config = FreedoomConfig(
        name=name,
        description="Windows of the songs in WAD files.",
        converter=building.stored_config(converter_config),
        path=path,
    )
    return Builder.builder_configs.get(name, config)


class Builder(CollectionBuilder):
    """Reads the MIDI lumps of the WAD files; each song once."""

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES: ClassVar = {
        "1.1.0": "Grooves are those of songs with drums.",
        "1.0.0": "First release.",
    }
    DEFAULT_BUILDER_CONFIG_NAME = "trio_16bar"
    BUILDER_CONFIGS: ClassVar = [
        FreedoomConfig(
            name=name,
            description=f"Encoding {name} of Freedoom's songs.",
            converter=CONVERTERS[name],
        )
        for name in NAMES
    ]

    def _sources(self, dl_manager: tfds.download.DownloadManager) -> tuple[list[Source], Report]:
        return wad.list_songs(self.builder_config.path)

"""Music of a folder of the user."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from magenta_lite.converters.base import Report
from magenta_lite.data import building, reading
from magenta_lite.data.reading import Source
from tfds_datasets.collection_builder import (
    CONVERTERS,
    CollectionBuilder,
    CollectionConfig,
    name_of,
)


@dataclasses.dataclass
class FolderConfig(CollectionConfig):
    """One encoding of one folder.

    Attributes:
        folder: A folder, archive or file; empty: TFDS's folder of manual downloads.
    """

    folder: str = ""


def folder_config(folder: str, converter_config: Any) -> FolderConfig:
    """Returns the config of `folder` as it is now: a change in it gives another name."""
    sources, _ = reading.list_sources(folder)
    return FolderConfig(
        name=f"{name_of(converter_config)}-{building.fingerprint(sources)}",
        description="Windows of the music in one folder.",
        converter=converter_config,
        folder=folder,
    )


class Builder(CollectionBuilder):
    """Reads every music file below the folder, inside zip and tar archives too."""

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES: ClassVar = {
        "1.1.0": "Copies are held out together; few pieces hold out fewer.",
        "1.0.0": "First release.",
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Give the folder that holds your MIDI, ABC, MusicXML or NoteSequence TFRecord files, "
        "e.g. `tfds build --manual_dir=my_midi`."
    )
    DEFAULT_BUILDER_CONFIG_NAME = "mel_2bar"
    BUILDER_CONFIGS: ClassVar = [
        FolderConfig(name=name, description=f"Encoding {name} of one folder.", converter=converter)
        for name, converter in CONVERTERS.items()
    ]

    def _sources(self, dl_manager: tfds.download.DownloadManager) -> tuple[list[Source], Report]:
        return reading.list_sources(self.builder_config.folder or str(dl_manager.manual_dir))

"""Sound of a folder of the user."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from magenta_lite.converters.base import Report
from magenta_lite.data import audio, building
from magenta_lite.data.reading import Source
from tfds_datasets.collection_builder import (
    AUDIO_CONVERTERS,
    CollectionBuilder,
    CollectionConfig,
    name_of,
)


@dataclasses.dataclass
class SoundFolderConfig(CollectionConfig):
    """One encoding of one folder.

    Attributes:
        folder: A folder or a file; empty: TFDS's folder of manual downloads.
    """

    folder: str = ""


def sound_folder_config(folder: str, converter_config: Any) -> SoundFolderConfig:
    """Returns the config of `folder` as it is now: a change in it gives another name."""
    sources, _ = audio.list_sounds(folder)
    labels = repr([source.labels for source in sources])
    return SoundFolderConfig(
        name=f"{name_of(converter_config)}-{building.fingerprint(sources, labels)}",
        description="Clips of the sound in one folder.",
        converter=converter_config,
        folder=folder,
    )


class Builder(CollectionBuilder):
    """Reads every sound file below the folder, and its labels."""

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES: ClassVar = {
        "1.1.0": "Copies are held out together; few pieces hold out fewer.",
        "1.0.0": "First release.",
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Give the folder that holds your WAV, FLAC, OGG, Opus, MP3 or AIFF files, "
        "e.g. `tfds build --manual_dir=my_sound`."
    )
    DEFAULT_BUILDER_CONFIG_NAME = "mono_16khz"
    BUILDER_CONFIGS: ClassVar = [
        SoundFolderConfig(
            name=name, description=f"Encoding {name} of a folder.", converter=converter
        )
        for name, converter in AUDIO_CONVERTERS.items()
    ]

    def _sources(self, dl_manager: tfds.download.DownloadManager) -> tuple[list[Source], Report]:
        return audio.list_sounds(self.builder_config.folder or str(dl_manager.manual_dir))

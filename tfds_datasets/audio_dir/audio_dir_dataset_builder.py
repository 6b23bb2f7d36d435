"""Sound files in a user's folder."""

from __future__ import annotations

from typing import ClassVar

import tensorflow_datasets as tfds

from magenta_lite.data.specs import DATASETS
from tfds_datasets.collection_builder import CollectionBuilder


class Builder(CollectionBuilder):
    """Reads all sound files below the folder, with their labels."""

    SPEC = DATASETS["audio_dir"]
    VERSION = tfds.core.Version("1.2.0")
    RELEASE_NOTES: ClassVar = {
        "1.2.0": "Splits are filled by windows.",
        "1.1.0": "Copies are held out together; few pieces hold out fewer.",
        "1.0.0": "First release.",
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Give the folder that holds your WAV, FLAC, OGG, Opus, MP3 or AIFF files, "
        "e.g. `tfds build --manual_dir=my_sound`."
    )

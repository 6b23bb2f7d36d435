"""Drums of the Groove MIDI Dataset."""

from __future__ import annotations

from typing import ClassVar

import tensorflow_datasets as tfds

from magenta_lite.data.specs import DATASETS
from tfds_datasets.collection_builder import CollectionBuilder


class Builder(CollectionBuilder):
    """Reads all recordings, with the splits of `info.csv`."""

    SPEC = DATASETS["groove_midi"]
    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES: ClassVar = {
        "1.1.0": "A take with a missing note-off is read as it was played.",
        "1.0.0": "First release.",
    }
    DEFAULT_BUILDER_CONFIG_NAME = "groove_2bar"

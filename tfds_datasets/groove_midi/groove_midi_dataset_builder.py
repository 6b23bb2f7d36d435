"""Drums of the Groove MIDI Dataset."""

from __future__ import annotations

from magenta_lite.data.specs import DATASETS
from tfds_datasets.collection_builder import CollectionBuilder


class Builder(CollectionBuilder):
    """Reads all recordings, with the splits of `info.csv`."""

    SPEC = DATASETS["groove_midi"]
    DEFAULT_BUILDER_CONFIG_NAME = "groove_2bar"

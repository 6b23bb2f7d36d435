"""Voices of Bach's chorales."""

from __future__ import annotations

from magenta_lite.data.specs import DATASETS
from tfds_datasets.collection_builder import CollectionBuilder


class Builder(CollectionBuilder):
    """Reads scores of music21's corpus; nothing is downloaded."""

    SPEC = DATASETS["bach_chorales"]

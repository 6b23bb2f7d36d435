"""Voices of Bach's chorales."""

from __future__ import annotations

from magenta_lite.data.specs import DATASETS
from tfds_datasets.collection_builder import CollectionBuilder


class Builder(CollectionBuilder):
    """Reads the scores of the installed music21; nothing is downloaded."""

    SPEC = DATASETS["bach_chorales"]

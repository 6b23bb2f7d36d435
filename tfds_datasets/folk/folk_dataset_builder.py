"""Melodies of the tune books in music21's corpus."""

from __future__ import annotations

from magenta_lite.data.specs import DATASETS
from tfds_datasets.collection_builder import CollectionBuilder


class Builder(CollectionBuilder):
    """Reads the books of music21's corpus as text; nothing is downloaded."""

    SPEC = DATASETS["folk"]

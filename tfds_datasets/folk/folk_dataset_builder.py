"""Melodies of the tune books inside music21."""

from __future__ import annotations

from magenta_lite.data.specs import DATASETS
from tfds_datasets.collection_builder import CollectionBuilder


class Builder(CollectionBuilder):
    """Reads the books as text from the installed music21; nothing is downloaded."""

    SPEC = DATASETS["folk"]

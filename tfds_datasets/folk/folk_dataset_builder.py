"""Melodies of the tune books in music21's corpus."""

from __future__ import annotations

from typing import ClassVar

import tensorflow_datasets as tfds

from magenta_lite.data.specs import DATASETS
from tfds_datasets.collection_builder import CollectionBuilder


class Builder(CollectionBuilder):
    """Reads the books of music21's corpus as text; nothing is downloaded."""

    SPEC = DATASETS["folk"]
    VERSION = tfds.core.Version("1.2.0")
    RELEASE_NOTES: ClassVar = {
        "1.2.0": "Related pieces are in the same split; splits are filled by windows.",
        "1.1.0": "Repeats, tempos and overlays are read as abc2midi plays them.",
        "1.0.0": "First release.",
    }

"""Folk tunes and chorales, arranged for a small band."""

from __future__ import annotations

from magenta_lite.data.specs import DATASETS
from tfds_datasets.collection_builder import CollectionBuilder


class Builder(CollectionBuilder):
    """Arranges tunes and chorales of music21's corpus; nothing is downloaded."""

    SPEC = DATASETS["arranged"]

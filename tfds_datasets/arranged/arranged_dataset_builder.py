"""Folk tunes and chorales, arranged for a small band."""

from __future__ import annotations

from magenta_lite.data.specs import DATASETS
from tfds_datasets.collection_builder import CollectionBuilder


class Builder(CollectionBuilder):
    """Reads tunes and chorales of the installed music21 and arranges each; no download."""

    SPEC = DATASETS["arranged"]

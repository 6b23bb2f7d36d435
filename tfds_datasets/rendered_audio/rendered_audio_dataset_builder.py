"""Folk tunes and chorales as sound."""

from __future__ import annotations

from magenta_lite.data.specs import DATASETS
from tfds_datasets.collection_builder import CollectionBuilder


class Builder(CollectionBuilder):
    """Reads tunes and chorales of the installed music21 and makes them sound; no download."""

    SPEC = DATASETS["rendered_audio"]

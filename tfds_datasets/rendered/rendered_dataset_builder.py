"""Folk tunes and chorales, rendered for the piano."""

from __future__ import annotations

from magenta_lite.data.specs import DATASETS
from tfds_datasets.collection_builder import CollectionBuilder


class Builder(CollectionBuilder):
    """Reads tunes and chorales of the installed music21 and plays each; no download."""

    SPEC = DATASETS["rendered"]

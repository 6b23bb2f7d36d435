"""JSB Chorales on a grid of sixteenths."""

from __future__ import annotations

from magenta_lite.data.specs import DATASETS
from tfds_datasets.collection_builder import CollectionBuilder


class Builder(CollectionBuilder):
    """Reads the published file, with its splits."""

    SPEC = DATASETS["jsb_chorales"]

"""Piano performances of MAESTRO in MIDI format."""

from __future__ import annotations

from magenta_lite.data.specs import DATASETS
from tfds_datasets.collection_builder import CollectionBuilder


class Builder(CollectionBuilder):
    """Reads all performances, with the splits of `maestro-v3.0.0.csv`."""

    SPEC = DATASETS["maestro_midi"]

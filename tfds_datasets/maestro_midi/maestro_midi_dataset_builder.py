"""Piano performances of MAESTRO, its MIDI part."""

from __future__ import annotations

from magenta_lite.data.specs import DATASETS
from tfds_datasets.collection_builder import CollectionBuilder


class Builder(CollectionBuilder):
    """Reads every performance; the splits are those of `maestro-v3.0.0.csv`."""

    SPEC = DATASETS["maestro_midi"]

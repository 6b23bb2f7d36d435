"""Songs of the free game Freedoom."""

from __future__ import annotations

from typing import ClassVar

import tensorflow_datasets as tfds

from magenta_lite.data.specs import DATASETS
from tfds_datasets.collection_builder import CollectionBuilder


class Builder(CollectionBuilder):
    """Reads the distinct MIDI lumps of the WAD files."""

    SPEC = DATASETS["freedoom"]
    VERSION = tfds.core.Version("1.3.0")
    RELEASE_NOTES: ClassVar = {
        "1.3.0": "Related pieces are in the same split; splits are filled by windows.",
        "1.2.0": "Changes of tempo do not split songs; pedals belong to their channel.",
        "1.1.0": "Grooves are those of songs with drums.",
        "1.0.0": "First release.",
    }

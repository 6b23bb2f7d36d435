"""Folk tunes and chorales, rendered for the piano."""

from __future__ import annotations

from typing import ClassVar

import tensorflow_datasets as tfds

from magenta_lite.data.specs import DATASETS
from tfds_datasets.collection_builder import CollectionBuilder


class Builder(CollectionBuilder):
    """Renders tunes and chorales of music21's corpus; nothing is downloaded."""

    SPEC = DATASETS["rendered"]
    VERSION = tfds.core.Version("1.2.0")
    RELEASE_NOTES: ClassVar = {
        "1.2.0": "Related pieces are in the same split; splits are filled by windows.",
        "1.1.0": "Tunes and chorales are read as they sound: ties, repeats, tempos.",
        "1.0.0": "First release.",
    }

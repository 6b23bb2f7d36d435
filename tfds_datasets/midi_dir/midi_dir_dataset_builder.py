"""Music files in a user's folder."""

from __future__ import annotations

from typing import ClassVar

import tensorflow_datasets as tfds

from magenta_lite.data.specs import DATASETS
from tfds_datasets.collection_builder import CollectionBuilder


class Builder(CollectionBuilder):
    """Reads all music files below the folder, including those in zip and tar archives."""

    SPEC = DATASETS["midi_dir"]
    VERSION = tfds.core.Version("1.3.0")
    RELEASE_NOTES: ClassVar = {
        "1.3.0": "Related pieces are in the same split; splits are filled by windows.",
        "1.2.0": "MusicXML, ABC and MIDI are read as they sound; changes of tempo do not split.",
        "1.1.0": "Copies are held out together; few pieces hold out fewer.",
        "1.0.0": "First release.",
    }
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Give the folder that holds your MIDI, ABC, MusicXML or NoteSequence TFRecord files, "
        "e.g. `tfds build --manual_dir=my_midi`."
    )

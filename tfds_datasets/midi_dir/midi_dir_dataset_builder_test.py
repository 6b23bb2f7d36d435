"""The midi_dir builder on a dummy folder, through TFDS's own test case."""

from __future__ import annotations

from typing import ClassVar

from tfds_datasets import testing
from tfds_datasets.midi_dir import midi_dir_dataset_builder


class MidiDirTest(testing.CollectionTestCase):
    DATASET_CLASS = midi_dir_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["mel_2bar"]

    def setUp(self):
        super().setUp()
        assert sum(self.SPLITS.values()) > 10, self.SPLITS

    def source(self, config) -> str:
        return str(self.dummy_data)

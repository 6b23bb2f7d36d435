"""The midi_dir builder on a dummy folder, through TFDS's own test case."""

from __future__ import annotations

from typing import ClassVar

import tensorflow_datasets as tfds

from magenta_lite.data import building, listing
from tfds_datasets.midi_dir import midi_dir_dataset_builder


class MidiDirTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = midi_dir_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["mel_2bar"]

    def setUp(self):
        super().setUp()
        # What is written must be what reading and splitting, without TFDS, gives.
        converter = self.DATASET_CLASS.builder_configs["mel_2bar"].converter
        sizes = building.build(*listing.list_sources(str(self.dummy_data)), converter).sizes
        self.SPLITS = {split: n for split, n in sizes.items() if n}
        assert sum(sizes.values()) > 10, sizes


if __name__ == "__main__":
    tfds.testing.test_main()

"""The midi_dir builder on a dummy folder, through TFDS's own test case."""

from __future__ import annotations

from typing import ClassVar

import tensorflow_datasets as tfds

from tfds_datasets.midi_dir import midi_dir_dataset_builder


class MidiDirTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = midi_dir_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["mel_2bar"]
    SPLITS: ClassVar = {"train": 1, "validation": 1, "test": 1}


if __name__ == "__main__":
    tfds.testing.test_main()

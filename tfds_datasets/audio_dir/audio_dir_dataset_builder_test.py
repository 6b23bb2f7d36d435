"""The audio_dir builder on a dummy folder, through TFDS's own test case."""

from __future__ import annotations

from typing import ClassVar

import tensorflow_datasets as tfds

from magenta_lite.data import audio, building
from tfds_datasets.audio_dir import audio_dir_dataset_builder


class AudioDirTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = audio_dir_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["mono_16khz"]

    def setUp(self):
        super().setUp()
        # The built splits must match reading and splitting without TFDS.
        converter = self.DATASET_CLASS.builder_configs["mono_16khz"].converter
        windows = building.build(*audio.list_sounds(self.dummy_data), converter)
        self.SPLITS = {split: n for split, n in windows.sizes.items() if n}
        assert sum(self.SPLITS.values()) == 8, windows.report.table()
        assert windows.report.kept["pieces"] == 8, windows.report.table()


if __name__ == "__main__":
    tfds.testing.test_main()

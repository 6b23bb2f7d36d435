"""The audio_dir builder on a dummy folder, through TFDS's own test case."""

from __future__ import annotations

from typing import ClassVar

from tfds_datasets import testing
from tfds_datasets.audio_dir import audio_dir_dataset_builder


class AudioDirTest(testing.CollectionTestCase):
    DATASET_CLASS = audio_dir_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["mono_16khz"]

    def setUp(self):
        super().setUp()
        assert sum(self.SPLITS.values()) == 8, self.windows.report.table()
        assert self.windows.report.kept["pieces"] == 8, self.windows.report.table()

    def source(self, config) -> str:
        return str(self.dummy_data)

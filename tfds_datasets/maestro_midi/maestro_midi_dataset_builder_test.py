"""The maestro_midi builder on dummy performances, through TFDS's own test case."""

from __future__ import annotations

from typing import ClassVar

from tfds_datasets import testing
from tfds_datasets.maestro_midi import maestro_midi_dataset_builder


class PerformanceTest(testing.CollectionTestCase):
    DATASET_CLASS = maestro_midi_dataset_builder.Builder
    DL_DOWNLOAD_RESULT = "maestro-v3.0.0"
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["performance"]

    def setUp(self):
        super().setUp()
        # Five stretches of three performances.
        assert self.SPLITS == {"train": 15, "validation": 1, "test": 2}

    def source(self, config) -> str:
        return str(self.dummy_data / "maestro-v3.0.0")


class PerformanceEndTest(PerformanceTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["performance_end"]

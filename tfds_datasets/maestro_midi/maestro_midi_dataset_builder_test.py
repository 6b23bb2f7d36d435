"""The maestro_midi builder on dummy performances, through TFDS's own test case."""

from __future__ import annotations

from typing import ClassVar

import tensorflow_datasets as tfds

from magenta_lite.data import building, maestro
from tfds_datasets.maestro_midi import maestro_midi_dataset_builder


class _MaestroMidiTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = maestro_midi_dataset_builder.Builder
    DL_DOWNLOAD_RESULT = "maestro-v3.0.0"

    def setUp(self):
        super().setUp()
        # The built splits must match reading and encoding without TFDS.
        config = self.DATASET_CLASS.builder_configs[self.BUILDER_CONFIG_NAMES_TO_TEST[0]]
        performances = maestro.list_performances(str(self.dummy_data / "maestro-v3.0.0"))
        self.SPLITS = building.build(*performances, config.converter).sizes
        assert self.SPLITS == {
            "train": 15,
            "validation": 1,
            "test": 2,
        }  # five stretches of three performances


class PerformanceTest(_MaestroMidiTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["performance"]


class PerformanceEndTest(_MaestroMidiTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["performance_end"]


del _MaestroMidiTest

if __name__ == "__main__":
    tfds.testing.test_main()

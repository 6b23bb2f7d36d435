"""The groove_midi builder on dummy takes, through TFDS's own test case."""

from __future__ import annotations

from typing import ClassVar

import tensorflow_datasets as tfds

from magenta_lite.data import building, groove_midi
from tfds_datasets.groove_midi import groove_midi_dataset_builder


class _GrooveMidiTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = groove_midi_dataset_builder.Builder
    DL_DOWNLOAD_RESULT = "groove"

    def setUp(self):
        super().setUp()
        # The built splits must match reading and encoding without TFDS.
        config = self.DATASET_CLASS.builder_configs[self.BUILDER_CONFIG_NAMES_TO_TEST[0]]
        takes = groove_midi.list_grooves(str(self.dummy_data / "groove"))
        self.SPLITS = building.build(*takes, config.converter).sizes
        assert all(self.SPLITS.values()), self.SPLITS


class GrooveTest(_GrooveMidiTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["groove_2bar"]


class DrumsTest(_GrooveMidiTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["drums_2bar"]


class FullRollTest(_GrooveMidiTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["drums_2bar_full_roll"]


del _GrooveMidiTest

if __name__ == "__main__":
    tfds.testing.test_main()

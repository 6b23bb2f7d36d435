"""The groove_midi builder on dummy takes, through TFDS's own test case."""

from __future__ import annotations

from typing import ClassVar

from tfds_datasets import testing
from tfds_datasets.groove_midi import groove_midi_dataset_builder


class _GrooveMidiTest(testing.CollectionTestCase):
    DATASET_CLASS = groove_midi_dataset_builder.Builder
    DL_DOWNLOAD_RESULT = "groove"

    def setUp(self):
        super().setUp()
        assert len(self.SPLITS) == 3, self.SPLITS

    def source(self, config) -> str:
        return str(self.dummy_data / "groove")


class GrooveTest(_GrooveMidiTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["groove_2bar"]


class DrumsTest(_GrooveMidiTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["drums_2bar"]


class FullRollTest(_GrooveMidiTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["drums_2bar_full_roll"]


del _GrooveMidiTest

"""The chorales' builder on dummy hymns, through TFDS's own test case."""

from __future__ import annotations

from typing import ClassVar

from tfds_datasets import testing
from tfds_datasets.bach_chorales import bach_chorales_dataset_builder


class _BachChoralesTest(testing.CollectionTestCase):
    DATASET_CLASS = bach_chorales_dataset_builder.Builder

    def setUp(self):
        super().setUp()
        assert len(self.SPLITS) > 1, self.windows.report.table()


class BachChoralesMelodyTest(_BachChoralesTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["event_melody"]

    def test_voices_are_melodies_of_their_own(self):
        # Only the sopranos of the dummy hymns have the five pitches that a melody needs.
        assert sum(self.windows.sizes.values()) == 3
        assert self.windows.report.dropped["melody of fewer than 5 pitches"] == 9


class BachChoralesLoopTest(_BachChoralesTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["mel_2bar"]


del _BachChoralesTest

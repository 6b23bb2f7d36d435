"""The arranged builder on dummy books and hymns, through TFDS's own test case."""

from __future__ import annotations

from typing import ClassVar

from tfds_datasets import testing
from tfds_datasets.arranged import arranged_dataset_builder


class _ArrangedTest(testing.CollectionTestCase):
    DATASET_CLASS = arranged_dataset_builder.Builder

    def setUp(self):
        super().setUp()
        assert len(self.SPLITS) > 1, self.windows.report.table()
        assert self.windows.report.kept["arrangements"] == 14, self.windows.report.table()


class ArrangedTrioTest(_ArrangedTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["trio_16bar"]

    def test_a_collection_gives_a_name_of_its_own(self):
        config = self.DATASET_CLASS.builder_configs["trio_16bar"]
        assert self.DATASET_CLASS.config_for("", config.converter) is config
        chorales = self.DATASET_CLASS.config_for("chorales", config.converter)
        assert chorales.name == "chorales_trio_16bar"
        assert chorales.argument == "chorales"


class ArrangedDrumsTest(_ArrangedTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["drums_2bar_full_roll"]


class ArrangedGrooveTest(_ArrangedTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["groove_4bar"]


class ArrangedChordsTest(_ArrangedTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["mel_2bar_chords"]


class ArrangedMultiperfTest(_ArrangedTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["multiperf_1bar_chords"]


del _ArrangedTest

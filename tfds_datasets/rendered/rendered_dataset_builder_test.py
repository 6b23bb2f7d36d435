"""The rendered builder on dummy books and hymns, through TFDS's own test case."""

from __future__ import annotations

from typing import ClassVar

from tfds_datasets import testing
from tfds_datasets.rendered import rendered_dataset_builder


class RenderedTest(testing.CollectionTestCase):
    DATASET_CLASS = rendered_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["performance"]

    def setUp(self):
        super().setUp()
        assert len(self.SPLITS) == 3, self.windows.report.table()
        assert self.windows.report.kept["performances"] == 10, self.windows.report.table()

    def test_a_collection_gives_a_name_of_its_own(self):
        config = self.DATASET_CLASS.builder_configs["performance"]
        assert self.DATASET_CLASS.config_for("", config.converter) is config
        chorales = self.DATASET_CLASS.config_for("chorales", config.converter)
        assert (chorales.name, chorales.argument) == ("chorales_performance", "chorales")

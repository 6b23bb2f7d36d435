"""The rendered builder on dummy books and hymns, through TFDS's own test case."""

from __future__ import annotations

from unittest import mock

import tensorflow_datasets as tfds

from magenta_lite.data import building, folk
from magenta_lite.data.synthetic import rendering
from tfds_datasets.rendered import rendered_dataset_builder


class RenderedTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = rendered_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["performance"]  # noqa: RUF012

    def setUp(self):
        super().setUp()
        patcher = mock.patch.object(folk, "corpus_folder", lambda: self.dummy_data)
        patcher.start()
        self.addCleanup(patcher.stop)
        # What is written must be what reading and splitting, without TFDS, gives.
        config = self.DATASET_CLASS.builder_configs["performance"]
        windows = building.build(*rendering.list_pieces(), config.converter)
        self.SPLITS = {split: n for split, n in windows.sizes.items() if n}
        assert len(self.SPLITS) == 3, windows.report.table()
        assert windows.report.kept["performances"] == 10, windows.report.table()

    def test_a_collection_gives_a_name_of_its_own(self):
        config = self.DATASET_CLASS.builder_configs["performance"]
        assert self.DATASET_CLASS.config_for("", config.converter) is config
        chorales = self.DATASET_CLASS.config_for("chorales", config.converter)
        assert (chorales.name, chorales.argument) == ("chorales_performance", "chorales")


if __name__ == "__main__":
    tfds.testing.test_main()

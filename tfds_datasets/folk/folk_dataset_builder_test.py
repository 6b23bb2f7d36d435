"""The folk builder on dummy books, through TFDS's own test case."""

from __future__ import annotations

from typing import ClassVar
from unittest import mock

import tensorflow_datasets as tfds

from magenta_lite.data import building, folk
from tfds_datasets.folk import folk_dataset_builder


class _FolkTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = folk_dataset_builder.Builder

    def setUp(self):
        super().setUp()
        patcher = mock.patch.object(folk, "corpus_folder", lambda: self.dummy_data)
        patcher.start()
        self.addCleanup(patcher.stop)
        # The built splits must match reading and splitting without TFDS.
        config = self.DATASET_CLASS.builder_configs[self.BUILDER_CONFIG_NAMES_TO_TEST[0]]
        sizes = building.build(*folk.list_books(config.argument), config.converter).sizes
        self.SPLITS = {split: size for split, size in sizes.items() if size}
        assert {"train", "validation"} <= self.SPLITS.keys(), sizes


class FolkTest(_FolkTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["mel_2bar"]

    def test_plain_configs_read_no_book_for_non_commercial_use(self):
        for config in folk_dataset_builder.Builder.BUILDER_CONFIGS:
            restricted = any("essen" in book for book in folk.BOOKS[config.argument])
            assert restricted == ("NON-COMMERCIAL" in config.description), config.name
            assert restricted == config.name.startswith(("essen_", "kids_")), config.name


class FolkKidsTest(_FolkTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["kids_mel_2bar"]


class FolkWholeTest(_FolkTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["mel_whole"]


del _FolkTest

if __name__ == "__main__":
    tfds.testing.test_main()

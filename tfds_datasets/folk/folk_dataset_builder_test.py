"""The folk builder on dummy books, through TFDS's own test case."""

from __future__ import annotations

from typing import ClassVar

from magenta_lite.data import folk
from tfds_datasets import testing
from tfds_datasets.folk import folk_dataset_builder


class FolkTest(testing.CollectionTestCase):
    DATASET_CLASS = folk_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["mel_2bar"]

    def setUp(self):
        super().setUp()
        assert {"train", "validation"} <= self.SPLITS.keys(), self.SPLITS

    def test_plain_configs_read_no_book_for_non_commercial_use(self):
        for config in folk_dataset_builder.Builder.BUILDER_CONFIGS:
            restricted = any("essen" in book for book in folk.BOOKS[config.argument])
            assert restricted == ("NON-COMMERCIAL" in config.description), config.name
            assert restricted == config.name.startswith(("essen_", "kids_")), config.name


class FolkKidsTest(FolkTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["kids_mel_2bar"]


class FolkWholeTest(FolkTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["mel_whole"]

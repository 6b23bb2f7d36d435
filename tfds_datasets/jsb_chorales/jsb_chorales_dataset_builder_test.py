"""The jsb_chorales builder on dummy chorales, through TFDS's own test case."""

from __future__ import annotations

import tensorflow_datasets as tfds

from tfds_datasets.jsb_chorales import jsb_chorales_dataset_builder


class JsbChoralesTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = jsb_chorales_dataset_builder.Builder
    DL_DOWNLOAD_RESULT = "Jsb16thSeparated.json"
    SPLITS = {"train": 3, "validation": 1, "test": 2}  # noqa: RUF012

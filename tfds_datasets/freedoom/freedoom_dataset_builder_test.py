"""The freedoom builder on dummy WAD files, through TFDS's own test case."""

from __future__ import annotations

from typing import ClassVar
from unittest import mock

import tensorflow_datasets as tfds

from magenta_lite.data import building, wad
from tfds_datasets.freedoom import freedoom_dataset_builder


class _FreedoomTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = freedoom_dataset_builder.Builder

    def setUp(self):
        super().setUp()
        patcher = mock.patch.object(wad, "INSTALLED_FOLDER", self.dummy_data)
        patcher.start()
        self.addCleanup(patcher.stop)
        # The built splits must match reading and splitting without TFDS.
        config = self.DATASET_CLASS.builder_configs[self.BUILDER_CONFIG_NAMES_TO_TEST[0]]
        windows = building.build(*wad.list_songs(), config.converter)
        self.SPLITS = {split: n for split, n in windows.sizes.items() if n}
        assert len(self.SPLITS) > 1, windows.report.table()
        assert windows.report.dropped["same song again"] == 1


class FreedoomTrioTest(_FreedoomTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["trio_16bar"]

    def test_a_path_gives_a_name_of_its_own(self):
        config = self.DATASET_CLASS.builder_configs["trio_16bar"]
        installed = self.DATASET_CLASS.config_for("", config.converter)
        assert installed is config
        copy = self.DATASET_CLASS.config_for(str(self.dummy_data), config.converter)
        assert copy.name.startswith("trio_16bar-")


class FreedoomDrumsTest(_FreedoomTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["drums_2bar"]


class FreedoomGrooveTest(_FreedoomTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["groove_2bar"]


class FreedoomMultiperfTest(_FreedoomTest):
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["multiperf_1bar"]


del _FreedoomTest

if __name__ == "__main__":
    tfds.testing.test_main()

"""The freedoom builder on dummy WAD files, through TFDS's own test case."""

from __future__ import annotations

from typing import ClassVar

from magenta_lite.data import wad
from tfds_datasets import testing
from tfds_datasets.freedoom import freedoom_dataset_builder


class _FreedoomTest(testing.CollectionTestCase):
    DATASET_CLASS = freedoom_dataset_builder.Builder

    def setUp(self):
        self.replace(wad, "INSTALLED_FOLDER", self.dummy_data)
        super().setUp()
        assert len(self.SPLITS) > 1, self.windows.report.table()
        assert self.windows.report.dropped["same song again"] == 1


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

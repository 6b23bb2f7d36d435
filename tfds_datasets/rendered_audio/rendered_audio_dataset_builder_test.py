"""The rendered_audio builder on dummy books and hymns, through TFDS's own test case."""

from __future__ import annotations

from unittest import mock

import tensorflow_datasets as tfds

from magenta_lite.data import building, folk
from magenta_lite.data.synthetic import sounding
from tfds_datasets.rendered_audio import rendered_audio_dataset_builder


class RenderedAudioTest(tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = rendered_audio_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST = ["mono_16khz"]  # noqa: RUF012

    def setUp(self):
        super().setUp()
        patcher = mock.patch.object(folk, "corpus_folder", lambda: self.dummy_data)
        patcher.start()
        self.addCleanup(patcher.stop)
        # What is written must be what reading and splitting, without TFDS, gives.
        config = self.DATASET_CLASS.builder_configs["mono_16khz"]
        windows = building.build(*sounding.list_pieces(), config.converter)
        self.SPLITS = {split: n for split, n in windows.sizes.items() if n}
        assert len(self.SPLITS) == 3, windows.report.table()
        assert windows.report.kept["pieces"] == 8, windows.report.table()

    def test_a_collection_gives_a_name_of_its_own(self):
        config = self.DATASET_CLASS.builder_configs["mono_16khz"]
        named = self.DATASET_CLASS.config_for
        assert named("", config.converter) is config
        chorales = named("chorales", config.converter)
        assert (chorales.name, chorales.argument) == ("chorales_mono_16khz", "chorales")


if __name__ == "__main__":
    tfds.testing.test_main()

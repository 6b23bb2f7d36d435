"""The rendered_audio builder on dummy books and hymns, through TFDS's own test case."""

from __future__ import annotations

from typing import ClassVar

from tfds_datasets import testing
from tfds_datasets.rendered_audio import rendered_audio_dataset_builder


class RenderedAudioTest(testing.CollectionTestCase):
    DATASET_CLASS = rendered_audio_dataset_builder.Builder
    BUILDER_CONFIG_NAMES_TO_TEST: ClassVar = ["mono_16khz"]

    def setUp(self):
        super().setUp()
        assert len(self.SPLITS) == 3, self.windows.report.table()
        assert self.windows.report.kept["pieces"] == 8, self.windows.report.table()

    def test_a_collection_gives_a_name_of_its_own(self):
        config = self.DATASET_CLASS.builder_configs["mono_16khz"]
        named = self.DATASET_CLASS.config_for
        assert named("", config.converter) is config
        chorales = named("chorales", config.converter)
        assert (chorales.name, chorales.argument) == ("chorales_mono_16khz", "chorales")

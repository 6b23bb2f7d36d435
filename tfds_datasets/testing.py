"""The base class of the builders' tests."""

from __future__ import annotations

from typing import Any, ClassVar
from unittest import mock

import tensorflow_datasets as tfds

from magenta_lite.data import building, folk


class CollectionTestCase(tfds.testing.DatasetBuilderTestCase):
    """TFDS's own test case, on the dummy data that stand for music21's corpus.

    The built splits must match reading and splitting without TFDS. `self.windows` are the windows
    that result from the latter.
    """

    DATASET_CLASS: ClassVar[Any] = None
    windows: ClassVar[building.Windows]

    def setUp(self):
        super().setUp()
        self.replace(folk, "corpus_folder", lambda: self.dummy_data)
        config = self.DATASET_CLASS.builder_configs[self.BUILDER_CONFIG_NAMES_TO_TEST[0]]
        if "windows" not in vars(type(self)):  # built once for all tests of a class
            sources = self.DATASET_CLASS.SPEC.list_sources(self.source(config))
            type(self).windows = building.build(*sources, config.converter)
        self.SPLITS = {split: size for split, size in self.windows.sizes.items() if size}

    def source(self, config) -> str:
        """Returns the argument that selects the dummy data of a config."""
        return config.argument

    def replace(self, module: Any, name: str, value: Any) -> None:
        """Replaces an attribute of a module during the test."""
        patcher = mock.patch.object(module, name, value)
        patcher.start()
        self.addCleanup(patcher.stop)

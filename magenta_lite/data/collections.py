"""A built data set: its examples as arrays, and its metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from magenta_lite.converters.base import Report
from magenta_lite.data import rows, stored
from magenta_lite.data.splitting import SPLITS
from magenta_lite.errors import unknown_name
from magenta_lite.modeling.examples import Examples


class Collection:
    """A built data set.

    Args:
        builder: A prepared TFDS builder.
    """

    def __init__(self, builder: Any):
        self._builder = builder
        metadata = dict(builder.info.metadata or {})
        self.name: str = builder.info.full_name
        self.converter: dict[str, Any] | None = stored.recorded_converter(metadata)
        report = metadata.get("report")
        self.report: Report = Report.from_json(report) if report else Report()
        # Metadata of each piece of sound, by its name: artist, genre, lyrics, samples.
        self.facts: dict[str, dict[str, Any]] = dict(metadata.get("pieces") or {})
        self._loaded: dict[str, Examples] = {}

    @property
    def sizes(self) -> dict[str, int]:
        """Examples of each split."""
        return {name: split.num_examples for name, split in self._builder.info.splits.items()}

    @property
    def folder(self) -> Path:
        """Folder of the data set."""
        return Path(self._builder.data_dir)

    def split(self, name: str) -> Examples:
        """Returns the examples of `train`, `validation` or `test`.

        An empty split (of a collection of one or two pieces) has N = 0. The arrays are read-only
        and memory-mapped; see `rows`.

        Raises:
            UserError: If there is no split `name`, or its arrays cannot be written.
        """
        if name not in SPLITS:
            raise unknown_name("split", name, SPLITS)
        if not self.sizes.get(name):
            return _no_examples(self._builder.info.features)
        if name not in self._loaded:
            self._loaded[name] = rows.load_split(self._builder, name)
        return self._loaded[name]


def _no_examples(features: Any) -> Examples:
    def empty(name):
        return np.zeros((0, 0, *features[name].shape[1:]), features[name].np_dtype)

    controls = empty("controls") if "controls" in features else None
    positions = np.zeros((0, 2), np.int64) if "position" in features else None
    return Examples(empty("events"), np.zeros(0, np.int32), [], controls, positions)

"""A built data set: its examples as arrays, and its metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from magenta_lite.converters.base import Report
from magenta_lite.data import stored
from magenta_lite.data.splitting import SPLITS
from magenta_lite.errors import unknown_name
from magenta_lite.modeling.examples import Examples

LOAD_BATCH = 2048
LOAD_BATCH_OF_SOUND = 64  # smaller, because rows of sound are long


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

        An empty split (of a collection of one or two pieces) has N = 0.

        Raises:
            UserError: If there is no split `name`.
        """
        if name not in SPLITS:
            raise unknown_name("split", name, SPLITS)
        if not self.sizes.get(name):
            return _no_examples(self._builder.info.features)
        if name not in self._loaded:
            self._loaded[name] = _load(self._builder, name)
        return self._loaded[name]


def _load(builder: Any, split: str) -> Examples:
    import tensorflow as tf
    import tensorflow_datasets as tfds

    features = builder.info.features
    arrays = [name for name in ("events", "controls") if name in features]
    plain = [name for name in ("piece", "position") if name in features]

    def row(example):
        steps = tf.shape(example["events"])[0]
        return {name: example[name] for name in arrays + plain} | {"length": steps}

    # Reads one file after the other, without a cache, so that the order is always the stored one.
    read = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    dataset = builder.as_dataset(split=split, read_config=read)
    dataset = dataset.map(row, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    size = LOAD_BATCH_OF_SOUND if "position" in plain else LOAD_BATCH
    batches = list(dataset.padded_batch(size).as_numpy_iterator())
    columns = {
        name: np.concatenate([batch[name] for batch in batches]) for name in ["length", *plain]
    }
    joined: dict[str, Any] = {name: _joined([batch[name] for batch in batches]) for name in arrays}
    return Examples(
        lengths=columns["length"],
        pieces=[piece.decode() for piece in columns["piece"]] if "piece" in plain else None,
        positions=columns.get("position"),
        **joined,
    )


def _joined(batches: list[np.ndarray]) -> np.ndarray:
    """Concatenates batches (N, T, ...) of different T into one zero-padded array."""
    steps = max(batch.shape[1] for batch in batches)
    joined = np.zeros((sum(map(len, batches)), steps, *batches[0].shape[2:]), batches[0].dtype)
    start = 0
    for batch in batches:
        joined[start : start + len(batch), : batch.shape[1]] = batch
        start += len(batch)
    return joined


def _no_examples(features: Any) -> Examples:
    def empty(name):
        return np.zeros((0, 0, *features[name].shape[1:]), features[name].np_dtype)

    controls = empty("controls") if "controls" in features else None
    positions = np.zeros((0, 2), np.int64) if "position" in features else None
    return Examples(empty("events"), np.zeros(0, np.int32), [], controls, positions)

"""The examples of a built data set as memory-mapped arrays.

TFDS stores each example as a record. On first use, the records of a split are copied into one file
per column (`events`, `length`, ...) in a folder beside them, and are read from there afterwards:
the memory that training needs does not depend on the size of the data set. The name of the folder
has a hash of the records' files, so that it is never used for others.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from magenta_lite.data import progress, stored
from magenta_lite.errors import UserError
from magenta_lite.files import replaced
from magenta_lite.locks import locked
from magenta_lite.modeling.examples import Examples, PieceNames, RaggedArray

LAYOUT = 1  # counts the changes of the files' layout
NAMES = "names.json"
# Records that are parsed at once, and their size; parsed as int64, they need up to 20 times that.
BATCH, BATCH_BYTES = 8192, 2**19

Columns = dict[str, tuple[np.dtype, tuple[int, ...]]]  # type and shape of one entry of each column


def load_split(builder: Any, split: str) -> Examples:
    """Returns the examples of a split that has some.

    Without write permission in the folder of the data set, temporary files are used instead.

    Args:
        builder: A prepared TFDS builder.
        split: Name of the split.

    Raises:
        UserError: If the arrays cannot be written.
    """
    paths = [Path(path) for path in builder.info.splits[split].filepaths]
    columns = _columns(builder.info.features)
    folder = paths[0].with_name(f"{stored.ROWS}{split}-{_hash_of(paths, columns)}")
    if folder.is_dir():
        return _opened(folder, columns)
    try:
        if not os.access(folder.parent, os.W_OK):
            with tempfile.TemporaryDirectory() as temporary:
                _write(builder, split, columns, Path(temporary))
                return _opened(Path(temporary), columns)  # mapped files outlive their names
        message = f"Waiting for {{holder}}, which prepares {folder.parent}"
        lock_file = folder.with_name(f".{stored.ROWS}{split}.lock")
        with locked(lock_file, message, "--data_dir", progress.say):
            if not folder.is_dir():  # made by another process in the meantime
                stored.remove_rows(folder.parent, split)
                with replaced(folder) as partial:
                    partial.mkdir()
                    _write(builder, split, columns, partial)
    except OSError as error:
        raise UserError(
            f"The examples of {folder.parent} cannot be written as arrays ({error.strerror}); "
            "free some space, or choose another --data_dir"
        ) from error
    return _opened(folder, columns)


def _columns(features: Any) -> Columns:
    """Returns the columns of a data set; `events` and `controls` have an entry for each step."""
    columns: Columns = {"length": (np.dtype(np.int32), ()), "start": (np.dtype(np.int64), ())}
    for name in ("events", "controls"):
        if name in features:
            columns[name] = (np.dtype(features[name].np_dtype), tuple(features[name].shape[1:]))
    if "piece" in features:
        columns["piece"] = (np.dtype(np.int32), ())
    if "position" in features:
        columns["position"] = (np.dtype(np.int64), (2,))
    return columns


def _hash_of(paths: list[Path], columns: Columns) -> str:
    """Returns a hash of what identifies the files of a split, and of the layout of the columns."""
    files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    types = [(name, str(dtype), shape) for name, (dtype, shape) in columns.items()]
    return hashlib.sha256(json.dumps([LAYOUT, files, types]).encode()).hexdigest()[:16]


def _opened(folder: Path, columns: Columns) -> Examples:
    def mapped(name: str) -> Any:
        dtype, shape = columns[name]
        if not (folder / name).stat().st_size:  # cannot be mapped
            return np.zeros((0, *shape), dtype)
        return np.asarray(np.memmap(folder / name, dtype, "r")).reshape(-1, *shape)

    lengths, starts = mapped("length"), mapped("start")

    def rows(name: str) -> Any:
        steps = mapped(name)
        if (lengths == lengths[0]).all():
            return steps.reshape(len(lengths), -1, *steps.shape[1:])
        return RaggedArray(steps, starts, lengths)

    pieces = None
    if "piece" in columns:
        pieces = PieceNames(json.loads((folder / NAMES).read_text("utf-8")), mapped("piece"))
    return Examples(
        events=rows("events"),
        lengths=lengths,
        pieces=pieces,
        controls=rows("controls") if "controls" in columns else None,
        positions=mapped("position") if "position" in columns else None,
    )


def _write(builder: Any, split: str, columns: Columns, folder: Path) -> None:
    """Writes the columns of a split, and the names of its pieces, into a folder."""
    size = builder.info.splits[split].num_examples
    names: dict[bytes, int] = {}
    done = steps = 0
    last = time.monotonic()
    with contextlib.ExitStack() as stack:
        files = {name: stack.enter_context((folder / name).open("wb")) for name in columns}
        for batch in _parsed(builder, split):
            values, (_, lengths) = {name: part[0] for name, part in batch.items()}, batch["events"]
            values |= {"length": lengths, "start": steps + np.cumsum(lengths) - lengths}
            if "piece" in columns:
                numbers = [names.setdefault(name, len(names)) for name in values["piece"]]
                values["piece"] = np.array(numbers)
            for name, column in values.items():
                files[name].write(np.ascontiguousarray(column, columns[name][0]).data)
            done, steps = done + len(lengths), steps + int(lengths.sum())
            if time.monotonic() - last >= progress.PROGRESS_SECONDS:
                last = time.monotonic()
                progress.say(f"Preparing {split}: {done:,} of {size:,}")
    (folder / NAMES).write_text(json.dumps([name.decode() for name in names]), "utf-8")


def _parsed(builder: Any, split: str) -> Iterator[dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Yields batches of the records of a split in the stored order.

    Each feature has its entries (S, ...) of all records, one after the other, and the number of
    entries int64 (N,) of each record.
    """
    import tensorflow as tf
    from tensorflow_datasets.core import file_adapters

    info = builder.info.splits[split]
    features = {
        name: builder.info.features[name]
        for name in ("events", "controls", "piece", "position")
        if name in builder.info.features
    }
    spec = {
        name: tf.io.RaggedFeature(_stored_type(feature), row_splits_dtype=tf.int64)
        for name, feature in features.items()
    }

    def parse(records):
        """Returns flat values and the number of them in each record, by feature."""
        parsed = tf.io.parse_example(records, spec)
        return {name: (ragged.values, ragged.row_lengths()) for name, ragged in parsed.items()}

    size = BATCH_BYTES * info.num_examples // max(info.num_bytes, 1)
    files = tf.data.Dataset.from_tensor_slices([str(path) for path in info.filepaths])
    records = files.flat_map(
        file_adapters.ADAPTER_FOR_FORMAT[builder.info.file_format].make_tf_data
    )
    batches = records.batch(min(max(size, 1), BATCH)).map(parse).prefetch(1)
    for batch in batches.as_numpy_iterator():
        yield {name: _entries(features[name], *stored) for name, stored in batch.items()}


def _stored_type(feature: Any) -> Any:
    """Returns the type that a feature has in a record: strings, int64 or float32."""
    import tensorflow as tf

    dtype = feature.get_serialized_info().np_dtype
    if dtype == np.object_:
        return tf.string
    return tf.float32 if np.issubdtype(dtype, np.floating) else tf.int64


def _entries(feature: Any, values: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the entries (S, ...) of a feature in a batch of records, and how many each has."""
    if feature.np_dtype == np.object_:  # the name of a piece
        return values, counts
    if values.dtype == np.object_:  # arrays that are encoded as bytes
        arrays = [feature.decode_example_np(value) for value in values]
        return np.concatenate(arrays), np.array([len(array) for array in arrays])
    shape = feature.shape[1:]
    return values.reshape(-1, *shape), counts // math.prod(shape)

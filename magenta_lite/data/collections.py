"""Built collections as arrays: builds on first use, loads afterwards."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import importlib.util
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from magenta_lite.config import DataConfig
from magenta_lite.data import building, folk, reading
from magenta_lite.encoders.base import Report
from magenta_lite.errors import UserError, unknown_name

LOAD_BATCH = 2048


@dataclasses.dataclass(frozen=True)
class Examples:
    """The examples of one split.

    Attributes:
        events: uint8 (N, T), rows filled up with zeros.
        lengths: int32 (N,), steps of each row.
        pieces: Name of the piece each row comes from; None if the data set does not say.
    """

    events: np.ndarray
    lengths: np.ndarray
    pieces: list[str] | None

    def __len__(self) -> int:
        return len(self.events)


class Collection:
    """One built data set.

    Args:
        builder: A TFDS builder whose data are prepared.
    """

    def __init__(self, builder: Any):
        self._builder = builder
        metadata = dict(builder.info.metadata or {})
        self.name: str = builder.info.full_name
        self.encoder: dict[str, Any] | None = metadata.get("encoder")
        report = metadata.get("report")
        self.report: Report = Report.from_json(report) if report else Report()
        self._loaded: dict[str, Examples] = {}

    @property
    def sizes(self) -> dict[str, int]:
        """Examples of each split."""
        return {name: split.num_examples for name, split in self._builder.info.splits.items()}

    @property
    def folder(self) -> Path:
        """Where the data set is on disk."""
        return Path(self._builder.data_dir)

    def split(self, name: str) -> Examples:
        """Returns the examples of `train`, `validation` or `test`.

        A split that holds nothing (a collection of one or two pieces) gives N = 0.

        Raises:
            UserError: If `name` is no split.
        """
        if name not in building.SPLITS:
            raise unknown_name("split", name, building.SPLITS)
        if not self.sizes.get(name):
            return Examples(np.zeros((0, 0), np.uint8), np.zeros(0, np.int32), [])
        if name not in self._loaded:
            self._loaded[name] = _load(self._builder, name)
        return self._loaded[name]


def open_collection(
    data: DataConfig, encoder_config: Any, data_dir: str | None = None
) -> Collection:
    """Returns the collection that `data.source` names, in the given encoding; builds it if needed.

    Args:
        data: `source` is `folk`, `folk:kids`, `folk:essen`, a folder, archive or file, or
            `tfds:NAME[/CONFIG]`.
        encoder_config: An encoder section, e.g. `MelodyEncoderConfig`.
        data_dir: Where built data sets are kept. Default: TFDS's own, `~/tensorflow_datasets`.

    Raises:
        UserError: If the source does not exist or gives nothing to train on; then with the report.
    """
    source = data.source
    data_dir = str(Path(data_dir).expanduser()) if data_dir else None
    if source.startswith("tfds:"):
        return _open_tfds(source.removeprefix("tfds:"), encoder_config, data_dir)
    if is_folk(source):
        from tfds_datasets.folk import folk_dataset_builder as module

        config = module.folk_config(folk.books_of(source), encoder_config)
    else:
        from tfds_datasets.midi_dir import midi_dir_dataset_builder as module

        config = module.folder_config(str(existing_path(source)), encoder_config)
    return Collection(_prepared(functools.partial(module.Builder, config=config), data_dir))


def list_source(source: str) -> tuple[list[reading.Source], Report]:
    """Returns the files behind `folk...` or a folder, without TensorFlow. Raises: UserError."""
    if source.startswith("tfds:"):
        raise UserError(f"{source} is built already; only folders and folk can be looked into")
    if is_folk(source):
        return folk.list_books(folk.books_of(source))
    return reading.list_sources(str(existing_path(source)))


def is_folk(source: str) -> bool:
    """Says whether `source` means the tunes inside music21."""
    return source == "folk" or source.startswith("folk:")


def existing_path(source: str) -> Path:
    """Returns the path of a folder or file given by the user. Raises: UserError if none."""
    path = Path(source).expanduser()
    if not path.exists():
        raise UserError(
            f"There is no folder or file {path}; "
            "give one, or folk, folk:kids, folk:essen, tfds:NAME"
        )
    return path.resolve()


def _prepared(make_builder: Any, data_dir: str | None) -> Any:
    """Returns the builder of `make_builder(data_dir=...)` with its data built."""
    import tensorflow_datasets as tfds

    with _quiet():
        builder = make_builder(data_dir=data_dir)
        if builder.is_prepared():
            return builder
    if Path(builder.data_dir).exists():
        raise UserError(f"{builder.data_dir} is not a whole data set; delete it to build it anew")
    building.say(f"Building {builder.info.full_name} into {builder.data_dir}")
    _check_writable(Path(builder.data_dir).parent)
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()  # bars make a log unreadable; the lines of `building` stay
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # says "Downloading", which it is not
            builder.download_and_prepare()
    except Exception:
        # Another process may have finished the same data set meanwhile: then that one is used.
        with _quiet():
            builder = make_builder(data_dir=data_dir)
        if not builder.is_prepared():
            raise
    return builder


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be made ({error.strerror}); name another place with --data_dir"
        ) from error


def _open_tfds(name: str, encoder_config: Any, data_dir: str | None) -> Collection:
    """Opens a data set by its TFDS name: one of ours, or any that has `events`."""
    import tensorflow_datasets as tfds

    own = name.partition("/")[0].partition(":")[0]
    module = f"tfds_datasets.{own}.{own}_dataset_builder"
    if own.isidentifier() and importlib.util.find_spec(f"tfds_datasets.{own}"):
        importlib.import_module(module)
    try:
        with _quiet():
            builder = tfds.builder(name, data_dir=data_dir)
        _check_features(builder)
        collection = Collection(_prepared(functools.partial(tfds.builder, name), data_dir))
    except UserError:
        raise
    except (tfds.core.DatasetNotFoundError, ValueError, AssertionError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(f"tfds:{name} cannot be opened: {first}") from error
    _check_encoder(collection, building.encoder_json(encoder_config))
    return collection


def _check_features(builder: Any) -> None:
    info = builder.info.features.get_tensor_info().get("events")
    shape = getattr(info, "shape", None)
    if shape is None or len(shape) != 1 or info.dtype != np.uint8:
        raise UserError(
            f"tfds:{builder.info.full_name} has no feature 'events' of shape (T,) and type uint8 "
            f"but {', '.join(builder.info.features)}; export its music into a folder and give "
            "that as --data"
        )


def _check_encoder(collection: Collection, wanted: dict[str, Any]) -> None:
    stored = collection.encoder
    if stored is None:
        return
    different = [
        f"encoder.{key} is {stored.get(key)} there and {wanted.get(key)} here"
        for key in sorted(stored.keys() | wanted.keys())
        if stored.get(key) != wanted.get(key)
    ]
    if different:
        raise UserError(
            f"{collection.name} was encoded otherwise: {'; '.join(different)}. "
            "Change the configuration with --set, or name another data set"
        )


def _load(builder: Any, split: str) -> Examples:
    import tensorflow as tf
    import tensorflow_datasets as tfds

    def row(example):
        return example["events"], tf.size(example["events"]), example.get("piece", b"")

    # One file after the other, no cache: the stored order, every time.
    read = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    dataset = builder.as_dataset(split=split, read_config=read)
    dataset = dataset.map(row, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    batches = list(dataset.padded_batch(LOAD_BATCH).as_numpy_iterator())
    width = max(events.shape[1] for events, _, _ in batches)
    return Examples(
        np.concatenate([np.pad(e, ((0, 0), (0, width - e.shape[1]))) for e, _, _ in batches]),
        np.concatenate([lengths for _, lengths, _ in batches]),
        [p.decode() for _, _, pieces in batches for p in pieces]
        if "piece" in builder.info.features
        else None,
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Holds back TFDS's warning that a config is not one of the builder's own list."""
    from absl import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)

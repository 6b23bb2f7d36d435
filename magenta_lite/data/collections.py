"""Built collections as arrays: builds on first use, loads afterwards."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import importlib.util
import io
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from magenta_lite.config import DataConfig, ExperimentConfig, load_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.base import EventFormat, Report
from magenta_lite.data import building, reading, stored
from magenta_lite.errors import UserError, unknown_name

LOAD_BATCH = 2048
LOAD_BATCH_OF_SOUND = 64  # its rows are long


class Known(NamedTuple):
    """A collection with a name of its own, `NAME` or `NAME:MORE`; functions as `module:name`.

    Attributes:
        listing: Function of MORE that returns its sources and a report; without TensorFlow.
        config: Function of MORE and a converter section that returns the builder config; its
            module has the `Builder`.
        sound: Whether it is sound; else it is notes.
        path: Whether MORE is a path.
    """

    listing: str
    config: str
    sound: bool = False
    path: bool = False


KNOWN = {
    "folk": Known(
        "magenta_lite.data.folk:list_books",
        "tfds_datasets.folk.folk_dataset_builder:folk_config",
    ),
    "bach_chorales": Known(
        "magenta_lite.data.chorales:list_chorales",
        "tfds_datasets.bach_chorales.bach_chorales_dataset_builder:chorales_config",
    ),
    "arranged": Known(
        "magenta_lite.data.arranging:list_tunes",
        "tfds_datasets.arranged.arranged_dataset_builder:arranged_config",
    ),
    "rendered": Known(
        "magenta_lite.data.rendering:list_pieces",
        "tfds_datasets.rendered.rendered_dataset_builder:rendered_config",
    ),
    "freedoom": Known(
        "magenta_lite.data.wad:list_songs",
        "tfds_datasets.freedoom.freedoom_dataset_builder:freedoom_config",
        path=True,
    ),
    "groove_midi": Known(
        "magenta_lite.data.groove_midi:list_grooves",
        "tfds_datasets.groove_midi.groove_midi_dataset_builder:groove_config",
        path=True,
    ),
    "maestro_midi": Known(
        "magenta_lite.data.maestro:list_performances",
        "tfds_datasets.maestro_midi.maestro_midi_dataset_builder:maestro_config",
        path=True,
    ),
    "jsb_chorales": Known(
        "magenta_lite.data.jsb_chorales:list_chorales",
        "tfds_datasets.jsb_chorales.jsb_chorales_dataset_builder:chorale_config",
        path=True,
    ),
    "rendered_audio": Known(
        "magenta_lite.data.sounding:list_pieces",
        "tfds_datasets.rendered_audio.rendered_audio_dataset_builder:rendered_audio_config",
        sound=True,
    ),
}
FOLDER = Known(
    "magenta_lite.data.reading:list_sources",
    "tfds_datasets.midi_dir.midi_dir_dataset_builder:folder_config",
)
SOUND_FOLDER = Known(
    "magenta_lite.data.audio:list_sounds",
    "tfds_datasets.audio_dir.audio_dir_dataset_builder:sound_folder_config",
    sound=True,
)


@dataclasses.dataclass(frozen=True)
class Examples:
    """The examples of one split.

    Attributes:
        events: (N, T, *event_shape) of the converter's event_dtype, rows filled up with zeros.
        lengths: int32 (N,), steps of each row.
        pieces: Name of the piece each row comes from; None if the data set does not say.
        controls: Chord classes uint8 (N, T); None for a converter without.
        positions: Int64 (N, 2), the first step of each row in its piece, and how many steps that
            has; None where rows stand for themselves.
        extras: Other integers (N, ...) that a model is told of each row, by their names in a batch.
    """

    events: np.ndarray
    lengths: np.ndarray
    pieces: list[str] | None
    controls: np.ndarray | None = None
    positions: np.ndarray | None = None
    extras: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

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
        self.converter: dict[str, Any] | None = stored.recorded_converter(metadata)
        report = metadata.get("report")
        self.report: Report = Report.from_json(report) if report else Report()
        # What is known of each piece of sound, by its name: artist, genre, lyrics, samples.
        self.facts: dict[str, dict[str, Any]] = dict(metadata.get("pieces") or {})
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
            return _no_examples(self._builder.info.features)
        if name not in self._loaded:
            self._loaded[name] = _load(self._builder, name)
        return self._loaded[name]


def open_collection(
    data: DataConfig, converter_config: Any, data_dir: str | None = None, built: str = ""
) -> Collection:
    """Returns the collection that `data.source` names, in the given encoding; builds it if needed.

    Args:
        data: Its `source` says what to open; see `DataConfig`.
        converter_config: A converter section, e.g. `MelodyConverterConfig`.
        data_dir: Where built data sets are kept. Default: TFDS's own, `~/tensorflow_datasets`.
        built: Name of the data set that was built of the source before, to be opened if the
            source is gone; empty for none.

    Raises:
        UserError: If the source does not exist or gives nothing to train on; then with the report.
    """
    source = data.source
    data_dir = str(Path(data_dir).expanduser()) if data_dir else None
    if source.startswith("tfds:"):
        return _open_tfds(source.removeprefix("tfds:"), converter_config, data_dir)
    if built and is_gone(source):
        return _open_built(built, source, data_dir)
    mention_folder(source)
    collection = Collection(_prepared(_builder(source, converter_config), data_dir))
    stored.note_use(collection.folder, source)
    return collection


def open_data(config: ExperimentConfig, data_dir: str | None = None, built: str = "") -> Any:
    """Returns the collection that a run of `config` reads; see `open_collection`."""
    if config.converter.kind == "codes":
        from magenta_lite.data.codes import open_codes

        return open_codes(config, data_dir, built)
    return open_collection(config.data, config.converter, data_dir, built)


def data_set_name(config: ExperimentConfig, data_dir: str | None = None, built: str = "") -> str:
    """Returns the name of the data set that `open_data` opens; that of the sound behind codes.

    It says what the data are: folders that hold the same have the same. Nothing is built.
    """
    source, converter_config = config.data.source, config.converter
    if converter_config.kind == "codes":
        converter_config = load_config(Path(converter_config.vqvae) / "config.yaml").converter
    if source.startswith("tfds:"):
        return source
    if built and is_gone(source):
        return built
    with _quiet():
        return _builder(source, converter_config)(data_dir=data_dir).info.full_name


def _builder(source: str, converter_config: Any) -> Any:
    """Returns what makes the builder of a source in an encoding, of a `data_dir`."""
    known, more = _known(source, converter_config)
    config = _function(known.config)(more, converter_config)
    builder = _function(known.config.partition(":")[0] + ":Builder")
    return functools.partial(builder, config=config)


def absolute_source(source: str) -> str:
    """Returns `source` with the path in it absolute: it means the same from every folder."""
    if not source or source.startswith("tfds:"):
        return source
    name, _, more = source.partition(":")
    if name not in KNOWN:
        return os.path.abspath(Path(source).expanduser())
    if more and KNOWN[name].path:
        return f"{name}:{os.path.abspath(Path(more).expanduser())}"
    return source


def is_gone(source: str) -> bool:
    """Returns whether `source` names a path at which there is nothing."""
    name, _, more = source.partition(":")
    if name in KNOWN:
        return bool(more) and KNOWN[name].path and not Path(more).expanduser().exists()
    return name != "tfds" and not Path(source).expanduser().exists()


@functools.cache  # once a process
def mention_folder(source: str) -> None:
    """Says so where a collection has the name of a folder that is here, too."""
    if source in KNOWN and Path(source).exists():
        building.say(
            f"This is the collection {source} that comes with the package; there is also a folder "
            f"{source} here: for that write --data=./{source}"
        )


def _open_built(name: str, source: str, data_dir: str | None) -> Collection:
    """Opens a data set that is built, by its name; nothing else of it is there any more."""
    import tensorflow_datasets as tfds

    folder = stored.data_folder(data_dir) / name
    if not (folder / stored.INFO).is_file():
        raise UserError(
            f"{source} is gone, and so is the data set that was built of it ({folder}); "
            "say where the music is now with --data=FOLDER"
        )
    building.say(f"{source} is gone; this is what was built of it: {name}")
    return Collection(tfds.builder_from_directory(str(folder)))


def list_source(source: str, converter_config: Any = None) -> tuple[list[reading.Source], Report]:
    """Returns the files behind a name or a folder, without TensorFlow. Raises: UserError.

    Args:
        source: See `DataConfig`.
        converter_config: Says whether notes or sound are looked for; None for notes.
    """
    if source.startswith("tfds:"):
        raise UserError(
            f"{source} is built already; only folders and {', '.join(KNOWN)} can be looked into"
        )
    mention_folder(source)
    known, more = _known(source, converter_config)
    return _function(known.listing)(more)


def _known(source: str, converter_config: Any) -> tuple[Known, str]:
    """Returns what `source` names, and the argument of its functions."""
    sound = getattr(converter_config, "kind", "") == "audio"
    name, colon, more = source.partition(":")
    if name not in KNOWN:
        return SOUND_FOLDER if sound else FOLDER, str(existing_path(source))
    if KNOWN[name].sound != sound:
        fitting = [known for known, about in KNOWN.items() if about.sound == sound]
        holds, wanted = ("notes", "sound") if sound else ("sound", "notes")
        raise UserError(
            f"{name} holds {holds}, and this configuration reads {wanted}; give a folder of "
            f"{'sound files' if sound else 'MIDI files'}, or {', '.join(fitting)}"
        )
    if colon and not more:
        raise UserError(f"There is nothing behind the colon of {source}; give {name} or {name}:...")
    return KNOWN[name], more


def _function(place: str) -> Any:
    module, name = place.split(":")
    return getattr(importlib.import_module(module), name)


def existing_path(source: str) -> Path:
    """Returns the path of a folder or file given by the user. Raises: UserError if none."""
    path = Path(source).expanduser()
    if not path.exists():
        raise UserError(
            f"There is no folder or file {path}; give one, or {', '.join(KNOWN)} or tfds:NAME"
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


def _open_tfds(name: str, converter_config: Any, data_dir: str | None) -> Collection:
    """Opens a data set by its TFDS name: one of ours, or any that has `events`."""
    import tensorflow_datasets as tfds

    own = name.partition("/")[0].partition(":")[0]
    module = f"tfds_datasets.{own}.{own}_dataset_builder"
    if own.isidentifier() and importlib.util.find_spec(f"tfds_datasets.{own}"):
        importlib.import_module(module)
    try:
        with _quiet():
            builder = tfds.builder(name, data_dir=data_dir)
        _check_converter(Collection(builder), building.stored_config(converter_config))
        _check_features(builder, build_converter(converter_config).event_format)
        return Collection(_prepared(functools.partial(tfds.builder, name), data_dir))
    except UserError:
        raise
    except (tfds.core.DatasetNotFoundError, ValueError, AssertionError) as error:
        first = str(error).strip().splitlines()[0]
        raise UserError(f"tfds:{name} cannot be opened: {first}") from error


def _check_features(builder: Any, format: EventFormat) -> None:
    features = builder.info.features.get_tensor_info()
    wanted = {"events": (format.event_shape, format.event_dtype)}
    if format.control == "chords":
        wanted["controls"] = ((), np.dtype(np.uint8))
    for name, (shape, dtype) in wanted.items():
        stored = getattr(features.get(name), "shape", ())  # none of a feature made of features
        if not stored or stored[1:] != shape or features[name].dtype != dtype:
            steps = ", ".join(map(str, ("T", *shape)))
            raise UserError(
                f"tfds:{builder.info.full_name} has no feature '{name}' of shape ({steps}) and "
                f"type {dtype} but {', '.join(builder.info.features)}; export its music into a "
                "folder and give that as --data"
            )


def _check_converter(collection: Collection, converter_config: Any) -> None:
    there, wanted = collection.converter, building.converter_json(converter_config)
    if there is None:
        return
    if there["kind"] == wanted["kind"]:  # settings that are newer than the data set
        there = {f.name: f.default for f in dataclasses.fields(converter_config)} | there
    keys = sorted(there.keys() | wanted.keys()) if there["kind"] == wanted["kind"] else ["kind"]
    different = [
        f"converter.{key} is {there.get(key)} there and {wanted.get(key)} here"
        for key in keys
        if there.get(key) != wanted.get(key)
    ]
    if different:
        raise UserError(
            f"{collection.name} was encoded otherwise: {'; '.join(different)}. "
            "Change the configuration with --set, or name another data set"
        )


def _load(builder: Any, split: str) -> Examples:
    import tensorflow as tf
    import tensorflow_datasets as tfds

    features = builder.info.features
    arrays = [name for name in ("events", "controls") if name in features]
    plain = [name for name in ("piece", "position") if name in features]

    def row(example):
        steps = tf.shape(example["events"])[0]
        return {name: example[name] for name in arrays + plain} | {"length": steps}

    # One file after the other, no cache: the stored order, every time.
    read = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    dataset = builder.as_dataset(split=split, read_config=read)
    dataset = dataset.map(row, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    size = LOAD_BATCH_OF_SOUND if "position" in plain else LOAD_BATCH
    batches = list(dataset.padded_batch(size).as_numpy_iterator())
    columns = {
        name: np.concatenate([batch[name] for batch in batches]) for name in ["length", *plain]
    }
    return Examples(
        lengths=columns["length"],
        pieces=[piece.decode() for piece in columns["piece"]] if "piece" in plain else None,
        positions=columns.get("position"),
        **{name: _joined([batch[name] for batch in batches]) for name in arrays},
    )


def _joined(batches: list[np.ndarray]) -> np.ndarray:
    """Returns batches (N, T, ...) of different T as one array, rows filled up with zeros."""
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

"""Opens data sets by name or folder; TFDS builds them on first use."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import tfds_datasets
from magenta_lite.config import DataConfig, ExperimentConfig
from magenta_lite.converters import build_converter
from magenta_lite.converters.base import EventFormat
from magenta_lite.data import building, naming, progress, stored
from magenta_lite.data.collections import Collection
from magenta_lite.data.encoded import EncodedCollection, open_encoded
from magenta_lite.data.specs import DATASETS
from magenta_lite.errors import UserError
from magenta_lite.families import FAMILIES
from magenta_lite.files import flush
from magenta_lite.locks import locked
from magenta_lite.modeling.family import EncodedData, Facts

if TYPE_CHECKING:
    from magenta_lite.training.run import Run

# In the name of a built data set, which a run states.
BUILT_PART = re.compile(r"\w[\w.+=-]*", re.ASCII)
# Names with a namespace would be fetched, or import code from elsewhere.
TFDS_NAME = re.compile(r"\w+(/[\w.+-]+)?(:\d+\.\d+\.\d+)?", re.ASCII)


def open_collection(
    data: DataConfig, converter_config: Any, data_dir: str | None = None, built: str = ""
) -> Collection:
    """Returns the collection of `data.source` in the given encoding, and builds it if necessary.

    Args:
        data: Data section with the `source` to open.
        converter_config: A converter section, e.g. `MelodyConverterConfig`.
        data_dir: Folder of built data sets; None for TFDS's default, `~/tensorflow_datasets`.
        built: Name of the data set built earlier from the source, which is opened if the source no
            longer exists; empty for none.

    Raises:
        UserError: If the source does not exist, or has no training examples (with the report).
    """
    source = data.source
    data_dir = str(Path(data_dir).expanduser()) if data_dir else None
    naming.is_by_folder(data)  # raises before anything is opened
    if source.startswith(naming.TFDS):
        return _open_tfds(source.removeprefix(naming.TFDS), converter_config, data_dir)
    if built and naming.is_gone(source):
        return _open_built(built, source, data_dir)
    naming.mention_folder(source)
    collection = Collection(_prepared(_builder(data, converter_config), data_dir))
    stored.note_use(collection.folder, source)
    return collection


def build_together(
    data: DataConfig, converter_configs: Sequence[Any], data_dir: str | None = None
) -> list[Collection]:
    """Returns `open_collection` of a source in several encodings; its files are read once.

    Sound is read again for each of them, and what is downloaded, too.

    Raises:
        UserError: As `open_collection` does.
    """
    if not data.source.startswith(naming.TFDS):
        made = [_quietly_made(_builder(data, config), data_dir) for config in converter_configs]
        missing = {builder.info.full_name: builder for builder in made if not _is_prepared(builder)}
        _read_together([missing[name] for name in sorted(missing)])
    return [open_collection(data, config, data_dir) for config in converter_configs]


def _read_together(builders: Sequence[Any]) -> None:
    """Reads the source of several builders for all of them."""
    if len(builders) < 2:
        return
    spec, config = builders[0].SPEC, builders[0].builder_config
    argument = config.argument
    if spec.is_sound or (spec.argument != "part" and not argument):
        return
    sources, _ = config.listed or spec.list_sources(argument)
    progress.say(f"Reading {argument or spec.name} for {len(builders)} data sets")
    with contextlib.ExitStack() as stack:
        caches = [stack.enter_context(builder.file_cache(argument)) for builder in builders]
        converters = [builder.builder_config.converter for builder in builders]
        building.read_together(sources, converters, caches)


def open_data(
    config: ExperimentConfig, encoder: Run | None, data_dir: str | None = None, built: str = ""
) -> Collection | EncodedCollection:
    """Returns the collection for a run of `config`; see `open_collection`.

    If another run, the `encoder`, encodes the data, the config must be `completed`.
    """
    if encoder is None:
        return open_collection(config.data, config.converter, data_dir, built)
    sound = open_collection(config.data, encoder.config.converter, data_dir, built)
    encoded = _encoded_data(config)
    make_examples = functools.partial(encoded.examples, config)
    collection = open_encoded(sound, encoded.encoder(encoder.model), make_examples)
    if not collection.sizes["train"]:
        table = collection.report.table()
        raise UserError(f"No piece of {config.data.source} makes an example:\n{table}")
    return collection


def completed(
    config: ExperimentConfig, encoder: Run | None, data_dir: str | None = None, built: str = ""
) -> ExperimentConfig:
    """Returns the config, completed from the run that encodes its data, if any, and from the data.

    Raises:
        UserError: If that run does not fit the config, or its data cannot be opened.
    """
    if encoder is None:
        return config

    def facts(data: DataConfig) -> Facts:
        return open_collection(data, encoder.config.converter, data_dir, built).facts

    return _encoded_data(config).completed(config, encoder.config, facts)


def built_facts(data: DataConfig, converter_config: Any, data_dir: str | None = None) -> Facts:
    """Returns the metadata of the pieces of a data set; none if it has not been built."""
    if naming.is_gone(data.source):
        return {}
    if not data.source.startswith(naming.TFDS):
        with _quiet():
            if not _builder(data, converter_config)(data_dir=data_dir).is_prepared():
                return {}
    return open_collection(data, converter_config, data_dir).facts


def _encoded_data(config: ExperimentConfig) -> EncodedData:
    encoded = FAMILIES[config.family].encoded_data
    assert encoded is not None  # there is a run that encodes them
    return encoded


def data_set_name(
    config: ExperimentConfig, encoder: Run | None, data_dir: str | None = None, built: str = ""
) -> str:
    """Returns the name of the data set that `open_data` opens, without building it.

    The name identifies the data: folders with the same content have the same name. For encoded
    data, it is the name of the data set of sound.
    """
    source = config.data.source
    if source.startswith(naming.TFDS):
        return source
    if built and naming.is_gone(source):
        return built
    with _quiet():
        converter_config = (encoder.config if encoder else config).converter
        return _builder(config.data, converter_config)(data_dir=data_dir).info.full_name


def _builder(data: DataConfig, converter_config: Any) -> Any:
    """Returns a function of `data_dir` that makes the builder of a source in an encoding."""
    spec, argument = naming.find(data.source, converter_config)
    builder = tfds_datasets.builder_class(spec.name)
    by_folder = naming.is_by_folder(data)
    config = builder.config_for(argument, converter_config, by_folder)
    return functools.partial(builder, config=config)


def _open_built(name: str, source: str, data_dir: str | None) -> Collection:
    """Opens a built data set, whose source no longer exists, by its name."""
    import tensorflow_datasets as tfds

    parts = name.split("/")
    if parts[0] not in DATASETS or not all(map(BUILT_PART.fullmatch, parts)):
        raise UserError(
            f"{name!r:.80} is not the name of a data set; say where the music is with --data=FOLDER"
        )
    folder = stored.data_folder(data_dir) / name
    if not (folder / stored.INFO).is_file():
        raise UserError(
            f"{source} is gone, and so is the data set that was built of it ({folder}); "
            "say where the music is now with --data=FOLDER"
        )
    progress.say(f"{source} is gone; this is what was built of it: {name}")
    return Collection(tfds.builder_from_directory(str(folder)))


def _prepared(make_builder: Any, data_dir: str | None) -> Any:
    """Returns the builder of `make_builder(data_dir=...)` after building its data."""
    builder = _quietly_made(make_builder, data_dir)
    if _is_prepared(builder):
        return builder
    folder, name = Path(builder.data_dir), builder.info.full_name
    message = f"Waiting for {{holder}}, which builds {name}"
    lock_file = folder.with_name(f".{folder.name}.lock")
    with locked(lock_file, message, "--data_dir", progress.say) as lock:
        builder = _quietly_made(make_builder, data_dir)
        if _is_prepared(builder):  # by another process in the meantime
            return builder
        if folder.exists():
            raise UserError(f"{folder} is not a whole data set; delete it to build it anew")
        if lock.held:
            for left in folder.parent.glob(f"incomplete.*_{folder.name}"):  # of a killed build
                shutil.rmtree(left)
        progress.say(f"Building {name} into {folder}")
        try:
            _build(builder)
        except Exception:
            # A process without the lock, e.g. a build on Beam, may have been faster.
            builder = _quietly_made(make_builder, data_dir)
            if not _is_prepared(builder):
                raise
        flush(folder)
    return builder


def _quietly_made(make_builder: Any, data_dir: str | None) -> Any:
    with _quiet():
        return make_builder(data_dir=data_dir)


def _is_prepared(builder: Any) -> bool:
    with _quiet():
        return builder.is_prepared()


def _build(builder: Any) -> None:
    import tensorflow_datasets as tfds

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()  # bars clutter logs; the lines of `building` remain
    with contextlib.redirect_stdout(io.StringIO()):  # hides a wrong "Downloading"
        builder.download_and_prepare()


def _open_tfds(name: str, converter_config: Any, data_dir: str | None) -> Collection:
    """Opens a data set by its TFDS name: one of this package, or another one with `events`."""
    import tensorflow_datasets as tfds

    if not TFDS_NAME.fullmatch(name):
        raise UserError(
            f"tfds:{name!r:.80} is not tfds:NAME, tfds:NAME/CONFIG or one of them with :VERSION; "
            "data sets of other places (huggingface:, kaggle:, USER/REPOSITORY:) are not opened: "
            "export their music into a folder and give that as --data"
        )
    own = name.partition("/")[0].partition(":")[0]
    if own in DATASETS:
        tfds_datasets.builder_class(own)  # registers it with TFDS
    try:
        with _quiet():
            builder = tfds.builder(name, data_dir=data_dir)
        _check_converter(Collection(builder), converter_config)
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
        stored = getattr(features.get(name), "shape", ())  # a nested feature has none
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
    if there["kind"] == wanted["kind"]:  # either may lack newer settings
        defaults = {f.name: f.default for f in dataclasses.fields(converter_config)}
        there, wanted = defaults | there, defaults | wanted
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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses TFDS's warnings, e.g. that a config is not in the builder's list."""
    from absl import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)

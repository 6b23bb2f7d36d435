"""The base class of the builders, which write windows of encoded music, locally or with Beam."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import logging
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core import file_adapters, shuffle
from tensorflow_datasets.core.download import downloader
from tensorflow_datasets.core.utils import shard_utils

from magenta_lite.converters import build_converter
from magenta_lite.converters.base import Report
from magenta_lite.data import building, examples, file_cache, progress, summaries
from magenta_lite.data.building import Windows
from magenta_lite.data.file_cache import FileCache
from magenta_lite.data.reading import Source
from magenta_lite.data.specs import DatasetSpec
from magenta_lite.data.splitting import Window
from magenta_lite.data.window_store import StoredWindows
from magenta_lite.errors import UserError
from magenta_lite.locks import locked

# Of a build, which removes them.
FOUND_FILE, BEAM_FOLDER = "found.json", "beam"

# TFDS sorts the examples of a larger split in files, with the same result; its own limit is 1 GB.
shuffle.MAX_MEM_BUFFER_SIZE = 64 * 2**20
# TFDS tries ten times, which takes more than three minutes without a network; six take 12 seconds.
downloader.MAX_RETRIES = 6


def downloaded(dl_manager: tfds.download.DownloadManager, url: str, name: str) -> str:
    """Returns the path of a downloaded file of the collection `name`.

    Raises:
        UserError: If it cannot be downloaded; the message explains how to give a copy.
    """
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # one message, not one for each attempt
    try:
        return str(dl_manager.download(url))
    except (OSError, tfds.download.DownloadError) as error:  # requests raises OSError
        raise UserError(
            f"{url} cannot be downloaded ({type(error).__name__}); "
            f"get it some other way and give its path: --data={name}:PATH"
        ) from error


@contextlib.contextmanager
def _short_errors() -> Iterator[None]:
    """Lets the `tfds` command print a `UserError` as the other commands do, without a traceback."""
    try:
        yield
    except UserError:
        if Path(sys.argv[0]).stem == "tfds":
            sys.excepthook = _print_error
        raise


def _print_error(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
    if isinstance(error, UserError):
        progress.say(f"Error: {error}")
    else:
        sys.__excepthook__(kind, error, traceback)


@dataclasses.dataclass
class CollectionConfig(tfds.core.BuilderConfig):
    """One encoding of a data set or of a part of it.

    Attributes:
        converter: Converter section, e.g. `MelodyConverterConfig`.
        argument: The part, the copy or the folder; see `DatasetSpec`. Empty for the whole data set,
            the download, or TFDS's folder of manual downloads.
        by_folder: Whether the pieces in one folder are related; see `splitting.assign`.
        listed: The sources of the argument, by which the config is named, and the report of the
            dropped files; None to list them for the build.
    """

    converter: Any = None
    argument: str = ""
    by_folder: bool = False
    listed: Any = dataclasses.field(default=None, repr=False, compare=False)


class CollectionBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes the windows of the data set `SPEC`, which subclasses define.

    With Beam options or a runner in the `DownloadConfig`, the same steps run on Apache Beam.

    Features: `events` (T, *event_shape) of the converter's event_dtype; `piece`, the name of the
    piece; for converters with chords, `controls` uint8 (T,), the chord classes; for sound,
    `position` int64 (2,), the first sample and the number of samples of the piece. The metadata
    contain the converter's settings, the report, and the labels of each piece of sound.
    """

    SPEC: ClassVar[DatasetSpec]
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        cls.BUILDER_CONFIGS = [
            cls._config(argument, cls.SPEC.encodings[encoding])
            for argument, part in cls.SPEC.parts.items()
            for encoding in part.encodings
        ]

    @classmethod
    def _config(
        cls, argument: str, converter_config: Any, by_folder: bool = False, listed: Any = None
    ) -> CollectionConfig:
        part, sources = cls.SPEC.part(argument), listed[0] if listed else ()
        return CollectionConfig(
            name=cls.SPEC.config_name(argument, converter_config, by_folder, sources),
            description=part.description,
            converter=converter_config,
            argument=argument,
            by_folder=by_folder,
            listed=listed,
        )

    @classmethod
    def config_for(
        cls, argument: str, converter_config: Any, by_folder: bool = False
    ) -> CollectionConfig:
        """Returns the config for an argument and an encoding, a predefined one if it exists.

        Args:
            argument: See `DatasetSpec`; the name of the config has a hash of files at a path.
            converter_config: A converter section.
            by_folder: Whether the pieces in one folder are related; see `splitting.assign`.

        Raises:
            UserError: If `argument` is unknown, or the data set must be installed first.
        """
        if not argument and cls.SPEC.argument == "copy" and not cls.SPEC.url:
            cls.SPEC.list_sources(argument)  # raises before "Building ..." is printed
        listed = None if argument in cls.SPEC.parts else cls.SPEC.list_sources(argument)
        config = cls._config(argument, converter_config, by_folder, listed)
        return cls.builder_configs.get(config.name, config)

    def _argument(self, dl_manager: tfds.download.DownloadManager) -> str:
        """Returns the argument of the config, or the path of what is downloaded without one."""
        argument = self.builder_config.argument
        if not argument and self.SPEC.url:
            return downloaded(dl_manager, self.SPEC.url, self.SPEC.name)
        if not argument and self.SPEC.argument == "folder":
            return str(dl_manager.manual_dir)
        return argument

    def _listed(self, argument: str) -> tuple[Sequence[Source], Report]:
        return self.builder_config.listed or self.SPEC.list_sources(argument)

    @property
    def report(self) -> Report:
        """The report of the build; empty before the build."""
        tree = dict(self.info.metadata).get("report")
        return Report.from_json(tree) if tree else Report()

    @property
    def sizes(self) -> dict[str, int]:
        """Number of examples of each non-empty split."""
        return {name: split.num_examples for name, split in self.info.splits.items()}

    def _info(self) -> tfds.core.DatasetInfo:
        format = build_converter(self.builder_config.converter).event_format
        features = {
            "events": tfds.features.Tensor(
                shape=(None, *format.event_shape),
                dtype=format.event_dtype.type,
                # In TFRecords, negative integers take ten bytes each.
                encoding="bytes" if format.kind == "audio" else "none",
            ),
            "piece": tfds.features.Text(),
        }
        if format.control == "chords":
            features["controls"] = tfds.features.Tensor(shape=(None,), dtype=np.uint8)
        if format.kind == "audio":
            features["position"] = tfds.features.Tensor(shape=(2,), dtype=np.int64)
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features),
            metadata=tfds.core.MetadataDict(
                converter=building.converter_json(self.builder_config.converter)
            ),
        )

    @_short_errors()
    def _download_and_prepare(self, dl_manager, download_config) -> None:
        on_beam = bool(download_config.beam_options or download_config.beam_runner)
        if on_beam:
            # TFDS inspects the signature to decide whether to pass a pipeline.
            self._split_generators = self._beam_split_generators
        try:
            super()._download_and_prepare(dl_manager, download_config)
        except Exception as error:
            if on_beam and not isinstance(error, UserError):
                what = self.info.full_name
                error.add_note(f"Nothing of {what} is stored; build it again without the cause")
            raise
        finally:
            self.__dict__.pop("_split_generators", None)
        found = json.loads((self.data_path / FOUND_FILE).read_text())
        (self.data_path / FOUND_FILE).unlink()  # now in the metadata
        if on_beam:
            (self.data_path / BEAM_FOLDER).rmtree()
        self._remove(found.pop("empty"))
        self.info.metadata.update(found)
        summaries.check_usable(self.sizes, self.report, self.info.full_name)
        progress.say(f"{self.info.full_name}:\n{summaries.summary(self.sizes, self.report)}")

    def _remove(self, empty: Sequence[str]) -> None:
        """Removes the splits of which a Beam pipeline has written an example that is none."""
        splits = dict(self.info.splits)
        for path in (path for name in empty for path in splits.pop(name).filepaths):
            path.unlink()
        self.info.set_splits(tfds.core.SplitDict(splits.values()))

    def _generate_splits(self, dl_manager, download_config) -> Sequence[tfds.core.SplitInfo]:
        others = (
            download_config.beam_options,
            download_config.beam_runner,
            download_config.max_examples_per_split,
            self.info.file_format is not file_adapters.FileFormat.TFRECORD,
        )
        if any(others):
            return super()._generate_splits(dl_manager, download_config)
        shard_config = download_config.get_shard_config()
        argument = self._argument(dl_manager)
        with self.file_cache(argument) as cache:
            windows = self._build(argument, cache)
            _write_found(self.data_path / FOUND_FILE, windows.report, windows.facts)
            infos = [
                self._write_split(kept, shard_config)
                for kept in windows.splits.values()
                if len(kept)
            ]
            if self.SPEC.argument == "part":  # their files never change
                shutil.rmtree(cache.folder)
            else:
                cache.clean()
        return infos

    @contextlib.contextmanager
    def file_cache(self, argument: str) -> Iterator[FileCache]:
        """Opens the encoded files of earlier builds of the same `argument`, see `DatasetSpec`."""
        converter = self.builder_config.converter
        source = hashlib.sha256(argument.encode(errors="replace")).hexdigest()
        name = f"{building.converter_name(converter)}-{source[:12]}"
        folder = Path(self.data_dir_root) / self.name / file_cache.FOLDER / name
        code = file_cache.code_of([building.converter_json(converter), str(self.version)])
        message = "Waiting for {holder}, which reads the same files"
        with (
            locked(folder.with_name(f"{name}.lock"), message, "--data_dir", progress.say),
            FileCache(folder, code, self.builder_config.name, progress.say) as cache,
        ):
            yield cache

    def _write_split(
        self, windows: StoredWindows, shard_config: shard_utils.ShardConfig
    ) -> tfds.core.SplitInfo:
        size, split = windows.bytes, windows.split
        count = shard_config.get_number_shards(size, len(windows))
        ends = shard_utils.get_shard_boundaries(len(windows), count)
        lengths = np.diff(ends, prepend=0).tolist()
        template = self._get_filename_template(split)
        records = progress.with_progress(windows.records(), f"Writing {split}", len(windows))
        for i, length in enumerate(lengths):
            path = template.sharded_filepath(shard_index=i, num_shards=count)
            with Path(path).open("wb") as file:
                file.writelines(itertools.islice(records, length))
        return tfds.core.SplitInfo(
            name=split, shard_lengths=lengths, num_bytes=size, filename_template=template
        )

    def _split_generators(self, dl_manager) -> dict[str, Iterator]:
        windows = self._build(self._argument(dl_manager))
        _write_found(self.data_path / FOUND_FILE, windows.report, windows.facts)
        # TFDS cannot write a split without examples.
        return {
            split: self._generate_examples(examples, split)
            for split, examples in windows.splits.items()
            if examples
        }

    def _generate_examples(self, windows: StoredWindows, split: str) -> Iterator:
        example = functools.partial(_example, converter_config=self.builder_config.converter)
        return map(example, progress.with_progress(windows, f"Writing {split}", len(windows)))

    def _build(self, argument: str, cache: FileCache | None = None) -> Windows:
        sources, listing = self._listed(argument)
        converter = self.builder_config.converter
        by_folder, folder = self.builder_config.by_folder, Path(self.data_path)
        windows = building.build(sources, listing, converter, by_folder, folder, cache)
        summaries.check_usable(windows.sizes, windows.report, self.info.full_name)
        return windows

    def _beam_split_generators(self, dl_manager, pipeline) -> dict[str, Any]:
        from tfds_datasets import beam_pipeline  # Apache Beam need not be installed

        sources, listing = self._listed(self._argument(dl_manager))
        config = self.builder_config
        return beam_pipeline.examples_of(
            pipeline,
            sources,
            listing,
            config.converter,
            config.by_folder,
            self.data_path / BEAM_FOLDER,
            functools.partial(_example, converter_config=config.converter),
            functools.partial(_write_found, self.data_path / FOUND_FILE),
        )


def _example(window: Window, converter_config: Any) -> tuple[bytes, dict[str, Any]]:
    """Returns key and example."""
    events, controls = building.arrays(window.events, window.controls, converter_config)
    example = {"events": events, "piece": window.piece}
    if controls is not None:
        example["controls"] = controls
    if window.position:
        example["position"] = np.array(window.position)
    key = examples.key_of(window.events, window.controls, window.piece, window.position)
    return key, example


def _write_found(
    path: Any, report: Report, facts: dict[str, dict[str, Any]], empty: Sequence[str] = ()
) -> None:
    found = {"report": report.to_json(), "empty": empty} | ({"pieces": facts} if facts else {})
    path.write_text(json.dumps(found))

"""From music files to the windows of each split: reading, encoding, splitting, deduplication.

The TFDS builders, their Beam pipelines and `inspect_data` share these steps. Imports no TensorFlow.
"""

from __future__ import annotations

import collections
import copy
import dataclasses
import errno
import functools
import hashlib
import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from magenta_lite.config import (
    FORMER_CONVERTER_FIELDS,
    LATER_CONVERTER_FIELDS,
    TRAINING_CONVERTER_FIELDS,
)
from magenta_lite.converters import build_converter
from magenta_lite.converters.base import EncodeResult, EventFormat, Report
from magenta_lite.converters.score import header_of
from magenta_lite.data import archives, contents, progress, reading, related, window_store
from magenta_lite.data.file_cache import FileCache
from magenta_lite.data.progress import ReadingProgress
from magenta_lite.data.splitting import SPLITS, EncodedPiece, Window, key_of
from magenta_lite.data.window_store import PackedFile, StoredWindows, WindowStore
from magenta_lite.data.workers import MEMORY, Busy, Crash, Part, WorkerPool, attempt

SERIAL_SECONDS = 2.0  # seconds of reading quick files before worker processes are started

# Ends of the reasons of what may be read another time.
SYSTEM_ERRORS = tuple(map(os.strerror, errno.errorcode))
SAME_MUSIC = "the same music as in other files"


@dataclasses.dataclass
class Encoded:
    """The encoded pieces of one source.

    Attributes:
        source: Name of the source.
        pieces: The pieces that have at least one window.
        report: Counts what was kept and dropped.
        last: Whether it is the last part of a source.
    """

    source: str
    pieces: list[EncodedPiece]
    report: Report
    last: bool = False


class Task(NamedTuple):
    """A source, and the parts of it that are not read, because a `FileCache` has them.

    Attributes:
        source: The source.
        key: What stands for its content; empty without a cache.
        done: Indices of the parts that the cache has.
        is_done: Whether these are all.
    """

    source: reading.Source
    key: bytes = b""
    done: tuple[int, ...] = ()
    is_done: bool = False


@dataclasses.dataclass
class Windows:
    """The windows of a whole collection.

    Attributes:
        splits: Windows of `train`, `validation` and `test`, in stable order; they are on disk.
        report: Counts what was kept and dropped.
        facts: Metadata of the pieces that have any, by piece name.
    """

    splits: Mapping[str, StoredWindows | list[Window]]
    report: Report
    facts: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of windows of each split."""
        return {name: len(self.splits[name]) for name in SPLITS}


def converter_json(converter_config: Any) -> dict[str, Any]:
    """Returns the converter's settings as JSON values, with its `kind`.

    Fields that only earlier versions had are included, and later ones are left out where they have
    their defaults, so that data sets keep their names.
    """
    kind = converter_config.kind
    values = json.loads(json.dumps(converter_of(converter_config).to_json()))
    defaults = type(converter_config)()
    left_out = [
        *(f for f in LATER_CONVERTER_FIELDS.get(kind, ()) if values[f] == getattr(defaults, f)),
        *TRAINING_CONVERTER_FIELDS.get(kind, ()),
    ]
    values = {name: value for name, value in values.items() if name not in left_out}
    return FORMER_CONVERTER_FIELDS.get(kind, {}) | values


def converter_name(converter_config: Any) -> str:
    """Returns a short name that is unique to what a converter config encodes."""
    text = json.dumps(converter_json(converter_config), sort_keys=True)
    return f"{converter_config.kind}_{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def encode_files(source: reading.Source, converter_configs: Sequence[Any]) -> Iterator[Part]:
    """Yields the name of each file of a source, and a list of its encodings by each converter.

    An archive's report follows.
    """
    if not is_divided(source):
        encode = functools.partial(_encode_file, source, converter_configs)
        yield source.name, lambda: [dataclasses.replace(each, last=True) for each in encode()]
        return
    report = Report()
    for file in reading.files_of(source, report):
        yield file.name, functools.partial(_encode_file, file, converter_configs)
    last = Encoded(source.name, [], report, last=True)
    yield source.name, lambda: [last] * len(converter_configs)


def _encode_file(file: reading.Source, converter_configs: Sequence[Any]) -> list[Encoded]:
    pieces, report = file.read_as(converter_configs[0])
    return [
        encode_pieces(file.name, pieces, copy.deepcopy(report), converter_config)
        for converter_config in converter_configs
    ]


def encode_pieces(
    source: str, pieces: list[reading.Piece], report: Report, converter_config: Any
) -> Encoded:
    """Encodes the pieces of the source named `source`, and adds to its report."""
    converter = converter_of(converter_config)
    encoded = []
    for piece in pieces:
        header = header_of(piece.music)
        if hasattr(header, "filename"):  # an Audio has none
            # A converter may derive the style of the music from the folder.
            header.filename = header.filename or piece.name
        try:
            result = converter.encode(piece.music)
            examples = list(_as_bytes(result, converter.event_format))
            keys = _keys(result, examples, converter)
            if piece.passages is None:
                piece.passages = related.NONE if piece.split else related.passages_of(piece.music)
        except MemoryError as error:
            report.drop(reading.reason_of(error), piece.name)
            continue
        except Exception as error:  # one broken piece must not stop the build
            report.drop(f"piece that cannot be encoded ({error!r:.200})", piece.name)
            continue
        report.merge(result.report, piece.name)
        if examples:
            found = piece.name, piece.split, examples, keys, result.positions, piece.facts
            encoded.append(EncodedPiece(*found, passages=piece.passages))
    return Encoded(source, encoded, report)


def _as_bytes(result: EncodeResult, format: EventFormat) -> Iterator[tuple[bytes, bytes, bool]]:
    for i, events in enumerate(result.examples):
        controls = b"" if result.controls is None else np.uint8(result.controls[i]).tobytes()
        train_only = bool(result.train_only and result.train_only[i])
        yield np.asarray(events, format.event_dtype).tobytes(), controls, train_only


def _keys(result: EncodeResult, examples: list[tuple[bytes, bytes, bool]], converter) -> list:
    """Returns the `EncodedPiece.keys` of the examples of a piece.

    Training transposes at random, so windows that differ only in key count as duplicates.
    """
    if result.positions:  # consecutive windows are duplicates only if their whole pieces are
        pairs = zip(result.positions, examples, strict=True)
        return [key_of(*(b"%d %d " % place + e for place, (e, *_) in pairs))] * len(examples)
    return list(map(key_of, converter.transposition_keys(result.examples, result.controls)))


def arrays(
    events: bytes, controls: bytes, converter_config: Any
) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns a window's events (T, *event_shape) and chord classes uint8 (T,), or None."""
    format = converter_of(converter_config).event_format
    steps = np.frombuffer(events, format.event_dtype).reshape(-1, *format.event_shape)
    return steps, np.frombuffer(controls, np.uint8) if controls else None


def pack_files(task: Task, converter_configs: Sequence[Any]) -> Iterator[Part]:
    """Yields the files of a source that are not done, and the last part of an archive.

    Each answer is a list of the `PackedFile` of each converter; sound is read for one only.
    """
    done = set(task.done)
    for number, (name, answers) in enumerate(encode_files(task.source, converter_configs)):
        if number not in done:
            yield name, functools.partial(_packed, number, answers, converter_configs)


def _packed(
    number: int, answers: Callable[[], list[Encoded]], converter_configs: Sequence[Any]
) -> list[PackedFile]:
    packed = []
    for encoded, converter_config in zip(answers(), converter_configs, strict=True):
        format = converter_of(converter_config).event_format
        pieces = [window_store.pack(piece, format) for piece in encoded.pieces]
        packed.append(PackedFile(pieces, encoded.report, number, encoded.last))
    return packed


def each_source(
    tasks: Sequence[Task],
    work: Callable[[Task], Iterable[Part]],
    waiting: Callable[[Busy | None], None],
    arrived: Callable[[Task, Any], Any] = lambda task, answer: answer,
) -> Iterator[Iterator[Any | Crash]]:
    """Yields the answers of each task, in order; they must be taken before those of the next.

    The first seconds of work are done in this process, if the sources are quick to read. The rest
    is done in one process per core, with limits of time and memory.

    Args:
        tasks: The sources to read.
        work: Returns the parts of a task; a module-level function, or a `functools.partial` of
            one.
        waiting: Called regularly while workers are busy, e.g. to print progress.
        arrived: Called with a task and an answer; returns what is kept of the answer until it is
            its turn. Called in any order, and in other threads.
    """
    start = time.monotonic()
    done = 0
    while (
        done < len(tasks)
        and tasks[done].source.is_quick
        and time.monotonic() - start < SERIAL_SECONDS
    ):
        task = tasks[done]
        answers = (attempt(*part) for part in work(task))
        yield (answer if isinstance(answer, Crash) else arrived(task, answer) for answer in answers)
        done += 1
    rest = tasks[done:]
    if not rest:
        return
    limits = max(task.source.LIMITS for task in rest)

    def divided(task: Task) -> bool:
        return is_divided(task.source)

    workers = _cores() if any(map(divided, rest)) else min(_cores(), len(rest))
    with WorkerPool(work, workers, limits) as pool:
        yield from pool.map(rest, waiting, progress.PROGRESS_SECONDS, divided, arrived)


def is_divided(source: reading.Source) -> bool:
    """Returns whether all workers read a source together: an archive."""
    return archives.is_archive(source.member or source.path)


def _cores() -> int:
    """Returns the number of cores available to this process."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def build(
    sources: Sequence[reading.Source],
    listing: Report,
    converter_config: Any,
    by_folder: bool = False,
    folder: Path | None = None,
    cache: FileCache | None = None,
) -> Windows:
    """Reads, encodes and splits `sources`.

    Args:
        sources: The sources to read.
        listing: Report from listing `sources`.
        converter_config: A converter section, e.g. `MelodyConverterConfig`.
        by_folder: See `splitting.assign`.
        folder: Folder of temporary files; None for that of the system.
        cache: Has files that need not be read, and keeps those that are; must be open as long as
            the windows are used.
    """
    format = converter_of(converter_config).event_format
    store = WindowStore(format, folder, cache.records if cache else None)
    collecting = Collecting(store, listing)
    lines = ReadingProgress(len(sources))
    tasks = [_task(source, [cache] if cache else []) for source in sources]

    def arrived(task: Task, files: list[PackedFile]) -> PackedFile:
        return _kept(task, files[0], store, cache)

    work = functools.partial(pack_files, converter_configs=[converter_config])
    left = [task for task in tasks if not task.is_done]
    if len(left) < len(tasks):
        progress.say(f"{len(tasks) - len(left):,} of {len(tasks):,} files have been read before")
    read_now = each_source(left, work, lines.show, arrived)
    for task in tasks:
        answers = _in_order(task, iter(()) if task.is_done else next(read_now), cache)
        collecting.add_source(task.source.name, map(lines.counted, answers))
        lines.end_source(is_divided(task.source))
    collections.deque(read_now, maxlen=0)  # ends the workers
    report = collecting.settle(by_folder)
    return Windows(store.splits(), report, collecting.facts)


def read_together(
    sources: Sequence[reading.Source],
    converter_configs: Sequence[Any],
    caches: Sequence[FileCache],
) -> None:
    """Reads sources of notes once, and keeps what each converter makes of them in its cache.

    Args:
        sources: The sources to read.
        converter_configs: Converter sections.
        caches: The cache of each.
    """
    pairs = zip(converter_configs, caches, strict=True)
    stores = [WindowStore(converter_of(c).event_format, None, cache.records) for c, cache in pairs]
    tasks = [_task(source, caches) for source in sources]
    left = [task for task in tasks if not task.is_done]
    lines = ReadingProgress(len(left))

    def arrived(task: Task, files: list[PackedFile]) -> list[PackedFile]:
        return [_kept(task, *each) for each in zip(files, stores, caches, strict=True)]

    work = functools.partial(pack_files, converter_configs=converter_configs)
    read_now = each_source(left, work, lines.show, arrived)
    for task, answers in zip(left, read_now, strict=True):
        for answer in answers:
            lines.counted(*([answer] if isinstance(answer, Crash) else answer))
        lines.end_source(is_divided(task.source))


def _kept(task: Task, file: PackedFile, store: WindowStore, cache: FileCache | None) -> PackedFile:
    """Returns a file whose records are written, and keeps it in a cache, if there is one."""
    file = store.write(file)
    # A file that changed since it was listed has another key.
    if cache and _is_final(file.report) and contents.key_of(task.source) == task.key:
        cache.keep(task.key, file)
    return file


class Collecting:
    """Collects what all sources give, and decides which of their windows are stored.

    Args:
        store: Takes the pieces.
        listing: Report from listing the sources.

    Attributes:
        facts: Metadata of the pieces that have any, by piece name.
    """

    def __init__(self, store: WindowStore, listing: Report):
        self._store = store
        self._report = Report()
        self._report.merge(listing)
        self._sources: list[tuple[str, str]] = []  # name, and why it is not used if it is not
        self.facts: dict[str, dict[str, Any]] = {}

    def add_source(self, name: str, answers: Iterable[PackedFile | Crash]) -> None:
        """Adds the files of the source `name`, in the order of the sources."""
        read, pieces = Report(), 0
        for answer in answers:
            if isinstance(answer, Crash):
                read.drop(answer.reason, answer.name or name)
                continue
            read.merge(answer.report)
            pieces += len(answer.pieces)
            for piece in answer.pieces:
                self._store.add(piece, len(self._sources))
                if piece.facts:
                    self.facts[piece.name] = piece.facts
        self._report.merge(read)
        self._sources.append((name, SAME_MUSIC if pieces else read.main_reason()))

    def settle(self, by_folder: bool) -> Report:
        """Decides which windows are stored; returns the report of the build.

        Args:
            by_folder: See `splitting.assign`.
        """
        self._report.merge(self._store.settle(by_folder))
        used = self._store.used_sources()
        for number, (name, reason) in enumerate(self._sources):
            self._report.merge(file_report(name, number in used, reason))
        return self._report


def _task(source: reading.Source, caches: Sequence[FileCache]) -> Task:
    """Returns what is left to do of a source: what any of the caches does not have."""
    if not caches:
        return Task(source)
    key = contents.key_of(source)
    done, are_done = zip(*(cache.done(key) for cache in caches), strict=True)
    return Task(source, key, tuple(sorted(set.intersection(*map(set, done)))), all(are_done))


def _is_final(report: Report) -> bool:
    """Returns whether reading a file again would give the same: nothing failed but the file."""
    return not any(
        reason.startswith(MEMORY) or reason.endswith(SYSTEM_ERRORS) for reason in report.dropped
    )


def _in_order(
    task: Task, read_now: Iterator[PackedFile | Crash], cache: FileCache | None
) -> Iterator[PackedFile | Crash]:
    """Yields the answers of a task in the order of its parts, those of the cache among them."""
    done = set(task.done)
    for number in itertools.count():
        if cache and number in done:
            yield cache.read(task.key, number)
        elif (answer := next(read_now, None)) is not None:
            yield answer
        elif number > max(done, default=-1):
            return


def file_report(name: str, used: bool, reason: str) -> Report:
    """Returns the report of one file, kept or dropped for `reason`."""
    report = Report()
    if used:
        report.files.keep("files")
    else:
        report.files.drop(reason, name)
    return report


@functools.lru_cache(maxsize=4)
def converter_of(converter_config: Any) -> Any:
    """Returns the converter of a converter section, cached."""
    return build_converter(converter_config)

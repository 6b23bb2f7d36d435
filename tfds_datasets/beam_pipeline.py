"""The steps of a build on Apache Beam.

Workers encode the files. One of them then decides, as a local build does, which windows are stored,
from hashes of all windows and pieces, which come in files, so that they need not fit in memory. The
windows themselves meet its decisions file by file.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import math
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any

import apache_beam as beam
import numpy as np

from magenta_lite.converters.base import EventFormat, Report
from magenta_lite.data import building, window_store
from magenta_lite.data.building import SPLITS, Collecting, PackedFile
from magenta_lite.data.reading import Source
from magenta_lite.data.splitting import Window
from magenta_lite.data.window_store import WindowStore
from magenta_lite.data.workers import Crash, attempt

ARCHIVE_SHARES = 16  # of an archive, which as many workers read at once
GROUPS = 64  # of files, whose hashes must fit in the memory of a worker
EMPTY = "empty"  # tag of the splits without windows

WriteFound = Callable[[Report, dict[str, dict[str, Any]], list[str]], None]
Place = tuple[int, int]  # index of a source, and of a file in it
Named = tuple[str, PackedFile | Crash]  # name of a source, and the encoding of one of its files
Decided = list[tuple[str, np.ndarray]]  # split of each piece of a file, and its stored windows


def examples_of(
    pipeline: beam.Pipeline,
    sources: Sequence[Source],
    listing: Report,
    converter_config: Any,
    by_folder: bool,
    folder: Any,
    example: Callable[[Window], tuple[bytes, dict[str, Any]]],
    write_found: WriteFound,
) -> dict[str, beam.PCollection]:
    """Returns keys and examples of each split.

    TFDS cannot write a split without examples: an empty split gets one that has to be removed.

    Args:
        pipeline: The pipeline to extend.
        sources: The sources to read, at paths that all workers can read.
        listing: Report from listing `sources`.
        converter_config: A converter section, e.g. `MelodyConverterConfig`.
        by_folder: See `splitting.assign`.
        folder: `epath.Path` of a folder of temporary files that all workers can read and write.
        example: Returns the key and the example of a window.
        write_found: Called by a worker with the report, the metadata of the pieces by name, and the
            names of empty splits.
    """
    # The elements of `Create` are part of the job request, which services limit to some megabytes.
    folder.mkdir()
    listed = folder / "sources.pickle"
    listed.write_bytes(pickle.dumps(sources))
    encode = functools.partial(_encode, converter_config=converter_config)
    write = functools.partial(_write, folder=folder)
    format = building.converter_of(converter_config).event_format
    decide = functools.partial(
        _decide, format=format, listing=listing, by_folder=by_folder, write_found=write_found
    )
    encoded = (
        pipeline
        | "Listed" >> beam.Create([listed])
        | "Sources" >> beam.FlatMap(_shares)
        | "Spread" >> beam.Reshuffle()
        | "Encode" >> beam.FlatMapTuple(encode)
    )
    decided, empty = (
        encoded
        | "Hashes" >> beam.MapTuple(_without_windows)
        | "Groups" >> beam.GroupByKey()
        | "Write" >> beam.MapTuple(write)
        | "InOnePlace" >> beam.GroupByKey()
        | "Decide" >> beam.FlatMapTuple(decide).with_outputs(EMPTY, main="decided")
    )
    stored = (
        (encoded, decided)
        | "ByFile" >> beam.CoGroupByKey()
        | "Stored" >> beam.FlatMapTuple(functools.partial(_stored, format=format))
    )
    fillers = empty | "Fillers" >> beam.Map(_filler, format)
    by_split = (
        (stored, fillers)
        | "All" >> beam.Flatten()
        | "BySplit" >> beam.Partition(lambda window, _: SPLITS.index(window.split), len(SPLITS))
    )
    return {
        split: windows | f"Example_{split}" >> beam.Map(example)
        for split, windows in zip(SPLITS, by_split, strict=True)
    }


def _shares(listed: Any) -> Iterator[tuple[int, Source, slice]]:
    """Yields index and source, and the share of its files that one worker reads."""
    for number, source in enumerate(pickle.loads(listed.read_bytes())):
        shares = ARCHIVE_SHARES if building.is_divided(source) else 1
        for share in range(shares):
            yield number, source, slice(share, None, shares)


def _encode(
    number: int, source: Source, share: slice, converter_config: Any
) -> Iterator[tuple[Place, Named]]:
    """Yields the place and the encoding of each file of a share."""
    files = enumerate(building.pack_files(building.Task(source), [converter_config]))
    for i, (name, answer) in itertools.islice(files, share.start, None, share.step):
        yield (number, i), (source.name, attempt(name, lambda answer=answer: answer()[0]))


def _without_windows(place: Place, named: Named) -> tuple[int, tuple[Place, Named]]:
    """Returns the number of the group of a file, and the file without its windows."""
    name, file = named
    if not isinstance(file, Crash):
        file = file._replace(pieces=[piece._replace(records=[]) for piece in file.pieces])
    return sum(place) % GROUPS, (place, (name, file))


def _write(group: int, files: Iterable[tuple[Place, Named]], folder: Any) -> tuple[None, Any]:
    """Writes a group of files in their order; returns the path, for a single receiver."""
    path = folder / f"hashes-{group:03d}.pickle"
    in_order = sorted(files, key=itemgetter(0))
    with path.open("wb") as written:
        pickle.dump(len(in_order), written)
        for file in in_order:
            pickle.dump(file, written)
    return None, path


def _read(path: Any) -> Iterator[tuple[Place, Named]]:
    with path.open("rb") as written:
        for _ in range(pickle.load(written)):
            yield pickle.load(written)


def _source_of(file: tuple[Place, Named]) -> tuple[int, str]:
    (number, _), (name, _) = file
    return number, name


def _decide(
    _: None,
    paths: Iterable[Any],
    format: EventFormat,
    listing: Report,
    by_folder: bool,
    write_found: WriteFound,
) -> Iterator[Any]:
    """Yields the `Decided` of each place with stored windows, and the names of empty splits."""
    pieces: dict[Place, int] = {}  # number of pieces of each file

    def answers(files: Iterable[tuple[Place, Named]]) -> Iterator[PackedFile | Crash]:
        for place, (_, file) in files:
            pieces[place] = 0 if isinstance(file, Crash) else len(file.pieces)
            yield file

    store = WindowStore(format)
    collecting = Collecting(store, listing)
    files = heapq.merge(*map(_read, paths), key=itemgetter(0))
    for (_, name), of_source in itertools.groupby(files, key=_source_of):
        collecting.add_source(name, answers(of_source))
    report = collecting.settle(by_folder)
    empty = [split for split, windows in store.splits().items() if not windows]
    write_found(report, collecting.facts, empty)
    yield from (beam.pvalue.TaggedOutput(EMPTY, split) for split in empty)
    decisions = store.decisions()
    for place, count in pieces.items():
        decided = list(itertools.islice(decisions, count))
        if any(stored.any() for _, stored in decided):
            yield place, decided


def _stored(
    _: Place, found: tuple[list[Named], list[Decided]], format: EventFormat
) -> Iterator[Window]:
    """Yields the stored windows of a file."""
    for (_, file), decided in zip(*found, strict=False):  # undecided, if none is stored
        for piece, (split, stored) in zip(file.pieces, decided, strict=True):
            yield from window_store.unpack(piece, split, stored, format)


def _filler(split: str, format: EventFormat) -> Window:
    """Returns a window of one step."""
    events = bytes(format.event_dtype.itemsize * math.prod(format.event_shape))
    controls = b"\0" if format.control == "chords" else b""
    position = (0, 1) if format.kind == "audio" else None
    return Window("", events, controls, split, position=position)

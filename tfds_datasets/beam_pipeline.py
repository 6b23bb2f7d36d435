"""The steps of a build on Apache Beam.

Workers encode the files. One of them then decides, as a local build does, which windows are stored,
from hashes of all windows and pieces, of which it keeps most on its disk. The windows themselves
meet its decisions by file.
"""

from __future__ import annotations

import functools
import itertools
import math
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any

import apache_beam as beam
import numpy as np

from magenta_lite.converters.base import Report
from magenta_lite.data import building, window_store
from magenta_lite.data.building import SPLITS, Collecting, PackedFile
from magenta_lite.data.reading import Source
from magenta_lite.data.splitting import Window
from magenta_lite.data.window_store import WindowStore
from magenta_lite.data.workers import Crash, attempt

ARCHIVE_SHARES = 16  # of an archive, which as many workers read at once
EMPTY = "empty"  # tag of the splits without windows

WriteFound = Callable[[Report, dict[str, dict[str, Any]], list[str]], None]
Place = tuple[int, int]  # index of a source, and of a file in it
Decided = list[tuple[str, np.ndarray]]  # split of each piece of a file, and its stored windows


def examples_of(
    pipeline: beam.Pipeline,
    sources: Sequence[Source],
    listing: Report,
    converter_config: Any,
    by_folder: bool,
    listed: Any,
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
        listed: `epath.Path` to which the list of the sources is written, for the workers.
        example: Returns the key and the example of a window.
        write_found: Called by a worker with the report, the metadata of the pieces by name, and the
            names of empty splits.
    """
    # The elements of `Create` are part of the job request, which services limit to some megabytes.
    listed.write_bytes(pickle.dumps(sources))
    encode = functools.partial(_encode, converter_config=converter_config)
    decide = functools.partial(
        _decide, listing=listing, by_folder=by_folder, write_found=write_found
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
        | "InOnePlace" >> beam.GroupByKey()
        | "Decide" >> beam.FlatMapTuple(decide).with_outputs(EMPTY, main="decided")
    )
    stored = (
        (encoded, decided)
        | "ByFile" >> beam.CoGroupByKey()
        | "Stored" >> beam.FlatMapTuple(_stored)
    )
    fillers = empty | "Fillers" >> beam.Map(_filler, converter_config)
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
) -> Iterator[tuple[Place, tuple[str, PackedFile | Crash]]]:
    """Yields place, and name of the source and encoding, of each file of a share."""
    files = enumerate(building.pack_files(source, converter_config))
    for i, (name, answer) in itertools.islice(files, share.start, None, share.step):
        yield (number, i), (source.name, attempt(name, answer))


def _without_windows(
    place: Place, named: tuple[str, PackedFile | Crash]
) -> tuple[None, tuple[Place, str, PackedFile | Crash]]:
    name, file = named
    if not isinstance(file, Crash):
        file = file._replace(pieces=[piece._replace(windows=[]) for piece in file.pieces])
    return None, (place, name, file)


def _decide(
    _: None,
    files: Iterable[tuple[Place, str, PackedFile | Crash]],
    listing: Report,
    by_folder: bool,
    write_found: WriteFound,
) -> Iterator[Any]:
    """Yields the `Decided` of each place with stored windows, and the names of empty splits."""
    store, counts = WindowStore(), []
    collecting = Collecting(store, listing)
    with tempfile.TemporaryFile() as spilled:
        starts: dict[Place, int] = {}
        names: dict[int, str] = {}
        for place, name, answer in files:
            starts[place], names[place[0]] = spilled.tell(), name
            pickle.dump(answer, spilled)

        def read(place: Place) -> PackedFile | Crash:
            spilled.seek(starts[place])
            answer = pickle.load(spilled)
            counts.append(0 if isinstance(answer, Crash) else len(answer.pieces))
            return answer

        for number, places in itertools.groupby(sorted(starts), key=itemgetter(0)):
            collecting.add_source(names[number], map(read, places))
    report = collecting.settle(by_folder)
    empty = [split for split, windows in store.splits().items() if not windows]
    write_found(report, collecting.facts, empty)
    yield from (beam.pvalue.TaggedOutput(EMPTY, split) for split in empty)
    decisions = store.decisions()
    for place, count in zip(sorted(starts), counts, strict=True):
        decided = list(itertools.islice(decisions, count))
        if any(stored.any() for _, stored in decided):
            yield place, decided


def _stored(
    place: Place, found: tuple[list[tuple[str, PackedFile]], list[Decided]]
) -> Iterator[Window]:
    """Yields the stored windows of a file."""
    for (_, file), decided in zip(*found, strict=False):  # undecided, if none is stored
        for piece, (split, stored) in zip(file.pieces, decided, strict=True):
            yield from window_store.unpack(piece, split, stored)


def _filler(split: str, converter_config: Any) -> Window:
    """Returns a window of one step."""
    format = building.converter_of(converter_config).event_format
    events = bytes(format.event_dtype.itemsize * math.prod(format.event_shape))
    controls = b"\0" if format.control == "chords" else b""
    position = (0, 1) if format.kind == "audio" else None
    return Window((0, 0, 0), "", events, controls, split, position=position)

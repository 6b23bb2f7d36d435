"""Writes the windows of a split as TFRecords of `tf.train.Example`, which TFDS reads.

Files, order and examples are those of TFDS's own writer, which takes ten times as long. The
features of a record are in alphabetical order, so that equal windows give equal bytes. Imports no
TensorFlow. Encoding: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from magenta_lite.converters.base import EventFormat
from magenta_lite.data import building
from magenta_lite.data.records import framed
from magenta_lite.data.splitting import Window
from magenta_lite.data.window_store import StoredWindows

BYTES, FLOATS, INTEGERS = b"\x0a", b"\x12", b"\x1a"  # tags of the lists of a `tf.train.Feature`
FIRST, SECOND = b"\x0a", b"\x12"  # tags of the fields 1 and 2 of other messages
SORTED = 2**20  # windows that are sorted at once


def key_of(window: Window) -> bytes:
    """Returns what decides on the place of a window in its split: the content, so that the order
    depends only on it, or for windows with a position, which may be equal, their piece and it.
    """
    if not window.position:
        return window.events + window.controls
    return b"%d " % window.position[0] + window.piece.encode("utf-8", "surrogateescape")


def write_split(
    windows: StoredWindows,
    format: EventFormat,
    shards_of: Callable[[int], Sequence[tuple[Path, int]]],
) -> int:
    """Writes a split that has windows, by the MD5 hashes of the split's name and `key_of`.

    Args:
        windows: The windows of the split.
        format: The format of their events.
        shards_of: Returns the path and the number of examples of each file, for the size of all
            examples in bytes.

    Returns:
        The size of all examples in bytes.

    Raises:
        ValueError: If two windows have the same key.
        OSError: If a file cannot be written.
    """
    with tempfile.TemporaryFile(dir=windows.store.folder) as hashes:
        kind, dtype = format.kind, format.event_dtype
        size, of_split = 0, hashlib.md5(windows.split.encode())
        for window in windows:
            digest = of_split.copy()
            digest.update(key_of(window))
            hashes.write(digest.digest())
            size += len(serialized(window, kind, dtype))
        hashes.flush()
        what = f"Writing {windows.split}"
        shuffled = _shuffled(windows, hashes.fileno())
        in_order = building.with_progress(shuffled, what, len(windows))
        for path, count in shards_of(size):
            with path.open("wb") as file:
                for window in itertools.islice(in_order, count):
                    file.write(framed(serialized(window, kind, dtype)))
    return size


def _shuffled(windows: StoredWindows, hashes: int) -> Iterator[Window]:
    """Yields windows in the order of their hashes, of 16 bytes each in the open file `hashes`."""
    count, half = np.uint64(-(-len(windows) // SORTED)), np.uint64(32)
    for part in range(int(count)):
        rows, digests, start = [], [], 0
        for chunk in windows.rows():
            read = os.pread(hashes, 16 * len(chunk), 16 * start)
            found = np.frombuffer(read, ">u8").reshape(-1, 2)
            within = (found[:, 0] >> half) * count >> half == part
            rows.append(chunk[within])
            digests.append(found[within])
            start += len(chunk)
        digest = np.concatenate(digests)
        order = np.lexsort((digest[:, 1], digest[:, 0]))
        digest = digest[order]
        if (digest[1:] == digest[:-1]).all(axis=1).any():
            raise ValueError(f"Two windows of {windows.split} have the same key")
        yield from windows.read(np.concatenate(rows)[order])


def serialized(window: Window, kind: str, dtype: np.dtype) -> bytes:
    """Returns the `tf.train.Example` of a window; see `CollectionBuilder` for its features.

    Args:
        window: The window.
        kind: The `EventFormat.kind` of its events.
        dtype: The `EventFormat.event_dtype` of its events.
    """
    if kind == "audio":
        features = _feature(b"events", BYTES, window.events)
    elif kind == "groove":
        features = _feature(b"events", FLOATS, window.events)
    else:
        features = _feature(b"events", INTEGERS, _varints(window.events, dtype.itemsize))
    if window.controls:
        features = _feature(b"controls", INTEGERS, _varints(window.controls, 1)) + features
    features += _piece(window.piece)
    if window.position:
        position = np.array(window.position, np.uint64).tobytes()
        features += _feature(b"position", INTEGERS, _varints(position, 8))
    return _prefix(FIRST, len(features)) + features


def _feature(name: bytes, kind: bytes, values: bytes) -> bytes:
    """Returns an entry of the map of features, for its encoded values."""
    return _before(name, kind, len(values)) + values


@functools.lru_cache(maxsize=2**14)
def _before(name: bytes, kind: bytes, size: int) -> bytes:
    """Returns what precedes the values of a feature."""
    before = b""
    for tag in (FIRST, kind, SECOND):  # values in a list in a feature
        before = _prefix(tag, len(before) + size) + before
    before = _prefix(FIRST, len(name)) + name + before
    return _prefix(FIRST, len(before) + size) + before


@functools.lru_cache(maxsize=2**8)
def _piece(name: str) -> bytes:
    return _feature(b"piece", BYTES, name.encode())


@functools.lru_cache(maxsize=2**14)
def _prefix(tag: bytes, size: int) -> bytes:
    """Returns the tag and the size of a field."""
    return tag + _varints(np.array([size], np.uint64).tobytes(), 8)


def _varints(values: bytes, itemsize: int) -> bytes:
    """Returns unsigned integers of `itemsize` bytes each as varints: 7 bits a byte, low ones first.

    The highest bit of a byte says that another one follows.
    """
    if itemsize == 1 and values.isascii():
        return values
    numbers = np.frombuffer(values, f"u{itemsize}")
    count = -(-max(int(numbers.max(initial=0)).bit_length(), 1) // 7)
    if count == 1:
        return numbers.astype(np.uint8).tobytes()
    digits = np.empty((len(numbers), count), np.uint8)
    used = np.ones(digits.shape, bool)
    for place in range(count):
        digits[:, place] = numbers & 127
        numbers = numbers >> 7
        more = numbers > 0
        digits[:, place] |= more.view(np.uint8) << 7
        used[:, place + 1 :] = more[:, None]
    return digits[used].tobytes()

"""Windows as records of TFRecord files, each a `tf.train.Example` that TFDS reads.

Records have their features in a fixed order, so that equal windows of a piece give equal bytes.
Imports no TensorFlow. Encoding: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import functools
import hashlib
from typing import NamedTuple

import numpy as np

from magenta_lite.converters.base import EventFormat
from magenta_lite.data.records import HEADER, framed

BYTES, FLOATS, INTEGERS = b"\x0a", b"\x12", b"\x1a"  # tags of the lists of a `tf.train.Feature`
FIRST, SECOND = b"\x0a", b"\x12"  # tags of the fields 1 and 2 of other messages


class Record(NamedTuple):
    """The record of a window.

    Attributes:
        data: Its bytes, with sizes and checksums.
        start: Place of the values of `events` in them.
        size: Size of these values.
    """

    data: bytes
    start: int
    size: int


class RecordWriter:
    """Makes the records of windows of one format; see `CollectionBuilder` for their features."""

    def __init__(self, format: EventFormat):
        self._itemsize = format.event_dtype.itemsize
        self._tag = {"audio": BYTES, "groove": FLOATS}.get(format.kind, INTEGERS)

    def record(
        self, events: bytes, controls: bytes, piece: str, position: tuple[int, int] | None
    ) -> Record:
        """Returns the record of a window; for the arguments see `Window`."""
        values = varints(events, self._itemsize) if self._tag == INTEGERS else events
        before = _before(b"events", self._tag, len(values))
        others = _piece(piece)
        if controls:
            others = _feature(b"controls", INTEGERS, varints(controls, 1)) + others
        if position:
            others += _feature(
                b"position", INTEGERS, varints(np.array(position, "u8").tobytes(), 8)
            )
        before = _prefix(FIRST, len(before) + len(values) + len(others)) + before
        return Record(framed(before + values + others), HEADER.size + len(before), len(values))

    def read(self, record: bytes, start: int, size: int, controls: int) -> tuple[bytes, bytes]:
        """Returns the events and the controls, of which there are `controls` bytes, of a record."""
        values, end = record[start : start + size], start + size
        events = numbers_of(values, self._itemsize) if self._tag == INTEGERS else values
        if not controls:
            return events, b""
        end += len(_before(b"controls", INTEGERS, controls))
        return events, record[end : end + controls]


def order_of(
    split: str, events: bytes, controls: bytes, piece: str, position: tuple[int, int] | None
) -> bytes:
    """Returns the hash by which TFDS sorts the windows of a split: MD5 of its name and `key_of`."""
    return hashlib.md5(split.encode() + key_of(events, controls, piece, position)).digest()


def key_of(events: bytes, controls: bytes, piece: str, position: tuple[int, int] | None) -> bytes:
    """Returns what decides on the place of a window in its split.

    This is the content, so that the order depends only on it; or for windows with a position, of
    which several may be equal, the piece and the position.
    """
    if not position:
        return events + controls
    return b"%d " % position[0] + piece.encode("utf-8", "surrogateescape")


def _feature(name: bytes, tag: bytes, values: bytes) -> bytes:
    """Returns an entry of the map of features, for its encoded values."""
    return _before(name, tag, len(values)) + values


@functools.lru_cache(maxsize=2**14)
def _before(name: bytes, tag: bytes, size: int) -> bytes:
    """Returns what precedes the values of a feature."""
    before = b""
    for field in (FIRST, tag, SECOND):  # the values in a list in a feature
        before = _prefix(field, len(before) + size) + before
    before = _prefix(FIRST, len(name)) + name + before
    return _prefix(FIRST, len(before) + size) + before


@functools.lru_cache(maxsize=2**8)
def _piece(name: str) -> bytes:
    return _feature(b"piece", BYTES, name.encode())


@functools.lru_cache(maxsize=2**14)
def _prefix(tag: bytes, size: int) -> bytes:
    """Returns the tag and the size of a field."""
    return tag + varints(np.array([size], np.uint64).tobytes(), 8)


def varints(numbers: bytes, itemsize: int) -> bytes:
    """Returns unsigned integers of `itemsize` bytes each as varints: 7 bits a byte, low ones first.

    The highest bit of a byte says that another one follows.
    """
    if itemsize == 1 and numbers.isascii():
        return numbers
    left = np.frombuffer(numbers, f"u{itemsize}")
    count = -(-max(int(left.max(initial=0)).bit_length(), 1) // 7)
    digits = np.empty((len(left), count), np.uint8)
    used = np.ones(digits.shape, bool)
    for place in range(count):
        digits[:, place] = left & 127
        left = left >> 7
        more = left > 0
        digits[:, place] |= more.view(np.uint8) << 7
        used[:, place + 1 :] = more[:, None]
    return digits[used].tobytes()


def numbers_of(values: bytes, itemsize: int) -> bytes:
    """Returns the unsigned integers, of `itemsize` bytes each, that are encoded as varints."""
    if itemsize == 1 and values.isascii():
        return values
    digits = np.frombuffer(values, np.uint8)
    ends = np.flatnonzero(digits < 128)
    starts = np.append(0, ends + 1)[:-1]
    places = np.arange(len(digits)) - np.repeat(starts, ends + 1 - starts)
    shifted = (digits & 127).astype(np.uint64) << (7 * places).astype(np.uint64)
    return np.add.reduceat(shifted, starts).astype(f"u{itemsize}").tobytes() if values else b""

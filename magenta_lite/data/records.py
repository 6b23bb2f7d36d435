"""Records of TFRecord files, without TensorFlow, whose import takes seconds and much memory.

Source: https://www.tensorflow.org/tutorials/load_data/tfrecord, "TFRecord files format".
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator

import google_crc32c

from magenta_lite.errors import UnreadableError

HEADER = struct.Struct("<QI")  # size of the data, checksum of the size
CHECKSUM = struct.Struct("<I")  # of the data
FRAME = HEADER.size + CHECKSUM.size  # bytes around a record


def records_in(data: bytes) -> Iterator[bytes]:
    """Yields the records of a file.

    Raises:
        UnreadableError: If a record is cut off, or a checksum is wrong.
    """
    place = 0
    while place < len(data):
        start = place + HEADER.size
        if start > len(data):
            raise UnreadableError("damaged or truncated TFRecord")
        size, checksum = HEADER.unpack_from(data, place)
        end = start + size
        if checksum != masked_crc(data[place : place + 8]) or end + CHECKSUM.size > len(data):
            raise UnreadableError("damaged or truncated TFRecord")
        record = data[start:end]
        if CHECKSUM.unpack_from(data, end) != (masked_crc(record),):
            raise UnreadableError("damaged or truncated TFRecord")
        yield record
        place = end + CHECKSUM.size


def masked_crc(data: bytes) -> int:
    """Returns the checksum of bytes, CRC-32C, as TFRecord files store it."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def framed(record: bytes) -> bytes:
    """Returns a record as it is in a file: its size, the data, and a checksum of each."""
    return _header(len(record)) + record + CHECKSUM.pack(masked_crc(record))


@functools.lru_cache(maxsize=2**14)
def _header(size: int) -> bytes:
    return HEADER.pack(size, masked_crc(size.to_bytes(8, "little")))

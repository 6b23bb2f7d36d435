"""Reads the records of TFRecord files without TensorFlow, which takes seconds and much memory.

Source: https://www.tensorflow.org/tutorials/load_data/tfrecord, "TFRecord files format".
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator

from magenta_lite.errors import UnreadableError

POLYNOMIAL = 0x82F63B78  # of CRC-32C (RFC 3720), lowest bit first
HEADER = struct.Struct("<QI")  # size of the data, checksum of the size
CHECKSUM = struct.Struct("<I")  # of the data


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
    """Returns the checksum of bytes as TFRecord files store it."""
    table, crc = _table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@functools.cache
def _table() -> list[int]:
    """Returns the checksum of each byte."""
    table = list(range(256))
    for _ in range(8):
        table = [crc >> 1 ^ POLYNOMIAL * (crc & 1) for crc in table]
    return table

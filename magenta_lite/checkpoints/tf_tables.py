"""Checks of the tables in TensorFlow's checkpoints, before TensorFlow reads them.

TensorFlow allocates what a table states, and ends the process if that is too much. The format is
that of LevelDB's tables (https://github.com/google/leveldb, doc/table_format.md): blocks of sorted
pairs of keys and values, an index of the blocks, a footer.

* Since version 0.12, a table `.index` describes the tensors in the files `.data-…`.
* Before, a checkpoint is one table: the first value describes the tensors, the others hold them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
FOOTER = 48  # bytes
TRAILER = 5  # bytes behind a block: compression, checksum
RAW, SNAPPY = 0, 1  # compressions
# The largest ratio that Snappy reaches is 21. Keys are stored without what they share with the key
# before; names of variables repeat far less than this.
MAX_EXPANSION = 64
SMALL = 2**16  # bytes of keys that are never too many
MAX_AXES = 254  # of TensorFlow

# By the names of TensorFlow's types, those of variables: bytes of a value, and the field of
# `TensorProto` that holds values.
TYPES = {
    "DT_FLOAT": (4, "float_val"),
    "DT_DOUBLE": (8, "double_val"),
    "DT_HALF": (2, "half_val"),
    "DT_BFLOAT16": (2, "half_val"),
    "DT_INT64": (8, "int64_val"),
    "DT_INT32": (4, "int_val"),
    "DT_INT16": (2, "int_val"),
    "DT_INT8": (1, "int_val"),
    "DT_UINT8": (1, "int_val"),
    "DT_BOOL": (1, "bool_val"),
}


class TableError(ValueError):
    """A table that is damaged, or states more than there is. The message is the reason."""


def check_bundle(index: bytes, shards: Sequence[int]) -> None:
    """Checks the table `.index` of a checkpoint against the sizes of its `shards` in bytes.

    Raises:
        TableError: If a tensor lies outside them, has another size than its shape, or is
            partitioned.
    """
    from tensorflow.core.protobuf import tensor_bundle_pb2

    total = 0
    for number, (key, value) in enumerate(entries(index)):
        if number == 0:
            header = _parsed(tensor_bundle_pb2.BundleHeaderProto, value)
            if key or header.num_shards != len(shards):
                raise TableError(f"it is not the index of {len(shards)} files of values")
            continue
        entry = _parsed(tensor_bundle_pb2.BundleEntryProto, value)
        size, _ = _type(entry.dtype)
        stored = _count(entry.shape) * size
        if entry.slices:  # TensorFlow ends the process if they are damaged
            raise TableError(f"{_name(key)} is stored in parts")
        if entry.size != stored:
            raise TableError(f"{_name(key)} has {entry.size:,} bytes instead of {stored:,}")
        if not 0 <= entry.shard_id < len(shards):
            raise TableError(f"{_name(key)} lies in a file that is missing")
        if not 0 <= entry.offset <= shards[entry.shard_id] - stored:
            raise TableError(f"{_name(key)} lies behind the end of its file")
        total += stored
    if total > sum(shards):
        raise TableError("its tensors overlap")


def check_single_file(table: bytes) -> None:
    """Checks a checkpoint of one table.

    Raises:
        TableError: If a tensor has another number of values than its shape, or is partitioned.
    """
    import tensorflow.core.util.saved_tensor_slice_pb2 as saved_tensor_slice_pb2

    messages: Any = saved_tensor_slice_pb2
    fields: dict[bytes, tuple[int, str]] = {}
    for number, (key, value) in enumerate(entries(table)):
        part = _parsed(messages.SavedTensorSlices, value)
        if number == 0:
            for tensor in part.meta.tensor:
                _, field = _type(tensor.type)
                extents = [extent for slice in tensor.slice for extent in slice.extent]
                partial = any(extent.start or extent.HasField("length") for extent in extents)
                if partial or len(tensor.slice) != 1 or len(extents) != len(tensor.shape.dim):
                    raise TableError(f"{tensor.name!r:.80} is stored in parts")
                fields[_key(tensor.name)] = _count(tensor.shape), field
            if len(fields) < len(part.meta.tensor):
                raise TableError("it describes a tensor twice")
            continue
        prefix = _key(part.data.name)
        if prefix not in fields or not key.startswith(prefix):
            raise TableError(f"{_name(key)} is not described")
        count, field = fields.pop(prefix)
        found = len(getattr(part.data.data, field))
        if found != count:
            raise TableError(f"{part.data.name!r:.80} has {found:,} values instead of {count:,}")
    if fields:
        raise TableError(f"{_name(min(fields))} is missing")


def entries(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields the keys and values of a table.

    Raises:
        TableError: If it is damaged.
    """
    footer, end = table[-FOOTER:], len(table) - FOOTER
    if end < 0 or not footer.endswith(MAGIC):
        raise TableError("it is cut off or something else")
    offset, place = _handle(footer, 0)
    _block(table, offset, end)
    index, _ = _handle(footer, place)
    room = MAX_EXPANSION * len(table) + SMALL
    behind, last = 0, None
    for _, value in _pairs(_block(table, index, end)):
        (offset, size), _ = _handle(value, 0)
        if offset < behind:
            raise TableError("its blocks overlap")
        behind = offset + size
        for key, content in _pairs(_block(table, (offset, size), end)):
            room -= len(key)
            if room < 0:
                raise TableError("its names are too long")
            if last is not None and key <= last:
                raise TableError("its keys are not in order")
            last = key
            yield key, content


def _handle(data: bytes, place: int) -> tuple[tuple[int, int], int]:
    """Returns offset and size of a block that are stored at a place, and the place behind."""
    offset, place = _varint(data, place)
    size, place = _varint(data, place)
    return (offset, size), place


def _varint(data: bytes, place: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 64, 7):
        if place >= len(data):
            break
        number |= (data[place] & 127) << shift
        place += 1
        if data[place - 1] < 128:
            return number, place
    raise TableError("a number is cut off")


def _block(table: bytes, handle: tuple[int, int], end: int) -> bytes:
    """Returns the content of a block that ends before `end`."""
    offset, size = handle
    if offset + size + TRAILER > end:
        raise TableError("a block lies behind its end")
    content, compression = table[offset : offset + size], table[offset + size]
    if compression == RAW:
        return content
    if compression == SNAPPY:
        return unpacked(content)
    raise TableError(f"a block has the unknown compression {compression}")


def _pairs(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields the pairs of a block: shared and other bytes of the key, bytes of the value."""
    if len(block) < 4:
        raise TableError("a block is cut off")
    (restarts,) = struct.unpack("<I", block[-4:])
    end = len(block) - 4 * (restarts + 1)
    place, key = 0, b""
    while place < end:
        shared, place = _varint(block, place)
        own, place = _varint(block, place)
        size, place = _varint(block, place)
        behind = place + own + size
        if shared > len(key) or behind > end:
            raise TableError("an entry lies behind the end of its block")
        key = key[:shared] + block[place : place + own]
        yield key, block[place + own : behind]
        place = behind
    if place != end or end < 0:
        raise TableError("the entries of a block do not end where they should")


def unpacked(data: bytes) -> bytes:
    """Returns data without the compression of Snappy (format_description.txt of its sources).

    Raises:
        TableError: If they are damaged.
    """
    size, place = _varint(data, 0)
    if size > MAX_EXPANSION * len(data):
        raise TableError("a block is compressed too much")
    result = bytearray()
    while place < len(data) and len(result) <= size:
        tag, kind = data[place] >> 2, data[place] & 3
        place += 1
        if kind == 0:  # values as they are
            more = max(tag - 59, 0)  # bytes of the length
            length = (int.from_bytes(data[place : place + more], "little") if more else tag) + 1
            place += more
            result += data[place : place + length]
            place += length
            continue
        # A copy of earlier values, which may overlap with what it writes.
        more = (1, 2, 4)[kind - 1]
        distance = int.from_bytes(data[place : place + more], "little")
        length = tag + 1
        if kind == 1:
            distance, length = distance | tag >> 3 << 8, (tag & 7) + 4
        place += more
        if not 0 < distance <= len(result):
            raise TableError("a compressed block is damaged")
        copied = result[-distance:][:length]
        result += (copied * -(-length // len(copied)))[:length]
    if len(result) != size or place != len(data):
        raise TableError("a compressed block is damaged")
    return bytes(result)


def _parsed(message_class: Any, data: bytes) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return message_class.FromString(data)
    except DecodeError as error:
        raise TableError("an entry is damaged") from error


def _type(number: int) -> tuple[int, str]:
    from tensorflow.core.framework import types_pb2

    types: Any = types_pb2
    known = number in types.DataType.values()
    name = types.DataType.Name(number) if known else str(number)
    if name not in TYPES:
        raise TableError(f"a tensor has the type {name}, which weights do not have")
    return TYPES[name]


def _count(shape: Any) -> int:
    sizes = [axis.size for axis in shape.dim]
    if shape.unknown_rank or len(sizes) > MAX_AXES or min(sizes, default=0) < 0:
        raise TableError("a tensor has no shape")
    if math.prod(size or 1 for size in sizes) >= 2**62:  # TensorFlow multiplies them as int64
        raise TableError("a tensor is larger than any file")
    return math.prod(sizes)


def _key(name: str) -> bytes:
    """Returns the beginning of the key of a tensor in a checkpoint of one table."""
    return b"\0" + name.encode().replace(b"\0", b"\0\xff") + b"\0\1"


def _name(key: bytes) -> str:
    return repr(key.decode("latin-1")[:80])

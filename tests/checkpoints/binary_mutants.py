"""Mutants of checkpoints and WAD files, and how their readers are tried; see the script.

`scripts/fuzz_binary_readers.py` tries many; `test_mutants.py` tries some.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import random
import resource
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from magenta_lite.checkpoints import magenta_js, melody_rnn, tf1, tf_tables, torch_files
from magenta_lite.data import wad
from magenta_lite.data.formats import UnreadableError
from magenta_lite.errors import UserError

GOLDEN = Path(__file__).parents[1] / "golden"
SIZES = (0, 1, 2, 127, 128, 255, 256, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63)
SIZES += tuple(2**64 - number for number in (1, 2**31))
JSON_VALUES = (None, True, -1, 0, 1.5, 10**18, 10**400, "", "\0", "../../x", "/etc/passwd", "1e9")
JSON_VALUES += ([], {}, [[]], [10**18], [-1], [1] * 100, {"dtype": "uint8"}, "complex64")


class Reader(NamedTuple):
    """A reader to try.

    Attributes:
        seeds: Returns valid inputs.
        read: Reads an input, which it may write into a folder; raises an error for users if it is
            not valid.
        mutate: Returns a mutant of an input with right checksums, in the form of an input.
    """

    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes, Path], Any]
    mutate: Callable[[bytes, random.Random], bytes]


# Tables of TensorFlow ----------------------------------------------------------------------------


def _checksum_table() -> list[int]:
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
        table.append(number)
    return table


_TABLE = _checksum_table()


def checksum(data: bytes) -> int:
    """Returns the masked CRC-32C of TensorFlow's files."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 255]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(number: int) -> bytes:
    """Returns a number in the encoding of tables and protocol buffers."""
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def write_table(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """Returns a table of one block with these keys and values."""

    def block(entries: list[tuple[bytes, bytes]]) -> bytes:
        content = b"".join(
            varint(0) + varint(len(key)) + varint(len(value)) + key + value
            for key, value in entries
        )
        content += struct.pack("<II", 0, 1) + b"\0"
        return content + struct.pack("<I", checksum(content))

    data, empty = block(pairs), block([])
    last = pairs[-1][0] + b"\xff" if pairs else b"\xff"
    index = block([(last, varint(0) + varint(len(data) - 5))])
    footer = b"".join(
        varint(number)
        for number in (len(data), len(empty) - 5, len(data) + len(empty), len(index) - 5)
    )
    return data + empty + index + footer.ljust(40, b"\0") + tf_tables.MAGIC


def mutate_table(table: bytes, rng: random.Random) -> bytes:
    """Returns a mutant of a table in its entries, with right checksums."""
    pairs = list(tf_tables.entries(table))
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(pairs))
        key, value = pairs[place]
        match rng.randrange(6):
            case 0:
                pairs[place] = mutate_bytes(key, rng), value
            case 1:
                pairs[place] = key, pairs[rng.randrange(len(pairs))][1]
            case 2:
                pairs.insert(rng.randrange(len(pairs)), (key, value))
            case 3 if len(pairs) > 1:
                del pairs[place]
            case _:
                pairs[place] = key, _mutate_message(value, rng)
    if rng.randrange(4):
        pairs.sort()
    return write_table(pairs)


def _mutate_message(value: bytes, rng: random.Random) -> bytes:
    """Returns a protocol buffer with another number, or other bytes."""
    if not value or rng.randrange(3) == 0:
        return mutate_bytes(value, rng)
    place = rng.randrange(len(value))
    return value[:place] + varint(rng.choice(SIZES)) + value[place + 1 :]


BUNDLES = ("music_vae/tiny-cat-mel_2bar_small/init.ckpt", "melody_rnn/tiny-basic_rnn/init.ckpt")


def _bundle_seeds() -> list[bytes]:
    """Returns indices, each behind its size, with their values."""
    seeds = []
    for name in BUNDLES:
        index = GOLDEN.joinpath(f"{name}.index").read_bytes()
        values = GOLDEN.joinpath(f"{name}.data-00000-of-00001").read_bytes()
        seeds.append(struct.pack("<I", len(index)) + index + values)
    return seeds


def _parts(data: bytes) -> tuple[bytes, bytes]:
    size = struct.unpack("<I", data[:4].ljust(4, b"\0"))[0]
    return data[4 : 4 + size], data[4 + size :]


def _read_bundle(data: bytes, folder: Path) -> None:
    index, values = _parts(data)
    (folder / "x.ckpt.index").write_bytes(index)
    (folder / "x.ckpt.data-00000-of-00001").write_bytes(values)
    with tf1.open_checkpoint(folder / "x.ckpt") as variables:
        for name in variables:
            variables[name]


def _mutate_bundle(data: bytes, rng: random.Random) -> bytes:
    index, values = _parts(data)
    index = mutate_table(index, rng) if rng.randrange(3) else mutate_bytes(index, rng)
    return struct.pack("<I", len(index)) + index + values


def _single_seeds() -> list[bytes]:
    from note_seq.protobuf import generator_pb2

    path = GOLDEN / "melody_rnn" / "tiny-basic_rnn" / "init.mag"
    bundle = generator_pb2.GeneratorBundle.FromString(path.read_bytes())
    # Large arrays only make mutants slow.
    pairs = [pair for pair in tf_tables.entries(bundle.checkpoint_file[0]) if len(pair[1]) < 1000]
    messages = _messages()
    described = messages.SavedTensorSlices.FromString(pairs[0][1])
    names = {messages.SavedTensorSlices.FromString(value).data.name for _, value in pairs[1:]}
    kept = [tensor for tensor in described.meta.tensor if tensor.name in names]
    del described.meta.tensor[:]
    described.meta.tensor.extend(kept)
    return [write_table([(b"", described.SerializeToString()), *pairs[1:]])]


def _messages() -> Any:
    from tensorflow.core.util import saved_tensor_slice_pb2

    return saved_tensor_slice_pb2


def _read_single(data: bytes, folder: Path) -> None:
    from note_seq.protobuf import generator_pb2

    bundle = generator_pb2.GeneratorBundle(checkpoint_file=[data])
    (folder / "x.mag").write_bytes(bundle.SerializeToString())
    with melody_rnn.open_checkpoint(folder / "x.mag") as variables:
        for name in variables:
            variables[name]


def _mutate_single(data: bytes, rng: random.Random) -> bytes:
    return mutate_table(data, rng) if rng.randrange(3) else mutate_bytes(data, rng)


# Files of PyTorch --------------------------------------------------------------------------------


def _torch_seeds() -> list[bytes]:
    names = ("training.pth", "training_legacy.pth")
    return [(GOLDEN / "torch_files" / name).read_bytes() for name in names]


def _read_torch(data: bytes, folder: Path) -> None:
    (folder / "x.pth").write_bytes(data)
    tree = torch_files.read_torch_file(folder / "x.pth")
    for value in torch_files.state_dict(tree).values():
        np.asarray(value).sum()


def _mutate_torch(data: bytes, rng: random.Random) -> bytes:
    """Returns a mutant: of the pickle in a ZIP with right checksums, or of any bytes."""
    if not data.startswith(b"PK") or not rng.randrange(4):
        return mutate_bytes(data, rng)
    mutant = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(mutant, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, mutate_bytes(content, rng) if "data.pkl" in name else content)
    return mutant.getvalue()


# Folders of magenta-js, and WAD files ------------------------------------------------------------


def _js_seeds() -> list[bytes]:
    """Returns manifests of the shard `_read_js` writes."""
    plain = {"name": "encoder/mu/kernel", "shape": [3, 4], "dtype": "float32"}
    scaled = {"dtype": "uint8", "scale": 0.5, "min": -1.0}
    small = {"name": "encoder/mu/bias", "shape": [4], "dtype": "float32", "quantization": scaled}
    return [json.dumps([{"paths": ["shard"], "weights": [plain, small]}]).encode()]


def _read_js(data: bytes, folder: Path) -> None:
    (folder / magenta_js.MANIFEST).write_bytes(data)
    (folder / magenta_js.CONFIG).write_text('{"dataConverter": {"type": "MelodyConverter"}}')
    (folder / "shard").write_bytes(bytes(52))
    with magenta_js.open_checkpoint(folder) as variables:
        for name in variables:
            variables[name]


def _mutate_js(data: bytes, rng: random.Random) -> bytes:
    tree = json.loads(data)
    if not rng.randrange(4):
        return mutate_bytes(data, rng)
    for _ in range(rng.randint(1, 2)):
        places = list(_places(tree))
        if places:
            parent, key = rng.choice(places)
            parent[key] = copy.deepcopy(rng.choice(JSON_VALUES))
    return json.dumps(tree).encode()


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yields each list or dictionary of a tree with each of its keys."""
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in list(pairs):
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _wad_seeds() -> list[bytes]:
    song = b"MThd" + struct.pack(">IHHH", 6, 0, 1, 96) + b"MTrk\0\0\0\4\0\xff\x2f\0"
    lumps = [(b"MAP01", b""), (b"D_RUNNIN", song), (b"D_OLD", b"MUS\x1a" + bytes(9)), (b"X", song)]
    body, directory = b"", b""
    for name, content in lumps:
        directory += struct.pack("<ii8s", 12 + len(body), len(content), name)
        body += content
    return [struct.pack("<4sii", b"PWAD", len(lumps), 12 + len(body)) + body + directory]


def _read_wad(data: bytes, folder: Path) -> None:
    (folder / "x.wad").write_bytes(data)
    songs, report = wad.list_songs(folder / "x.wad")
    for song in songs:
        song.read_bytes()
    if not songs:
        raise UnreadableError(min(report.dropped, default="there is no lump"))


# Mutants -----------------------------------------------------------------------------------------


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Returns data with a few bytes changed, inserted, removed, doubled or replaced by numbers."""
    mutant = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(len(mutant) + 1)
        match rng.randrange(6):
            case 0 if place < len(mutant):
                mutant[place] ^= 1 << rng.randrange(8)
            case 1:
                mutant[place : place + 1] = rng.randbytes(1)
            case 2:
                del mutant[place : place + rng.choice((1, 4, 50))]
            case 3:
                mutant[place:place] = mutant[place : place + rng.choice((1, 8, 100))]
            case 4:
                number = struct.pack(rng.choice("<>") + "Q", rng.choice(SIZES) % 2**64)
                size = rng.choice((1, 2, 4, 8))
                part = number[:size] if rng.randrange(2) else number[-size:]
                mutant[place : place + size] = part
            case _:
                other = rng.randrange(len(mutant) + 1)
                part = mutant[other : other + 8]
                mutant[place : place + len(part)] = part
    return bytes(mutant)


READERS = {
    "bundle": Reader(_bundle_seeds, _read_bundle, _mutate_bundle),
    "single": Reader(_single_seeds, _read_single, _mutate_single),
    "torch": Reader(_torch_seeds, _read_torch, _mutate_torch),
    "magenta_js": Reader(_js_seeds, _read_js, _mutate_js),
    "wad": Reader(_wad_seeds, _read_wad, mutate_bytes),
}


def attempt(reader: Reader, data: bytes, folder: Path) -> bool:
    """Returns whether a reader reads the data, without leaving them in the folder.

    Raises:
        Exception: If it neither reads nor refuses them in one line.
    """
    try:
        reader.read(data, folder)
    except (UserError, UnreadableError) as error:
        if "\n" in str(error) or len(str(error)) > 1000:
            raise AssertionError(f"not a line: {error}") from error
        return False
    finally:
        for path in folder.iterdir():
            path.unlink()
    return True


def mutants(reader: Reader, seed: int) -> Iterator[bytes]:
    """Yields mutants of the seeds of a reader without end, the same for the same seed."""
    rng, seeds = random.Random(seed), reader.seeds()
    while True:
        yield reader.mutate(rng.choice(seeds), rng)


@contextlib.contextmanager
def limited_memory(megabytes: int) -> Iterator[None]:
    """Limits the memory that this process may take in addition."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    size = pages * resource.getpagesize() + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)

"""Reader of files of PyTorch's `torch.save`, without PyTorch and without running their code.

Such a file is a pickle whose tensors refer to storages, flat arrays outside of the pickle.

* Since PyTorch 1.6 it is a ZIP: `NAME/data.pkl`, storages `NAME/data/KEY`, `NAME/byteorder`.
* Before, it consists of five pickles (a magic number, a version, system information, the tree, the
  keys of its storages), then for each key the length of the storage (int64) and its values.

A pickle can call any Python function. This reader accepts about thirty names, all of data types,
and rejects files with other names.
"""

from __future__ import annotations

import contextlib
import io
import math
import mmap
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from magenta_lite.checkpoints import pickles
from magenta_lite.errors import UserError, first_line

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001
ZIP_START = b"PK\3\4"
MAX_PICKLE = 2**26  # bytes; a hundred times the tree of the largest Jukebox
# Tensors may share values, e.g. tied matrices; their bytes together are at most this multiple of
# those of the file. Small files may have more.
MAX_SHARING = 4
MIN_ROOM = 2**20

DTYPES = {
    "float64": "f8",
    "float32": "f4",
    "float16": "f2",
    "bfloat16": "u2",  # NumPy lacks it; `_to_numpy` converts it to float32
    "int64": "i8",
    "int32": "i4",
    "int16": "i2",
    "int8": "i1",
    "uint64": "u8",
    "uint32": "u4",
    "uint16": "u2",
    "uint8": "u1",
    "bool": "?",
    "complex64": "c8",
    "complex128": "c16",
}
STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",  # bytes; tensors define their dtype
}
# First bytes of other formats, for error messages.
KNOWN_STARTS = {
    b"\x1f\x8b": "a gzip file; unpack it first",
    b"\x89HDF": "an HDF5 file, as of Keras",
    b"version https://git-lfs": "a Git LFS pointer; fetch the file that it stands for",
}


def read_torch_file(path: str | Path) -> dict[str, Any]:
    """Reads a file of `torch.save`, in the ZIP format or the older one.

    Tensors are returned as NumPy arrays, read-only views of the memory-mapped file, which may be
    larger than the memory; tensors that share a storage share it in the result. bfloat16, which
    NumPy lacks, is copied to float32. Checksums of storages are verified in ZIP files; the older
    format has none.

    Args:
        path: For example one of the `.pth.tar` files of Jukebox, which are not tar files.

    Returns:
        The saved tree of dictionaries, lists, tuples, numbers, strings and arrays. A dtype is
        represented by its name.

    Raises:
        UserError: If the file is not a PyTorch file (names the apparent format), is damaged or
            truncated, contains no dictionary, or refers to a name that is not a data type.
    """
    path = Path(path).expanduser()
    buffer = _map(path)
    if buffer[:4] == ZIP_START:
        tree = _read_zip(path, buffer)
    elif buffer[:1] == pickle.PROTO:
        tree = _read_legacy(path, buffer)
    else:
        raise _not_torch(path, _looks_like(buffer))
    if not isinstance(tree, dict):
        raise UserError(
            f"{path} holds a {type(tree).__name__} where a dictionary of weights belongs"
        )
    return tree


class Weights(dict):
    """The weights of a checkpoint by name, and its training steps; 0 if unknown."""

    global_step: int = 0

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each array."""
        return {name: array.shape for name, array in self.items()}


@contextlib.contextmanager
def open_checkpoint(path: str | Path) -> Iterator[Weights]:
    """Opens the weights in a file of `torch.save`.

    Raises:
        UserError: See `read_torch_file` and `state_dict`.
    """
    tree = read_torch_file(path)
    weights = Weights(state_dict(tree))
    step = tree.get("step", 0)
    weights.global_step = step if isinstance(step, int) else 0
    yield weights


def state_dict(tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns the weights in a result of `read_torch_file`.

    Args:
        tree: The weights by name, or a dictionary with them under `model` or `state_dict`.

    Returns:
        The weights by name, without the prefix `module.` of PyTorch's data-parallel wrappers.

    Raises:
        UserError: If there are no weights, an entry is not a tensor, or a name occurs twice.
    """
    places = (tree.get("model"), tree.get("state_dict"), tree)
    found = next(place for place in places if isinstance(place, Mapping))
    if not any(isinstance(value, np.ndarray) for value in found.values()):
        raise UserError(
            "The file holds no weights, neither at the top nor under 'model' or 'state_dict': "
            f"its top has {_names(tree)}"
        )
    weights = {}
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, np.ndarray):
            raise UserError(
                f"{_short(name)} among the weights is a {type(value).__name__}, not a tensor"
            )
        name = name.removeprefix("module.")
        if name in weights:
            raise UserError(f"The weight {_short(name)} is there with and without 'module.'")
        weights[name] = value
    return weights


_Order = Literal["<", ">"]


class _Tree:
    """Reads the tree of a file; it accepts a fixed set of names and calls nothing else.

    Args:
        data: A pickle, with whatever follows.
        path: Path for error messages.
        storage: Returns the flat array for (key, dtype name, length).
        order: Byte order of the file, "<" or ">".
        size: Size of the file in bytes.
    """

    def __init__(
        self,
        data: bytes,
        path: Path,
        storage: Callable[[str, str, int], np.ndarray] | None = None,
        order: _Order = "<",
        size: int = 0,
    ):
        self._data = data
        self._path = path
        self._storage = storage
        self._order: _Order = order
        self._room = MAX_SHARING * size + MIN_ROOM

    def load(self) -> Any:
        """Returns the content of the pickle, whose size is `size` afterwards."""
        file = io.BytesIO(self._data)
        try:
            tree = pickles.Interpreter(file, self.find_class, self.persistent_load).load()
        except UserError:
            raise
        except Exception as error:  # a damaged pickle can raise any error
            raise _damaged(
                self._path, f"its tree cannot be read ({first_line(error)[:80]})"
            ) from error
        self.size = file.tell()
        return tree

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("jukebox.hparams", "Hyperparams"): OrderedDict,  # a dictionary of settings
            ("torch", "Size"): self._size,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch._utils", "_rebuild_tensor_v3"): self._tensor_of_bytes,
            ("torch._utils", "_rebuild_parameter"): self._parameter,
            ("torch._utils", "_rebuild_parameter_with_state"): self._parameter,
        }
        if (module, name) in known:
            return known[module, name]
        if module in ("torch", "torch.storage") and name in STORAGES:
            return name
        if module == "torch" and name in DTYPES:
            return name
        raise UserError(
            f"{self._path} asks for {_short(f'{module}.{name}')}, which is not just data; nothing "
            "of it was run. If you trust it, save model.state_dict() alone with PyTorch"
        )

    def persistent_load(self, pid: Any) -> np.ndarray:
        match pid:
            case ("storage", str(kind), str(key), str(_device), int(length), *view):
                usual = kind in STORAGES and 0 <= length < 2**63 and view in ([], [None])
                if usual and self._storage is not None:
                    return self._storage(key, STORAGES[kind], length)
        raise _damaged(self._path, "it refers to something that is not a storage")

    def _tensor(self, storage, offset, shape, strides, _gradient, _hooks, metadata=None):
        """Returns a tensor as a view of its storage; `offset` and `strides` are in elements."""
        if metadata:  # e.g. conj: values would have to be conjugated
            raise UserError(
                f"{self._path} has a tensor that is {_names(metadata)} of what is stored; save it "
                "again after .resolve_conj().resolve_neg()"
            )
        if not all(
            isinstance(number, int) and number >= 0 for number in (offset, *shape, *strides)
        ):
            raise _damaged(self._path, "the shape of a tensor is not a list of numbers")
        steps = zip(shape, strides, strict=True)
        reach = 0 if 0 in shape else offset + 1 + sum((n - 1) * stride for n, stride in steps)
        if reach > len(storage):
            raise _damaged(
                self._path,
                f"a tensor of shape {list(shape)} needs {reach} values of a storage of "
                f"{len(storage)}",
            )
        self._take(math.prod(shape) * storage.itemsize)
        if 0 in shape:
            return np.zeros(shape, storage.dtype)
        size = storage.itemsize
        return np.ndarray(
            shape, storage.dtype, storage, offset * size, [size * stride for stride in strides]
        )

    def _tensor_of_bytes(
        self, storage, offset, shape, strides, gradient, hooks, dtype, metadata=None
    ):
        if dtype not in DTYPES:
            raise _damaged(self._path, f"it has a tensor of dtype {_short(dtype)}")
        if dtype == "bfloat16":
            self._take(2 * len(storage))  # a copy as float32
        storage = _to_numpy(storage, dtype, self._order)
        return self._tensor(storage, offset, shape, strides, gradient, hooks, metadata)

    def _take(self, size: int) -> None:
        """Counts the bytes of a tensor. Raises: UserError if all are much more than the file."""
        self._room -= size
        if self._room < 0:
            raise _damaged(
                self._path, f"its tensors have more than {MAX_SHARING} times the bytes of the file"
            )

    def _parameter(self, tensor, *_):
        return tensor

    def _size(self, sizes):
        if not isinstance(sizes, tuple):
            raise _damaged(self._path, "a torch.Size is not a tuple")
        return sizes


class _StorageLengths(_Tree):
    """A first pass over the tree, which records the dtype and length of each storage by key."""

    def __init__(self, data: bytes, path: Path):
        super().__init__(data, path, self._note)
        self.storages: dict[str, tuple[str, int]] = {}

    def _note(self, key: str, dtype: str, length: int) -> Any:
        if self.storages.setdefault(key, (dtype, length)) != (dtype, length):
            raise _damaged(self._path, f"storage {_short(key)} has two dtypes or lengths")

    def _tensor(self, *_):
        return None

    def _tensor_of_bytes(self, *_):
        return None


def _read_zip(path: Path, buffer: mmap.mmap) -> Any:
    records = _zip_records(path)
    structure = next(name for name in records if name.endswith("/data.pkl"))
    folder = structure.removesuffix("data.pkl")
    order = b"little"
    if folder + "byteorder" in records:
        order = bytes(_zip_record(path, buffer, records[folder + "byteorder"]))
    if order not in (b"little", b"big"):
        raise _damaged(path, f"its byte order is {_short(order)}")
    byte_order: _Order = "<" if order == b"little" else ">"
    arrays = {}

    def storage(key: str, dtype: str, length: int) -> np.ndarray:
        if (key, dtype) not in arrays:
            record = records.get(f"{folder}data/{key}")
            if record is None:
                raise _damaged(path, f"storage {_short(key)} is missing")
            view = _zip_record(path, buffer, record)
            arrays[key, dtype] = _to_numpy(view, dtype, byte_order)
        _check_length(path, key, length, len(arrays[key, dtype]))
        return arrays[key, dtype]

    data = bytes(_zip_record(path, buffer, records[structure])[:MAX_PICKLE])
    return _Tree(data, path, storage, byte_order, len(buffer)).load()


def _zip_records(path: Path) -> dict[str, zipfile.ZipInfo]:
    """Returns the records of a ZIP by name. Raises: UserError unless it has one `data.pkl`."""
    try:
        with zipfile.ZipFile(path) as archive:
            records = {record.filename: record for record in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, struct.error) as error:
        raise _damaged(path, f"it begins like a ZIP ({first_line(error)[:80]})") from error
    if sum(record.file_size for record in records.values()) > path.stat().st_size:
        raise _damaged(path, "its records overlap, or are compressed")
    count = sum(name.endswith("/data.pkl") for name in records)
    if count != 1:
        raise _not_torch(path, f"a ZIP with {count or 'no'} data.pkl; it has {_names(records)}")
    return records


def _zip_record(path: Path, buffer: mmap.mmap, record: zipfile.ZipInfo) -> memoryview:
    """Returns the bytes of a record of a ZIP, which PyTorch does not compress."""
    name = record.orig_filename.encode("utf-8" if record.flag_bits & 0x800 else "cp437")
    start = record.header_offset
    header = buffer[start : start + 30]
    if len(header) < 30 or header[:4] != ZIP_START:
        raise _damaged(path, f"{_short(record.filename)} is not where the ZIP says")
    name_length, extra_length = struct.unpack("<HH", header[26:30])
    if buffer[start + 30 : start + 30 + name_length] != name:
        raise _damaged(path, f"{_short(record.filename)} is not where the ZIP says")
    if record.compress_type != zipfile.ZIP_STORED or record.flag_bits & 1:
        raise _damaged(path, f"{_short(record.filename)} is compressed or encrypted")
    start += 30 + name_length + extra_length
    view = memoryview(buffer)[start : start + record.file_size]
    if len(view) < record.file_size or record.compress_size != record.file_size:
        raise _damaged(path, f"{_short(record.filename)} is longer than the file")
    if record.CRC and zlib.crc32(view) != record.CRC:  # 0 if PyTorch saved without checksums
        raise _damaged(path, f"{_short(record.filename)} does not fit its checksum")
    return view


def _read_legacy(path: Path, buffer: mmap.mmap) -> Any:
    end = 0

    def load_next(tree_class: type[_Tree] = _Tree) -> tuple[Any, Any]:
        nonlocal end
        tree = tree_class(buffer[end : end + MAX_PICKLE], path)
        content = tree.load()
        end += tree.size
        return tree, content

    _, magic = load_next()
    if magic != MAGIC:
        raise _not_torch(path, "a Python pickle of something else")
    _, version = load_next()
    if version != VERSION:
        raise _damaged(path, f"only version {VERSION} of the old format is known")
    load_next()  # about the system
    start = end
    lengths, _ = load_next(_StorageLengths)
    tree = buffer[start:end]
    _, keys = load_next()
    _check_keys(path, keys, lengths.storages)
    arrays = {}
    for key in keys:
        dtype, length = lengths.storages[key]
        header = buffer[end : end + 8]
        if len(header) < 8:
            raise _damaged(path, f"storage {_short(key)} is missing")
        _check_length(path, key, length, struct.unpack("<q", header)[0])
        start = end + 8
        end = start + length * np.dtype(DTYPES[dtype]).itemsize
        if end > len(buffer):
            raise _damaged(path, f"storage {_short(key)} is longer than the file")
        arrays[key] = _to_numpy(memoryview(buffer)[start:end], dtype)
    return _Tree(tree, path, lambda key, *_: arrays[key], size=len(buffer)).load()


def _check_keys(path: Path, keys: Any, known: Mapping[str, Any]) -> None:
    """Raises: UserError if `keys` are not those of the storages."""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise _damaged(path, "the list of its storages is none")
    if len(keys) != len(known) or set(keys) != set(known):
        raise _damaged(path, "the list of its storages does not fit its tree")


def _to_numpy(data: memoryview | np.ndarray, dtype: str, order: _Order = "<") -> np.ndarray:
    """Returns bytes as a flat array of the named dtype in native byte order."""
    values = np.frombuffer(data, np.dtype(DTYPES[dtype]).newbyteorder(order))
    if dtype == "bfloat16":  # the upper half of a float32
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _map(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise _not_torch(path, "an empty file") from error


def _looks_like(buffer: mmap.mmap) -> str:
    head = buffer[:512]
    for start, description in KNOWN_STARTS.items():
        if head.startswith(start):
            return description
    if head[257:262] == b"ustar":
        return "a tar file; unpack it first"
    if head[8:10] == b'{"':
        return "a safetensors file"
    if head.lstrip()[:1] == b"<":
        return "a web page; the download went wrong"
    if all(32 <= byte < 127 or byte in b"\t\n\r" for byte in head):
        return "text"
    return f"something that begins with {head[:8].hex(' ')}"


def _check_length(path: Path, key: str, wanted: int, actual: int) -> None:
    if wanted != actual:
        raise _damaged(
            path, f"storage {_short(key)} has {actual} values where the tree has {wanted}"
        )


def _not_torch(path: Path, looks_like: str) -> UserError:
    return UserError(f"{path} is not a PyTorch file: it looks like {looks_like}")


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path} is damaged or cut off: {reason}; download it again")


def _names(names) -> str:
    return ", ".join(_short(name) for name in list(names)[:3]) or "nothing"


def _short(value: Any) -> str:
    """Returns a short representation of any value from the file."""
    return repr(value[:80]) if isinstance(value, str | bytes) else f"a {type(value).__name__}"

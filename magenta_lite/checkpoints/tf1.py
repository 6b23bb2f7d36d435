"""TensorFlow 1 checkpoints: a prefix, a directory, or the tar file that Magenta published."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from magenta_lite.checkpoints import checks, tf_tables
from magenta_lite.errors import UserError, first_line
from magenta_lite.files import open_regular, printable

if TYPE_CHECKING:
    import keras

# Optimizer state, and cuDNN's copies of weights that also exist under their usual names.
IGNORED_SUFFIXES = ("/Adam", "/Adam_1", "/Adafactor", "/Adafactor_1", "opaque_kernel")
IGNORED_NAMES = ("beta1_power", "beta2_power")
IGNORED_PREFIXES = ("losses_avg/", "train_stats/")  # statistics of tensor2tensor
DECOMPRESSION_ERRORS = (zlib.error, lzma.LZMAError)
DECOMPRESSION: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}
# A tar file unpacks to at most this multiple of its size: weights hardly compress. A checkpoint of
# a few megabytes may consist of zeros.
MAX_RATIO = 20
SMALL_TAR = 2**24
DATA_ENDINGS = (".index", ".data-")


class Variables(Mapping):
    """The variables of `tf.train.load_checkpoint` by name, read on access; records accessed names.

    Errors name `path`.

    Attributes:
        attention_length: Last outputs that attention sees, if the checkpoint states it.
    """

    attention_length: int | None = None

    def __init__(self, reader: Any, path: str):
        self._reader = reader
        self._path = path
        self._shapes = {
            name: tuple(shape)
            for name, shape in reader.get_variable_to_shape_map().items()
            if not name.endswith(IGNORED_SUFFIXES)
            and not name.startswith(IGNORED_PREFIXES)
            and name not in IGNORED_NAMES
        }
        self.used: set[str] = set()

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._shapes:
            raise UserError(
                f"{self._path} has no variable {name}: it belongs to another configuration; "
                f"it has {checks.some(self._shapes)}"
            )
        self.used.add(name)
        try:
            return self._reader.get_tensor(name)
        except Exception as error:  # of TensorFlow, or converted by Python, e.g. to IndexError
            raise UserError(
                f"{self._path} is damaged or cut off: {name} cannot be read "
                f"({first_line(error)}); download it again"
            ) from error

    def __contains__(self, name: object) -> bool:
        return name in self._shapes  # the default would catch KeyError only

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shape of each variable."""
        return dict(self._shapes)

    def check_all_used(self) -> None:
        """Raises: UserError if variables were not used; names them."""
        left = set(self._shapes) - self.used - {"global_step"}
        if left:
            raise UserError(
                f"{self._path} has {len(left)} variables that this configuration has no place "
                f"for, so it belongs to another one: {checks.some(left)}"
            )

    @property
    def global_step(self) -> int:
        """Training steps of the checkpoint; 0 if unknown."""
        return int(self["global_step"]) if "global_step" in self else 0


@contextlib.contextmanager
def open_checkpoint(path: str | Path) -> Iterator[Variables]:
    """Opens a checkpoint for reading.

    Args:
        path: A prefix (`model.ckpt-100`), one of its files, a directory (its newest checkpoint),
            or a tar file with one checkpoint.

    Raises:
        UserError: If there is no checkpoint, or it cannot be read; names the file.
    """
    import tensorflow as tf

    path = Path(path).expanduser()
    with contextlib.ExitStack() as stack:
        prefix = path
        if path.is_file() and _is_tar(path):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            prefix = _unpack(path, folder)
        elif path.is_dir():
            prefix = _newest_in(path)
        elif path.suffix == ".index" or ".data-" in path.name:
            prefix = path.with_name(path.name.split(".index")[0].split(".data-")[0])
        shards = _shards(prefix, path)
        try:
            with open_regular(prefix.with_name(prefix.name + ".index")) as index:
                tf_tables.check_bundle(index.read(), [shard.stat().st_size for shard in shards])
            variables = Variables(tf.train.load_checkpoint(str(prefix)), str(path))
        except (tf.errors.OpError, ValueError, OSError) as error:
            raise UserError(
                f"{path} cannot be read as a checkpoint, it is damaged or cut off: "
                f"{first_line(error)}; download it again"
            ) from error
        yield variables


def _shards(prefix: Path, path: Path) -> list[Path]:
    """Returns the files with the values of the checkpoint `prefix`.

    Raises:
        UserError: If a file of the checkpoint is missing; names it.
    """
    if not prefix.with_name(prefix.name + ".index").is_file():
        if path.is_file() and prefix == path:
            raise UserError(
                f"{path} ({path.stat().st_size:,} bytes) is not a checkpoint: neither a whole tar "
                "file nor one of the files of a checkpoint"
            )
        raise UserError(f"{path} is not a checkpoint: there is no {prefix.name}.index")
    start = prefix.name + ".data-"
    files = [file for file in prefix.parent.iterdir() if file.name.startswith(start)]
    shards = {file.name: file for file in sorted(files) if file.is_file()}
    count = re.search(r"-of-(\d{5})$", next(iter(shards))) if shards else None
    last = int(count.group(1)) if count else 1
    wanted = [f"{start}{i:05d}-of-{last:05d}" for i in range(last)]
    missing = next((name for name in wanted if name not in shards), None)
    if missing:
        raise UserError(f"{path} is not a whole checkpoint: {missing} is missing")
    return [shards[name] for name in wanted]


def _is_tar(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            start = file.read(tarfile.BLOCKSIZE)
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return start.startswith(tuple(DECOMPRESSION))
    except (OSError, ValueError):
        return False
    return True


def _unpack(path: Path, folder: Path) -> Path:
    """Unpacks the checkpoint files of a tar file into `folder`; returns their prefix."""
    try:
        with open_regular(path) as packed, _decompressed(packed) as stream:
            limit = MAX_RATIO * path.stat().st_size + SMALL_TAR
            bounded: Any = _Bounded(stream, limit)
            with tarfile.open(fileobj=bounded, mode="r|") as archive:
                for member in archive:
                    _unpack_member(archive, member, folder)
    except (tarfile.TarError, EOFError, OSError, ValueError, *DECOMPRESSION_ERRORS) as error:
        raise UserError(
            f"{path} is damaged or cut off: {first_line(error)}; download it again"
        ) from error
    indices = sorted(folder.glob("*.index"))
    if not indices:
        raise UserError(f"{path} holds no checkpoint: no file in it ends in .index")
    return indices[0].with_suffix("")


def _unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    name = Path(member.name).name
    if not member.isfile() or not any(ending in name for ending in DATA_ENDINGS):
        return
    if member.issparse():
        raise tarfile.ReadError(f"{printable(name)[:80]} has gaps")
    if source := archive.extractfile(member):
        with source, (folder / name).open("wb") as file:
            shutil.copyfileobj(source, file)


def _decompressed(packed: BinaryIO) -> Any:
    """Returns the content of a tar file that may be compressed."""
    start = packed.read(6)
    packed.seek(0)
    opened = (f for magic, f in DECOMPRESSION.items() if start.startswith(magic))
    return next(opened, contextlib.nullcontext)(packed)


class _Bounded:
    """A file that is read to a limit, which a real checkpoint does not reach.

    Headers of a tar file can state any size, and zeros compress to a thousandth.
    """

    def __init__(self, file: Any, limit: int):
        self._file, self._left = file, limit

    def read(self, size: int) -> bytes:
        if size > self._left:
            raise tarfile.ReadError("it unpacks to much more than its size")
        content = self._file.read(size)
        self._left -= len(content)
        return content


def _newest_in(folder: Path) -> Path:
    """Returns the prefix of the newest checkpoint in a folder.

    The file `checkpoint` names it, often by a path on another machine, of which the name counts.
    """
    import tensorflow as tf

    indices = {file.with_suffix("").name: file for file in folder.glob("*.index")}
    state = None
    if (folder / "checkpoint").is_file():
        # It is something else if this fails, which is an error of TensorFlow or of its text format.
        with contextlib.suppress(tf.errors.OpError, ValueError):
            state = tf.train.get_checkpoint_state(str(folder))
    named = indices.get(Path(state.model_checkpoint_path).name) if state else None
    newest = named or max(indices.values(), key=lambda file: file.stat().st_mtime, default=None)
    if newest is None:
        raise UserError(f"There is no checkpoint (no .index file) in {folder}")
    return newest.with_suffix("")


def keras_lstm_weights(kernel: np.ndarray, bias: np.ndarray) -> list[np.ndarray]:
    """Converts the weights of a TensorFlow 1 LSTM cell to those of Keras.

    TensorFlow 1 has one matrix, the rows of the input before those of the last output, with
    columns input gate, candidate, forget gate, output gate, and adds 1 to the forget gate at run
    time. Keras has two matrices with columns i, f, g, o, and includes the 1 in the bias.

    Args:
        kernel: Float (C + U, 4U).
        bias: Float (4U,).

    Returns:
        Kernel (C, 4U), recurrent kernel (U, 4U), bias (4U,).
    """
    units = bias.shape[0] // 4

    def reorder(x):
        i, g, f, o = np.split(x, 4, axis=-1)
        return np.concatenate([i, f, g, o], axis=-1)

    kernel, bias = reorder(kernel), reorder(bias)
    bias[units : 2 * units] += 1
    return [kernel[:-units], kernel[-units:], bias]


def tensorflow_lstm_weights(
    kernel: np.ndarray, recurrent_kernel: np.ndarray, bias: np.ndarray
) -> list[np.ndarray]:
    """Converts the weights of a Keras LSTM to kernel and bias of a TensorFlow 1 cell.

    This is the inverse of `keras_lstm_weights`.
    """
    units = bias.shape[0] // 4

    def reorder(x):
        i, f, g, o = np.split(x, 4, axis=-1)
        return np.concatenate([i, g, f, o], axis=-1)

    bias = bias.copy()
    bias[units : 2 * units] -= 1
    return [reorder(np.concatenate([kernel, recurrent_kernel])), reorder(bias)]


def assign(layer: keras.layers.Layer, weights: list[np.ndarray], name: str) -> None:
    """Assigns the weights of a Keras layer. Raises: UserError if a shape does not match."""
    for variable, value in zip(layer.weights, weights, strict=True):
        checks.assign(variable, value, name)

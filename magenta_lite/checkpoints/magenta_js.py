"""Checkpoints of magenta-js: a folder with `weights_manifest.json`, its shards, `config.json`.

Variables have the names of the original's TensorFlow 1 checkpoints. Weights stored as 8 or 16 bits
with a scale and a minimum, or in half precision, are read as float32.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from magenta_lite.checkpoints import checks
from magenta_lite.checkpoints.tf1 import Variables
from magenta_lite.errors import UserError, first_line
from magenta_lite.files import UNPRINTABLE, open_regular, printable

MANIFEST = "weights_manifest.json"
CONFIG = "config.json"
MAX_JSON = 2**26  # bytes
MAX_PATH = 250  # characters of the path of a shard

# Little-endian, as the format specifies.
STORED = {"float32": "<f4", "int32": "<i4", "uint8": "u1", "bool": "?"}
QUANTIZED = {"uint8": "u1", "uint16": "<u2", "float16": "<f2"}

SIGMA = ("encoder/sigma/kernel", "encoder/sigma/bias")
SMALL_SIGMA = 0.1  # standard deviation for checkpoints without sigma


class Converter(NamedTuple):
    """The kinds of the equivalent of a data converter and its `EventFormat`, and their configs."""

    converter: str
    events: str
    configs: tuple[str, ...]


MULTITRACK_SIZES = ("med", "big", "med_chords", "big_chords")
CONVERTERS = {
    "MelodyConverter": Converter(
        "melody",
        "categorical",
        (
            "cat-mel_2bar_small",
            "cat-mel_2bar_big",
            "cat-mel_2bar_med_chords",
            "flat-mel_16bar",
            "hierdec-mel_16bar",
            "hier-mel_16bar",
        ),
    ),
    "DrumsConverter": Converter(
        "drums", "categorical", ("cat-drums_2bar_small", "cat-drums_2bar_big")
    ),
    "DrumRollConverter": Converter(
        "drums", "roll", ("nade-drums_2bar_reduced", "nade-drums_2bar_full")
    ),
    "TrioConverter": Converter(
        "trio", "multi_categorical", ("flat-trio_16bar", "hierdec-trio_16bar", "hier-trio_16bar")
    ),
    "MultitrackConverter": Converter(
        "multi_performance",
        "categorical",
        tuple(f"hier-multiperf_vel_1bar_{size}" for size in MULTITRACK_SIZES),
    ),
    "GrooveConverter": Converter(
        "groove",
        "groove",
        (
            "groovae_4bar",
            "groovae_2bar_humanize",
            "groovae_2bar_tap_fixed_velocity",
            "groovae_2bar_tap_fixed_velocity_note_dropout",
            "groovae_2bar_add_closed_hh",
            "groovae_2bar_hits_control_tfds",
        ),
    ),
}


RNN_CONVERTERS = {
    "MelodyConverter": Converter(
        "event_melody",
        "categorical",
        ("basic_rnn", "mono_rnn", "basic_improv", "chord_pitches_improv"),
    ),
    "DrumsOneHotConverter": Converter("event_drums", "categorical", ("drum_kit_rnn", "one_drum")),
}
# By the type of the model.
KNOWN = {"MusicVAE": CONVERTERS, "MusicRNN": RNN_CONVERTERS}


class Weight(NamedTuple):
    """One variable of the manifest; a quantized one is number * scale + minimum."""

    shape: tuple[int, ...]
    dtype: np.dtype
    scale: float | None = None
    minimum: float = 0.0

    @property
    def size(self) -> int:
        """Stored size in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


class JsVariables(Variables):
    """The variables of a magenta-js folder, in the interface of `Variables`.

    Raises:
        UserError: If a file is missing, damaged or of the wrong length; names the file.
    """

    def __init__(self, folder: Path, attention_length: int | None = None):
        self._values = _read_weights(folder)
        super().__init__(self, str(folder))
        self.attention_length = attention_length

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Returns the shape of each variable, like a TensorFlow checkpoint reader."""
        return {name: list(value.shape) for name, value in self._values.items()}

    def get_tensor(self, name: str) -> np.ndarray:
        """Returns the value of a variable in float32."""
        return self._values[name]

    def fill_in_sigma(self) -> str:
        """Adds a constant sigma of the encoder if the folder has none.

        magenta-js encodes with mu only, and some of its folders do not contain sigma.

        Returns:
            A message about the added sigma; empty if the folder has its own.
        """
        mu = self._values.get("encoder/mu/kernel")
        # Without mu, or with another shape, it is not a MusicVAE: loading mu reports it.
        if mu is None or mu.ndim != 2 or any(name in self for name in SIGMA):
            return ""
        kernel = np.zeros_like(mu)
        bias = np.full(mu.shape[1], np.log(np.expm1(SMALL_SIGMA)), np.float32)  # inverse softplus
        for name, value in zip(SIGMA, (kernel, bias), strict=True):
            self._values[name] = value
            self._shapes[name] = value.shape
        return (
            f"{self._path} has no encoder/sigma, as magenta-js does not need it: "
            f"the posterior's standard deviation is set to {SMALL_SIGMA:g} everywhere"
        )


def is_folder(path: str | Path) -> bool:
    """Returns whether `path` is a magenta-js folder or its manifest."""
    path = Path(path).expanduser()
    return path.name == MANIFEST or (path / MANIFEST).is_file()


@contextlib.contextmanager
def open_checkpoint(path: str | Path, converter: Any = None) -> Iterator[JsVariables]:
    """Opens a magenta-js folder, or the folder of a manifest, like `tf1.open_checkpoint`.

    With the converter of the target configuration, whose kind must match, a missing sigma is
    replaced by a small constant, with a message.

    Raises:
        UserError: If it cannot be read, or belongs to another configuration; states the reason.
    """
    length = None
    if converter is not None:
        check_config(path, converter)
        length = _read_json(_folder(path) / CONFIG).get("attentionLength")
    variables = JsVariables(_folder(path), length if type(length) is int and length > 0 else None)
    note = variables.fill_in_sigma() if converter is not None else ""
    if note:
        print(note)
    yield variables


def config_names(path: str | Path) -> tuple[str, ...]:
    """Returns the names of the configurations that a magenta-js folder can belong to.

    Raises:
        UserError: If `config.json` is missing or damaged, or names an unknown converter.
    """
    _, known, arguments = _converter(_folder(path) / CONFIG)
    names = known.configs
    steps = arguments.get("numSteps")
    fitting = tuple(name for name in names if steps == _steps(name))
    return fitting or names


def check_config(path: str | Path, converter: Any) -> None:
    """Checks that the data converter of a magenta-js folder matches that of a configuration.

    Raises:
        UserError: If it does not match; names the configurations that the folder can belong to.
    """
    file = _folder(path) / CONFIG
    name, known, _ = _converter(file)
    if (known.converter, known.events) == (converter.config.kind, converter.event_format.kind):
        return
    raise UserError(
        f"{file} has a {name}, which is not what this configuration encodes "
        f"({converter.config.kind}, {converter.event_format.kind}); "
        f"choose --config among {', '.join(config_names(path))}"
    )


def _steps(name: str) -> int | None:
    """Returns the window steps of the config `name`; None where magenta-js counts differently."""
    for bars, part in ((2, "2bar"), (4, "4bar"), (16, "16bar")):
        if f"_{part}" in name:
            return 16 * bars
    return None  # bars of several tracks, whose steps differ from ours


def _folder(path: str | Path) -> Path:
    path = Path(path).expanduser()
    return path.parent if path.name == MANIFEST else path


def _converter(file: Path) -> tuple[str, Converter, dict[str, Any]]:
    """Returns the name, the equivalent and the arguments of the converter in a `config.json`."""
    tree = _read_json(file)
    converter = tree.get("dataConverter") if isinstance(tree, dict) else None
    models = " or a ".join(KNOWN)
    if not isinstance(converter, dict) or not isinstance(converter.get("type"), str):
        raise UserError(f"{file} names no dataConverter with a type: it is not of a {models}")
    model = tree.get("type", "MusicVAE")
    if not isinstance(model, str) or model not in KNOWN:
        kind = f"a {_short(model)}" if isinstance(model, str) else _short(model)
        raise UserError(f"{file} is of {kind}, not of a {models}")
    name, arguments = converter["type"], converter.get("args", {})
    known = KNOWN[model]
    if name not in known:
        raise UserError(f"{file} has a {_short(name)}; known are {', '.join(known)}")
    return name, known[name], arguments if isinstance(arguments, dict) else {}


def _read_weights(folder: Path) -> dict[str, np.ndarray]:
    """Returns the variables of a folder by name, in float32."""
    file = folder / MANIFEST
    groups = _read_json(file)
    if not isinstance(groups, list):
        raise UserError(f"{file} is not a list of groups of weights; download the folder again")
    values: dict[str, np.ndarray] = {}
    used: set[Path] = set()
    for group in groups:
        try:
            paths = [_shard(folder, path) for path in group["paths"]]
            weights = {str(entry["name"]): _weight(entry, file) for entry in group["weights"]}
        except UserError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(
                f"{file} has a group without paths and weights of a name, shape and dtype; "
                "download the folder again"
            ) from error
        if len({*paths} - used) < len(paths):
            raise UserError(f"{file} names a file twice; download the folder again")
        used.update(paths)
        actual = sum(map(_size, paths))  # before anything of a stated size is allocated
        expected = sum(weight.size for weight in weights.values())
        if actual != expected:
            files = checks.some(path.name for path in paths) or "A group without files"
            raise UserError(
                f"{file}: {files} should have {_number(expected)} bytes together and has "
                f"{actual:,}: download the folder again"
            )
        data = b"".join(_read_shard(path) for path in paths)
        offset = 0
        for name, weight in weights.items():
            values[name] = _value(weight, data[offset : offset + weight.size])
            offset += weight.size
    return values


def _weight(entry: dict[str, Any], file: Path) -> Weight:
    """Returns an entry of the manifest.

    Raises:
        UserError: If its type is unknown.
        KeyError, TypeError, ValueError: If it is not a valid entry.
    """
    name, dtype = entry["name"], entry["dtype"]
    shape = tuple(entry["shape"])
    if any(type(size) is not int or not 0 <= size < 2**62 for size in shape) or len(shape) > 8:
        raise ValueError("it is not a shape")
    quantization = entry.get("quantization")
    known = STORED if quantization is None else QUANTIZED
    stored = dtype if quantization is None else quantization["dtype"]
    if dtype not in STORED or stored not in known:
        wrong = dtype if dtype not in STORED else stored
        raise UserError(
            f"{file}: {_short(name)} has dtype {_short(wrong)}; known are {', '.join(known)}"
        )
    if quantization is None or stored == "float16":
        return Weight(shape, np.dtype(known[stored]))
    scale, minimum = float(quantization["scale"]), float(quantization["min"])
    if not math.isfinite(scale) or not math.isfinite(minimum):
        raise ValueError("its quantization is not of numbers")
    return Weight(shape, np.dtype(known[stored]), scale, minimum)


def _value(weight: Weight, data: bytes) -> np.ndarray:
    numbers = np.frombuffer(data, weight.dtype).reshape(weight.shape)
    if weight.scale is None:
        return numbers.astype(np.float32)
    return numbers.astype(np.float32) * np.float32(weight.scale) + np.float32(weight.minimum)


def _shard(folder: Path, name: Any) -> Path:
    """Returns the path of a shard.

    Raises:
        UserError: If it lies outside the folder, or no file has such a name.
        TypeError: If it is not text.
    """
    path = folder / name
    odd = UNPRINTABLE.search(name) or len(name) > MAX_PATH
    if odd or not path.resolve().is_relative_to(folder.resolve()):
        raise UserError(
            f"{folder / MANIFEST} names {_short(name)}, which lies outside its folder; copy the "
            "files themselves into the folder"
        )
    return path


def _size(path: Path) -> int:
    with _opened(path) as file:
        return os.fstat(file.fileno()).st_size


def _read_shard(path: Path) -> bytes:
    with _opened(path) as file:
        return file.read()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Opens a shard. Raises: UserError if it is missing, is not a file or cannot be read."""
    try:
        with open_regular(path) as file:
            yield file
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; {MANIFEST} names it") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def _short(value: Any) -> str:
    return printable(value)[:80] if isinstance(value, str) else f"a {type(value).__name__}"


def _number(count: int) -> str:
    return f"{count:,}" if count < 2**62 else "more than 4 EB"


def _read_json(file: Path) -> Any:
    try:
        with open_regular(file) as opened:
            if os.fstat(opened.fileno()).st_size > MAX_JSON:
                raise UserError(f"{file} is larger than {MAX_JSON // 2**20} MB; it is damaged")
            return json.loads(opened.read())
    except FileNotFoundError as error:
        raise UserError(f"{file} is missing: {file.parent} is not a magenta-js folder") from error
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, or nested too deeply
        raise UserError(
            f"{file} is not JSON ({first_line(error)}); download the folder again"
        ) from error

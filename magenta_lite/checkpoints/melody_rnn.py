"""Checkpoints of the original melody_rnn: sizes, layout, names, and .mag bundles."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from magenta_lite.checkpoints import checks, tf1, tf_tables
from magenta_lite.checkpoints.tf1 import (
    Variables,
    assign,
    keras_lstm_weights,
    tensorflow_lstm_weights,
)
from magenta_lite.errors import UserError, first_line
from magenta_lite.families.melody_rnn.attention import AttentionLSTM

if TYPE_CHECKING:
    import keras

# The attention length cannot be inferred from the shapes of variables; few checkpoints state it.
USUAL_ATTENTION_LENGTH = 40

# Renamed variables of TensorFlow 1.0 and of TensorFlow 1.2, in lower case.
RENAMED = (
    ("multirnncell", "multi_rnn_cell"),
    ("basiclstmcell", "basic_lstm_cell"),
    ("attentioncellwrapper", "attention_cell_wrapper"),
    ("attnoutputprojection", "attn_output_projection"),
    ("attention_output_projection", "attn_output_projection"),
    ("attnw", "attn_w"),
    ("attnv", "attn_v"),
    ("/linear/", "/"),
    ("/matrix", "/kernel"),
    ("/weights", "/kernel"),
    ("/biases", "/bias"),
)
LSTM_NAME = re.compile(r"(?:cell_(\d+)/)?(?:attention_cell_wrapper/)?basic_lstm_cell/kernel$")
ATTENTION = "attention_cell_wrapper"


@contextlib.contextmanager
def open_checkpoint(path: str | Path) -> Iterator[Variables]:
    """Opens a checkpoint, as `tf1.open_checkpoint` does, or a generator bundle (.mag).

    Raises:
        UserError: If the file is neither of them, or damaged.
    """
    path = Path(path).expanduser()
    if path.suffix != ".mag":
        with tf1.open_checkpoint(path) as variables:
            yield variables
        return
    with tempfile.TemporaryDirectory() as folder:
        yield _read_single_file(_bundled_checkpoint(path), Path(folder) / "bundled", path)


def _bundled_checkpoint(path: Path) -> bytes:
    """Returns the checkpoint in a bundle."""
    from google.protobuf.message import DecodeError
    from note_seq.protobuf import generator_pb2

    if not path.is_file():
        raise UserError(f"There is no file {path}")
    bundle = generator_pb2.GeneratorBundle()
    try:
        bundle.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise UserError(
            f"{path} ({path.stat().st_size:,} bytes) is not a whole bundle: it is damaged, cut off "
            "or something else; download it again"
        ) from error
    if len(bundle.checkpoint_file) != 1:
        raise UserError(
            f"{path} holds {len(bundle.checkpoint_file)} checkpoints where a bundle holds one"
        )
    return bundle.checkpoint_file[0]


def _read_single_file(content: bytes, file: Path, path: Path) -> Variables:
    """Opens a checkpoint of TensorFlow's first format, which is one table; errors name `path`.

    TensorFlow reads it from `file`, which is written.
    """
    import tensorflow as tf

    try:
        tf_tables.check_single_file(content)
        file.write_bytes(content)
        return Variables(tf.train.load_checkpoint(str(file)), str(path))
    except (tf.errors.OpError, ValueError) as error:
        raise UserError(
            f"The checkpoint inside of {path} cannot be read ({first_line(error)}); "
            "download it again"
        ) from error


def fitted_config(config: Any, converter: Any, variables: Variables) -> Any:
    """Returns `config` with the model sizes and the layout of a checkpoint.

    The sizes of released models differ from the configs of their names.

    Raises:
        UserError: If the checkpoint belongs to a model of other events.
    """
    names = _Names(variables)
    units = [variables[name].shape[1] // 4 for name in names.lstm_kernels]
    _check_events(config, converter, names, units[0])
    attention = names.has(f"{ATTENTION}/kernel")
    usual = config.model.attention_length or USUAL_ATTENTION_LENGTH
    length = (variables.attention_length or usual) if attention else 0
    sizes = dataclasses.replace(
        config.model,
        units=tuple(units),
        attention_length=length,
        attention_layout="all_layers" if names.wraps_all else "first_layer",
        attention_bias=True,
    )
    return dataclasses.replace(config, model=sizes)


def _check_events(config, converter, names: _Names, first_units: int) -> None:
    """Raises: UserError if the numbers of inputs and classes do not match the converter."""
    if names.has(f"{ATTENTION}/kernel"):
        inputs = names.get(f"{ATTENTION}/kernel").shape[1]
    else:
        inputs = names.variables[names.lstm_kernels[0]].shape[0] - first_units
    classes = names.get("fully_connected/kernel").shape[1]
    wanted = config.model.event_encoding(converter)
    if (inputs, classes) != (wanted.input_size, wanted.num_classes):
        raise UserError(
            f"The checkpoint reads {inputs} numbers an event and predicts {classes} "
            f"classes, {config.name} {wanted.input_size} and {wanted.num_classes}: it belongs to "
            "another configuration; choose that one with --config"
        )


def load_weights(model: keras.Model, variables: Variables) -> None:
    """Loads the weights of a checkpoint into `model`.

    Raises:
        UserError: If a variable is missing, has the wrong shape or does not belong to the model.
    """
    names = _Names(variables)
    wanted, found = len(model.sizes.units), len(names.lstm_kernels)
    if wanted != found:
        raise UserError(
            f"The checkpoint has {found} LSTM layers where this configuration has {wanted}"
        )
    for layer, name in zip(_cells(model), names.lstm_kernels, strict=True):
        kernel, bias = variables[name], names.bias_of(name)
        assign(layer, keras_lstm_weights(kernel, bias), name)
    if isinstance(model.rnn[0], AttentionLSTM):
        _assign_attention(model.rnn[0], names)
    weights = [names.get(f"fully_connected/{part}") for part in ("kernel", "bias")]
    assign(model.head, weights, "fully_connected")
    variables.check_all_used()


def _assign_attention(layer: AttentionLSTM, names: _Names) -> None:
    for ours, theirs in (
        ("input", ""),
        ("query", "/attention"),
        ("output", "/attn_output_projection"),
    ):
        for part in ("kernel", "bias"):
            value = names.get(f"{ATTENTION}{theirs}/{part}")
            checks.assign(getattr(layer, f"{ours}_{part}"), value, f"{ATTENTION}{theirs}/{part}")
    memory, score = f"{ATTENTION}/attention/attn_w", f"{ATTENTION}/attention/attn_v"
    checks.assign(layer.memory_kernel, names.get(memory)[0, 0], memory)
    checks.assign(layer.score, names.get(score), score)


def named_weights(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns the weights of a model under the names that magenta-js reads.

    They are those of checkpoints of TensorFlow 1.2, from which its models were converted. This is
    the inverse of `load_weights`.

    Raises:
        ValueError: If attention wraps a part of the layers, for which there are no such names.
    """
    first, root, found = model.rnn[0], "rnn", {}
    if isinstance(first, AttentionLSTM):
        if len(model.rnn) > 1:
            raise ValueError("magenta-js has no names for attention that wraps the first layer")
        root = f"rnn/{ATTENTION}"
        for ours, theirs in (
            ("input", ""),
            ("query", "/attention"),
            ("output", "/attention_output_projection"),
        ):
            for part in ("kernel", "bias"):
                weight = getattr(first, f"{ours}_{part}")
                value = np.zeros(first.score_size, np.float32) if weight is None else weight.numpy()
                found[f"{root}{theirs}/{part}"] = value
        found[f"{root}/attention/attn_w"] = first.memory_kernel.numpy()[None, None]
        found[f"{root}/attention/attn_v"] = first.score.numpy()
    for i, layer in enumerate(_cells(model)):
        arrays = tensorflow_lstm_weights(*(weight.numpy() for weight in layer.weights))
        for part, array in zip(("kernel", "bias"), arrays, strict=True):
            found[f"{root}/multi_rnn_cell/cell_{i}/basic_lstm_cell/{part}"] = array
    for part, weight in zip(("weights", "biases"), model.head.weights, strict=True):
        found[f"fully_connected/{part}"] = weight.numpy()
    return found


def _cells(model: keras.Model) -> list[Any]:
    """Returns the LSTM layers of a model, also those inside of attention."""
    cells = []
    for layer in model.rnn:
        cells.extend(layer.layers if isinstance(layer, AttentionLSTM) else [layer])
    return cells


class _Names:
    """Finds variables by their current names, independent of the TensorFlow release."""

    def __init__(self, variables: Variables):
        self.variables = variables
        self._by_current_name = {_current_name(name): name for name in variables}
        kernels = {}
        for name in self._by_current_name:
            if match := LSTM_NAME.search(name):
                kernels[int(match.group(1) or 0)] = name
        self._kernels = [kernels[i] for i in sorted(kernels)]
        if not kernels:
            raise UserError(
                f"The checkpoint has no LSTM of a melody_rnn; it has {checks.some(variables)}"
            )

    @property
    def lstm_kernels(self) -> list[str]:
        """Names in the file of the kernels of the LSTM layers, in order of layers."""
        return [self._by_current_name[name] for name in self._kernels]

    @property
    def wraps_all(self) -> bool:
        """Whether attention wraps all layers together."""
        return f"{ATTENTION}/multi_rnn_cell" in self._kernels[0]

    def bias_of(self, kernel: str) -> np.ndarray:
        """Returns the bias of the layer of a kernel of `lstm_kernels`."""
        return self.get(_current_name(kernel).removesuffix("kernel") + "bias")

    def has(self, ending: str) -> bool:
        """Returns whether there is a variable whose name ends with `ending`."""
        return bool(self._find(ending))

    def get(self, ending: str) -> np.ndarray:
        """Returns the variable whose name ends with `ending`."""
        found = self._find(ending)
        return self.variables[found[0] if found else ending]  # raises if it is missing

    def _find(self, ending: str) -> list[str]:
        return [
            name
            for current, name in self._by_current_name.items()
            if f"/{current}".endswith(f"/{ending}")
        ]


def _current_name(name: str) -> str:
    name = re.sub(r"/cell(\d)", r"/cell_\1", name.lower())
    for before, now in RENAMED:
        name = name.replace(before, now)
    return name

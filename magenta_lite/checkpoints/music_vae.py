"""Weights of a MusicVAE under the names of the original's checkpoints."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from magenta_lite.checkpoints.tf1 import (
    Variables,
    assign,
    keras_lstm_weights,
    tensorflow_lstm_weights,
)
from magenta_lite.families.music_vae.model import MusicVAE


@dataclasses.dataclass(frozen=True)
class Stored:
    """A dense layer, and the name under which checkpoints store it.

    Attributes:
        layer: The layer of the model.
        name: Prefix of the names of its variables.
        endings: Their last parts, in the order of the arrays of `ours` and `theirs`.
    """

    layer: Any
    name: str
    endings: ClassVar[tuple[str, ...]] = ("kernel", "bias")

    @property
    def names(self) -> list[str]:
        """Names of the variables."""
        return [f"{self.name}/{ending}" for ending in self.endings]

    def ours(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Returns the weights of the layer for the variables of a checkpoint."""
        return arrays

    def theirs(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        """Returns the variables of a checkpoint for the weights of the layer."""
        return arrays


@dataclasses.dataclass(frozen=True)
class StoredLSTM(Stored):
    """An LSTM; `moved` rows follow those of the constant input there, precede them here."""

    moved: int = 0
    endings: ClassVar[tuple[str, ...]] = ("lstm_cell/kernel", "lstm_cell/bias")

    def ours(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        kernel, bias = arrays
        return keras_lstm_weights(self._exchanged(kernel, self._constant, self.moved), bias)

    def theirs(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        kernel, bias = tensorflow_lstm_weights(*arrays)
        return [self._exchanged(kernel, self.moved, self._constant), bias]

    @property
    def _constant(self) -> int:
        return self.layer.constant_size

    def _exchanged(self, kernel: np.ndarray, first: int, second: int) -> np.ndarray:
        """Exchanges `first` rows with the `second` rows below them, which the event precedes."""
        if not self.moved:
            return kernel
        sizes = (self.layer.input_size - self.moved, first, second)
        event, upper, lower, recurrent = np.split(kernel, np.cumsum(sizes))
        return np.concatenate([event, lower, upper, recurrent])


@dataclasses.dataclass(frozen=True)
class StoredNade(Stored):
    """The weights of a NADE, which have an axis of size 1 there."""

    endings: ClassVar[tuple[str, ...]] = ("w_enc", "w_dec_t")

    def ours(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        encoder, decoder = arrays
        return [encoder[:, 0], decoder[..., 0]]

    def theirs(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        encoder, decoder = arrays
        return [encoder[:, None], decoder[..., None]]


@dataclasses.dataclass(frozen=True)
class StoredPosterior(Stored):
    """The Gaussian that samples come from, which only our own exports have."""

    endings: ClassVar[tuple[str, ...]] = ("mean", "deviation")


def load_weights(model: MusicVAE, variables: Variables) -> None:
    """Loads the weights of a checkpoint into `model`.

    Raises:
        UserError: If a variable is missing, has the wrong shape or does not belong to the model.
    """
    for stored in stored_layers(model):
        if isinstance(stored, StoredPosterior) and not set(stored.names) <= set(variables):
            continue
        arrays = [variables[name] for name in stored.names]
        assign(stored.layer, stored.ours(arrays), stored.name)
    variables.check_all_used()


def named_weights(model: MusicVAE) -> dict[str, np.ndarray]:
    """Returns the weights of a model by the names of a checkpoint; the inverse of `load_weights`.

    Raises:
        ValueError: If the original has no place for some of the weights.
    """
    if model.decoder.expression is not None:
        raise ValueError("the original has no network of velocities and offsets")
    found = {}
    for stored in stored_layers(model):
        arrays = [weight.numpy() for weight in stored.layer.weights]
        found |= dict(zip(stored.names, stored.theirs(arrays), strict=True))
    return found


def stored_layers(model: MusicVAE) -> Iterator[Stored]:
    """Yields all layers of a model that a checkpoint has."""
    if model.sizes.encoder_levels:
        for i, level in enumerate(model.encoder.level_encoders):
            yield from _encoder(level, f"encoder/hierarchical_level_{i}")
    else:
        yield from _encoder(model.encoder, "encoder")
    yield Stored(model.mu, "encoder/mu")
    yield Stored(model.sigma, "encoder/sigma")

    decoder, core = model.decoder, "decoder"
    if decoder.conductor:
        name, core = "decoder/hierarchical_level_0", "core_decoder/decoder"
        for i, layer in enumerate(decoder.conductor.layers):
            yield StoredLSTM(layer, f"{name}/cell_{i}")
        yield Stored(decoder.conductor.initial_state, f"{name}/initial_state")
    above = "core_decoder/" if decoder.conductor else ""
    for k, lstm_decoder in enumerate(decoder.cores):
        name = f"{above}core_decoder_{k}/decoder" if len(decoder.cores) > 1 else core
        yield from _decoder(lstm_decoder, name)
    if model.events_format.kind == "roll":
        yield StoredNade(model.head, f"{core}/nade")
    yield StoredPosterior(model.aggregated_posterior, "aggregated_posterior")


def _encoder(encoder: Any, name: str) -> Iterator[Stored]:
    layers = zip(encoder.forward_layers, encoder.backward_layers, strict=True)
    for i, (forward, backward) in enumerate(layers):
        for direction, layer in (("fw", forward), ("bw", backward)):
            path = f"{name}/cell_{i}/bidirectional_rnn/{direction}/multi_rnn_cell/cell_0"
            yield StoredLSTM(layer, path)


def _decoder(decoder: Any, name: str) -> Iterator[Stored]:
    for i, layer in enumerate(decoder.layers):
        # The first layer of the original reads event, code, controls; ours event, controls, code.
        moved = decoder.control_size if i == 0 else 0
        yield StoredLSTM(layer, f"{name}/multi_rnn_cell/cell_{i}", moved)
    yield Stored(decoder.initial_state, f"{name}/z_to_initial_state")
    yield Stored(decoder.output_projection, f"{name}/output_projection")

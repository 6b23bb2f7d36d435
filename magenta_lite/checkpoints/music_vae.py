"""Checkpoints of the original MusicVAE: names of variables."""

from __future__ import annotations

import numpy as np

from magenta_lite.checkpoints.tf1 import Variables, assign, keras_lstm_weights
from magenta_lite.families.music_vae.model import MusicVAE


def load_weights(model: MusicVAE, variables: Variables) -> None:
    """Loads the weights of a checkpoint into `model`.

    Raises:
        UserError: If a variable is missing, has the wrong shape or does not belong to the model.
    """
    if model.sizes.encoder_levels:
        for i, level in enumerate(model.encoder.level_encoders):
            _assign_encoder(level, variables, f"encoder/hierarchical_level_{i}")
    else:
        _assign_encoder(model.encoder, variables, "encoder")
    _assign_dense(model.mu, variables, "encoder/mu")
    _assign_dense(model.sigma, variables, "encoder/sigma")

    decoder, core = model.decoder, "decoder"
    if decoder.conductor:
        name, core = "decoder/hierarchical_level_0", "core_decoder/decoder"
        for i, layer in enumerate(decoder.conductor.layers):
            _assign_lstm(layer, variables, f"{name}/cell_{i}")
        _assign_dense(decoder.conductor.initial_state, variables, f"{name}/initial_state")
    for k, lstm_decoder in enumerate(decoder.cores):
        name = f"core_decoder/core_decoder_{k}/decoder" if len(decoder.cores) > 1 else core
        _assign_decoder(lstm_decoder, variables, name)
    if model.events_format.kind == "roll":
        weights = [variables[f"{core}/nade/w_enc"][:, 0], variables[f"{core}/nade/w_dec_t"][..., 0]]
        assign(model.head, weights, f"{core}/nade")
    variables.check_all_used()


def _assign_encoder(encoder, variables: Variables, name: str) -> None:
    layers = zip(encoder.forward_layers, encoder.backward_layers, strict=True)
    for i, (forward, backward) in enumerate(layers):
        for direction, layer in (("fw", forward), ("bw", backward)):
            path = f"{name}/cell_{i}/bidirectional_rnn/{direction}/multi_rnn_cell/cell_0"
            _assign_lstm(layer, variables, path)


def _assign_decoder(decoder, variables: Variables, name: str) -> None:
    for i, layer in enumerate(decoder.layers):
        # The first layer of the original reads event, code, controls; ours event, controls, code.
        moved = decoder.control_size if i == 0 else 0
        _assign_lstm(layer, variables, f"{name}/multi_rnn_cell/cell_{i}", moved)
    _assign_dense(decoder.initial_state, variables, f"{name}/z_to_initial_state")
    _assign_dense(decoder.output_projection, variables, f"{name}/output_projection")


def _assign_lstm(layer, variables: Variables, name: str, moved: int = 0) -> None:
    """Assigns an LSTM; `moved` rows follow those of the constant input there, precede them here."""
    name = f"{name}/lstm_cell"
    kernel, bias = variables[f"{name}/kernel"], variables[f"{name}/bias"]
    if moved:
        sizes = (layer.input_size - moved, layer.constant_size, moved)
        above, constant, below, recurrent = np.split(kernel, np.cumsum(sizes))
        kernel = np.concatenate([above, below, constant, recurrent])
    assign(layer, keras_lstm_weights(kernel, bias), name)


def _assign_dense(layer, variables: Variables, name: str) -> None:
    assign(layer, [variables[f"{name}/kernel"], variables[f"{name}/bias"]], name)

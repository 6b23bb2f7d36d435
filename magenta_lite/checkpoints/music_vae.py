"""Names of a MusicVAE's variables in checkpoints of the original."""

from __future__ import annotations

from magenta_lite.checkpoints.tf1 import Variables, assign, keras_lstm_weights
from magenta_lite.models.music_vae.model import MusicVAE


def load_weights(model: MusicVAE, variables: Variables) -> None:
    """Fills `model` with a checkpoint's weights.

    Raises:
        UserError: If a variable is missing, of another shape, or has no place in the model.
    """
    for i, (forward, backward) in enumerate(
        zip(model.encoder.forward_layers, model.encoder.backward_layers, strict=True)
    ):
        for direction, layer in (("fw", forward), ("bw", backward)):
            name = f"encoder/cell_{i}/bidirectional_rnn/{direction}/multi_rnn_cell/cell_0"
            _assign_lstm(layer, variables, name)
    for i, layer in enumerate(model.decoder.layers):
        _assign_lstm(layer, variables, f"decoder/multi_rnn_cell/cell_{i}")
    _assign_dense(model.mu, variables, "encoder/mu")
    _assign_dense(model.sigma, variables, "encoder/sigma")
    _assign_dense(model.decoder.initial_state, variables, "decoder/z_to_initial_state")
    _assign_dense(model.decoder.output_projection, variables, "decoder/output_projection")
    variables.check_all_used()


def _assign_lstm(layer, variables: Variables, name: str) -> None:
    name = f"{name}/lstm_cell"
    weights = keras_lstm_weights(variables[f"{name}/kernel"], variables[f"{name}/bias"])
    assign(layer, weights, name)


def _assign_dense(layer, variables: Variables, name: str) -> None:
    assign(layer, [variables[f"{name}/kernel"], variables[f"{name}/bias"]], name)

"""Checkpoints of tensor2tensor's `transformer`: names and sizes."""

from __future__ import annotations

import dataclasses
import itertools
import re
from typing import Any

import numpy as np

from magenta_lite.checkpoints import checks
from magenta_lite.checkpoints.tf1 import Variables
from magenta_lite.errors import UserError
from magenta_lite.files import printable

BODY = "transformer/body"
ATTENTION = "{layer}/{part}/multihead_attention"
GLOBAL_TABLE = "dot_product_self_attention_relative_v2/key_relative_embeddings"
BOTH_SIDES_TABLE = "dot_product_unmasked_self_attention_relative_v2/key_relative_embeddings"
LOCAL_TABLE = "masked_relative_local_attention_1d/relative_embeddings"
MODALITY = re.compile(r"transformer/symbol_modality_(\d+)_\d+/(\w+)/weights_(\d+)$")
SELF, MEMORY = "self_attention", "encdec_attention"


def fitted_config(config: Any, converter: Any, variables: Variables) -> Any:
    """Returns `config` with the model sizes of a checkpoint.

    The number of heads is that of `config` unless every head has its own relative embeddings.

    Raises:
        UserError: If the checkpoint belongs to a model of other tokens.
    """
    embeddings = _embeddings(variables)
    _check_tokens(config, converter, embeddings, variables)
    layers = checks.count(variables, f"{BODY}/decoder/layer_{{}}/ffn/conv1/kernel")
    if not layers:
        raise UserError(f"The checkpoint has no {BODY}/decoder/layer_0: it is of another model")
    first = f"{BODY}/decoder/layer_0"
    attention = ATTENTION.format(layer=first, part=SELF)
    sizes: dict[str, Any] = {
        "layers": layers,
        "hidden_size": variables[f"{attention}/q/kernel"].shape[0],
        "key_size": variables[f"{attention}/q/kernel"].shape[1],
        "filter_size": variables[f"{first}/ffn/conv1/kernel"].shape[1],
        "tie_embeddings": "shared" in embeddings,
        "attention": "absolute",
    }
    for name, kind in ((GLOBAL_TABLE, "relative"), (LOCAL_TABLE, "relative_local")):
        if f"{attention}/{name}" in variables:
            shape = variables[f"{attention}/{name}"].shape
            sizes |= {"attention": kind, "share_relative_table": len(shape) == 2}
            if kind == "relative":
                sizes["max_relative_position"] = shape[-2]
            else:
                sizes["block_length"] = shape[-2] // 4
            if len(shape) == 3:
                sizes["heads"] = shape[0]
    return dataclasses.replace(config, model=dataclasses.replace(config.model, **sizes))


def load_weights(model: Any, variables: Variables) -> None:
    """Loads the weights of a checkpoint into `model`.

    Raises:
        UserError: If a variable is missing, has the wrong shape or does not belong to the model.
    """
    embeddings = _embeddings(variables)
    if model.rules.inputs:
        _assign(model.input_embedding, embeddings, "input_emb")
        _assign(model.target_spaces, variables, f"{BODY}/target_space_embedding/kernel")
    tied = model.softmax is model.embedding
    _assign(model.embedding, embeddings, "shared" if tied else "target_emb")
    if not tied:
        _assign(model.softmax, embeddings, "softmax")
    for name, layers in (("encoder", model.encoder), ("decoder", model.decoder)):
        for i, layer in enumerate(layers):
            _assign_layer(layer, variables, f"{BODY}/{name}/layer_{i}")
        if layers:
            norm = model.encoder_norm if name == "encoder" else model.decoder_norm
            _assign_norm(norm, variables, f"{BODY}/{name}")
    variables.check_all_used()


def _assign_layer(layer, variables: Variables, name: str) -> None:
    parts = [(SELF, layer.attention)]
    if layer.memory_attention is not None:
        parts.append((MEMORY, layer.memory_attention))
    for part, weights in parts:
        _assign_norm(weights["norm"], variables, f"{name}/{part}")
        attention = ATTENTION.format(layer=name, part=part)
        for ours, theirs in (("q", "q"), ("k", "k"), ("v", "v"), ("out", "output_transform")):
            _assign(weights[ours], variables, f"{attention}/{theirs}/kernel")
    if layer.table is not None:
        table = LOCAL_TABLE if layer.sizes.block else GLOBAL_TABLE
        table = BOTH_SIDES_TABLE if layer.sizes.both_sides else table
        _assign(layer.table, variables, f"{ATTENTION.format(layer=name, part=SELF)}/{table}")
    _assign_norm(layer.ffn_norm, variables, f"{name}/ffn")
    _assign(layer.filter_weights[0], variables, f"{name}/ffn/conv1/kernel")
    _assign(layer.filter_weights[1], variables, f"{name}/ffn/conv1/bias")
    _assign(layer.output_weights[0], variables, f"{name}/ffn/conv2/kernel")
    _assign(layer.output_weights[1], variables, f"{name}/ffn/conv2/bias")


def _assign_norm(norm, variables: Variables, name: str) -> None:
    for variable, part in zip(norm, ("scale", "bias"), strict=True):
        _assign(variable, variables, f"{name}/layer_prepostprocess/layer_norm/layer_norm_{part}")


def _assign(variable, values, name: str) -> None:
    if name not in values and not isinstance(values, Variables):
        raise UserError(
            f"The checkpoint has no {name} embedding but {', '.join(sorted(values)) or 'none'}: "
            "it belongs to another configuration"
        )
    checks.assign(variable, values[name], name)


def _embeddings(variables: Variables) -> dict[str, np.ndarray]:
    """Returns the embedding matrices by purpose, with concatenated shards.

    Raises:
        UserError: If there are no embeddings, or a shard is missing.
    """
    shards: dict[str, dict[int, str]] = {}
    for name in variables:
        if match := MODALITY.match(name):
            shards.setdefault(match.group(2), {})[int(match.group(3))] = name
    if not shards:
        raise UserError(
            "The checkpoint has no symbol_modality of a tensor2tensor transformer; it has "
            f"{checks.some(variables)}"
        )
    joined = {}
    for purpose, numbered in shards.items():
        missing = next(number for number in itertools.count() if number not in numbered)
        if missing < len(numbered):
            place = numbered[max(numbered)].rsplit("_", 1)[0]
            raise UserError(f"The checkpoint has no variable {printable(place)[:80]}_{missing}")
        joined[purpose] = np.concatenate([variables[numbered[i]] for i in sorted(numbered)])
    return joined


def _check_tokens(config, converter, embeddings, variables: Variables) -> None:
    """Raises: UserError if the vocabulary size or the presence of an encoder does not match."""
    of_melody = "input_emb" in embeddings
    wants_melody = bool(converter.rules.inputs)
    if of_melody != wants_melody:
        raise UserError(
            f"The checkpoint {'accompanies a melody' if of_melody else 'has no encoder'} and "
            f"{config.name} {'accompanies a melody' if wants_melody else 'has none'}; choose "
            f"--config=music_transformer{'_melody' if of_melody else ''}_16"
        )
    tokens = embeddings["shared" if "shared" in embeddings else "softmax"]
    if len(tokens) != converter.rules.size:
        raise UserError(
            f"The checkpoint has {len(tokens)} tokens, {config.name} {converter.rules.size}: it "
            "belongs to another configuration"
        )

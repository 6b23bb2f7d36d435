"""Checkpoints of Jukebox's priors and upsamplers: names and shapes of their arrays.

The names are those of the `model` dictionary of the released files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from magenta_lite.checkpoints import checks
from magenta_lite.checkpoints.vqvae import reversed_axes
from magenta_lite.errors import UserError
from magenta_lite.families.jukebox.config import JukeboxPriorConfig

MUSIC, LYRICS = "prior", "prime_prior"
EMBEDDING, OUTPUT = f"{MUSIC}.x_emb.weight", f"{MUSIC}.x_out.weight"
LAYER = "{prefix}.transformer._attn_mods.{layer}."
CONDITIONER = "conditioner_blocks.0."
EMBEDDINGS = {
    "genres": "y_emb.bow_genre_emb.emb.weight",
    "artists": "y_emb.artist_emb.emb.weight",
    "total_time": "y_emb.total_length_emb.emb.weight",
    "absolute_time": "y_emb.absolute_pos_emb.emb.weight",
    "relative_time": "y_emb.relative_pos_emb.emb.weight",
}


def fitted_config(config: Any, converter: Any, state: Mapping[str, np.ndarray]) -> Any:
    """Returns an `ExperimentConfig` with the model sizes of a checkpoint."""
    del converter
    model = config_from_state(state, config.model)
    names = ("codes", "context", "above_ratio", "artists", "genres", "max_genres")
    sizes = {name: getattr(model, name) for name in (*names, "lyric_tokens", "lyric_vocabulary")}
    codes = dataclasses.replace(config.converter, **sizes)
    return dataclasses.replace(config, converter=codes, model=model)


def load_weights(model: Any, state: Mapping[str, np.ndarray]) -> None:
    """Loads arrays of any float type into a `JukeboxPrior` or `JukeboxUpsampler`.

    Raises:
        UserError: If an array is missing, has the wrong shape or does not belong to the model, or
            if input and output matrix differ in a model that ties them.
    """
    weights = weights_by_name(model)
    # The files contain a tied output matrix twice.
    checks.check_names(state, {*weights, OUTPUT})
    tied = OUTPUT not in weights
    for name, weight in weights.items():
        checks.assign(weight, reversed_axes(np.asarray(state[name], np.float32)), name)
    if tied and not np.array_equal(state[EMBEDDING], state[OUTPUT]):
        raise UserError("The checkpoint has an output matrix of its own; set model.merged=true")


def weights_by_name(model: Any) -> dict[str, Any]:
    """Returns the Keras weights of a model by checkpoint names; a tied matrix occurs once."""
    weights = _transformer_weights(MUSIC, model.music)
    if model.music.output_matrix is not None:
        weights[OUTPUT] = model.music.output_matrix
    if model.label_embedding is not None:
        weights |= {EMBEDDINGS[n]: table for n, table in model.label_embedding.tables.items()}
    if model.lyric_encoder is not None:
        lyrics = model.lyric_encoder
        weights |= _transformer_weights(LYRICS, lyrics.reader)
        weights |= _pair("prime_state_proj", lyrics.projection, "wb")
        weights |= _pair("prime_state_ln", lyrics.norm)
        weights["prime_x_out.weight"] = lyrics.output_matrix
    if model.conditioner is not None:
        weights |= _conditioner_weights(model.conditioner)
    return weights


def _transformer_weights(prefix: str, transformer: Any) -> dict[str, Any]:
    weights = {
        f"{prefix}.x_emb.weight": transformer.embedding,
        f"{prefix}.pos_emb.pos_emb": transformer.positions,
    }
    if transformer.start is not None:
        weights[f"{prefix}.start_token"] = transformer.start
    for number, layer in enumerate(transformer.layers):
        name = LAYER.format(prefix=prefix, layer=number)
        weights |= _pair(f"{name}attn.c_attn", layer.attention.qkv, "wb")
        if layer.attention.memory_kv is not None:
            weights |= _pair(f"{name}attn.c_enc_kv", layer.attention.memory_kv, "wb")
        weights |= _pair(f"{name}attn.c_proj", layer.attention.out, "wb")
        weights |= _pair(f"{name}ln_0", layer.attention_norm)
        weights |= _pair(f"{name}mlp.c_fc", layer.enter, "wb")
        weights |= _pair(f"{name}mlp.c_proj", layer.leave, "wb")
        weights |= _pair(f"{name}ln_1", layer.feed_forward_norm)
    return weights


def _conditioner_weights(conditioner: Any) -> dict[str, Any]:
    model = f"{CONDITIONER}cond.model."
    convolutions = {f"{model}0": conditioner.enter}
    stages = zip(conditioner.residuals, conditioner.lengthen, strict=True)
    for s, (residuals, lengthen) in enumerate(stages):
        for i, (dilated, mixing) in enumerate(residuals):
            convolutions[f"{model}{s + 1}.0.blocks.{i}.model.1"] = dilated
            convolutions[f"{model}{s + 1}.0.blocks.{i}.model.3"] = mixing
        convolutions[f"{model}{s + 1}.1"] = lengthen
    weights = {f"{CONDITIONER}x_emb.weight": conditioner.embedding}
    for name, layer in convolutions.items():
        weights |= _pair(name, (layer.kernel, layer.bias))
    return weights | _pair(f"{CONDITIONER}ln", conditioner.norm)


def _pair(name: str, pair, endings=("weight", "bias")) -> dict[str, Any]:
    return {f"{name}.{ending}": weight for ending, weight in zip(endings, pair, strict=True)}


def config_from_state(
    state: Mapping[str, np.ndarray], config: JukeboxPriorConfig
) -> JukeboxPriorConfig:
    """Returns `config` with the model sizes of a checkpoint.

    Heads, the order of attention, rows, genres of a piece, durations, dilations, and the sizes of
    lyrics of single-stream models cannot be inferred from the arrays and stay those of `config`.

    Raises:
        UserError: If the arrays are not those of a Jukebox prior.
    """
    first = LAYER.format(prefix=MUSIC, layer=0)
    try:
        embedding, output = state[EMBEDDING], state[OUTPUT]
        vocabulary, width = embedding.shape
        length = state[f"{MUSIC}.pos_emb.pos_emb"].shape[0]
        changes: dict[str, Any] = {
            "codes": vocabulary - config.shift,
            "context": length - config.front,
            "width": width,
            "depth": _layers(state, MUSIC),
            "attention_factor": state[f"{first}attn.c_proj.w"].shape[0] / width,
            "feed_forward_factor": state[f"{first}mlp.c_fc.w"].shape[1] / width,
            "merged": not np.array_equal(embedding, output),
        }
        labels = {"artists": "artists", "genres": "genres", "time_bins": "total_time"}
        for field, name in labels.items():
            exists = EMBEDDINGS[name] in state
            changes[field] = state[EMBEDDINGS[name]].shape[0] if exists else 0
        if f"{LYRICS}.x_emb.weight" in state:
            vocabulary, width = state[f"{LYRICS}.x_emb.weight"].shape
            changes |= {
                "lyric_vocabulary": vocabulary,
                "lyric_tokens": state[f"{LYRICS}.pos_emb.pos_emb"].shape[0],
                "lyric_width": width,
                "lyric_depth": _layers(state, LYRICS),
                "single_stream": False,
            }
        if f"{CONDITIONER}x_emb.weight" in state:
            kernel = f"{CONDITIONER}cond.model.{{}}.1.weight"
            changes |= {
                "conditioner_stages": checks.count(state, kernel, first=1),
                "conditioner_stride": state[kernel.format(1)].shape[2] // 2,
                "conditioner_width": state[f"{CONDITIONER}cond.model.0.weight"].shape[0],
                "conditioner_depth": checks.count(
                    state, f"{CONDITIONER}cond.model.1.0.blocks.{{}}.model.1.weight"
                ),
            }
    except (KeyError, ValueError) as error:
        raise UserError(f"The checkpoint is not of a Jukebox prior: {error} is missing") from error
    return dataclasses.replace(config, **changes)


def _layers(state: Mapping[str, np.ndarray], prefix: str) -> int:
    return checks.count(state, f"{prefix}.transformer._attn_mods.{{}}.ln_0.weight")

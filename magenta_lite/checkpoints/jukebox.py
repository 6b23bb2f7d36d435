"""Checkpoints of Jukebox's priors and upsamplers: names and shapes of their arrays.

The names are those of the `model` dictionary of the released files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from magenta_lite.errors import UserError
from magenta_lite.families.jukebox.config import JukeboxPriorConfig, TransformerSizes

MUSIC, LYRICS = "prior", "prime_prior"
LAYER = "{prefix}.transformer._attn_mods.{layer}."
CONDITIONER = "conditioner_blocks.0."
EMBEDDINGS = {
    "genres": "y_emb.bow_genre_emb.emb.weight",
    "artists": "y_emb.artist_emb.emb.weight",
    "total_time": "y_emb.total_length_emb.emb.weight",
    "absolute_time": "y_emb.absolute_pos_emb.emb.weight",
    "relative_time": "y_emb.relative_pos_emb.emb.weight",
}
MAX_NAMES = 3  # names in an error message


def fitted_config(config: Any, converter: Any, state: Mapping[str, np.ndarray]) -> Any:
    """Returns an `ExperimentConfig` with the model sizes of a checkpoint."""
    del converter
    model = config_from_state(state, config.model)
    names = ("codes", "context", "above_ratio", "artists", "genres", "max_genres")
    sizes = {name: getattr(model, name) for name in (*names, "lyric_tokens", "lyric_vocabulary")}
    codes = dataclasses.replace(config.converter, **sizes)
    return dataclasses.replace(config, converter=codes, model=model)


def load_weights(model: Any, state: Mapping[str, np.ndarray]) -> None:
    """Loads a checkpoint into a `JukeboxPrior` or `JukeboxUpsampler`; see `load_state`."""
    load_state(model, state)


def state_shapes(config: JukeboxPriorConfig) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each array of a checkpoint, without building the model.

    A tied output matrix is included twice.
    """
    w, shapes = config.width, {}
    if config.labelled:
        shapes[EMBEDDINGS["genres"]] = (config.genres, w)
        shapes[EMBEDDINGS["artists"]] = (config.artists, w)
    if config.time_bins:
        shapes |= {EMBEDDINGS[f"{n}_time"]: (config.time_bins, w) for n in _TIMES}
    if config.conditioner_stages:
        shapes |= _conditioner_shapes(config)
    if config.separate_lyrics:
        sizes = config.lyric_encoder
        shapes |= _transformer_shapes(LYRICS, sizes, own_start=True)
        shapes["prime_state_proj.w"] = (sizes.hidden_dim, w)
        shapes["prime_state_proj.b"] = (w,)
        shapes |= _norm_shapes("prime_state_ln", w)
        shapes["prime_x_out.weight"] = (sizes.vocabulary, w)
    shapes |= _transformer_shapes(MUSIC, config.music, own_start=not config.labelled)
    shapes[f"{MUSIC}.x_out.weight"] = (config.music.vocabulary, w)
    return shapes


_TIMES = ("total", "absolute", "relative")


def _transformer_shapes(prefix: str, sizes: TransformerSizes, own_start: bool):
    w, s, f = sizes.hidden_dim, sizes.attention_dim, sizes.filter_dim
    shapes = {f"{prefix}.start_token": (1, w)} if own_start else {}
    shapes[f"{prefix}.x_emb.weight"] = (sizes.vocabulary, w)
    shapes[f"{prefix}.pos_emb.pos_emb"] = (sizes.context_length, w)
    for layer, kind in enumerate(sizes.kinds):
        name = LAYER.format(prefix=prefix, layer=layer)
        linears = {"attn.c_attn": (w, s if kind == "cross" else 3 * s), "attn.c_proj": (s, w)}
        if kind == "cross":
            linears["attn.c_enc_kv"] = (w, 2 * s)
        linears |= {"mlp.c_fc": (w, f), "mlp.c_proj": (f, w)}
        for part, shape in linears.items():
            shapes |= {f"{name}{part}.w": shape, f"{name}{part}.b": shape[1:]}
        shapes |= _norm_shapes(f"{name}ln_0", w) | _norm_shapes(f"{name}ln_1", w)
    return shapes


def _conditioner_shapes(config: JukeboxPriorConfig):
    w, inside, stages = config.width, config.conditioner_width, config.conditioner_stages
    shapes: dict[str, tuple[int, ...]] = {f"{CONDITIONER}x_emb.weight": (config.codes, w)}
    kernels = {"0": (inside, w, 3)}
    for s in range(stages):
        for i in range(config.conditioner_depth):
            kernels[f"{s + 1}.0.blocks.{i}.model.1"] = (inside, inside, 3)
            kernels[f"{s + 1}.0.blocks.{i}.model.3"] = (inside, inside, 1)
        # In transposed convolutions the input axis comes first.
        outputs = w if s == stages - 1 else inside
        kernels[f"{s + 1}.1"] = (inside, outputs, 2 * config.conditioner_stride)
    for name, shape in kernels.items():
        transposed = name.endswith(".1") and "blocks" not in name
        shapes[f"{CONDITIONER}cond.model.{name}.weight"] = shape
        shapes[f"{CONDITIONER}cond.model.{name}.bias"] = shape[1:2] if transposed else shape[:1]
    return shapes | _norm_shapes(f"{CONDITIONER}ln", w)


def _norm_shapes(name: str, width: int):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def load_state(model: Any, state: Mapping[str, np.ndarray]) -> None:
    """Loads the arrays of a checkpoint into a model.

    Args:
        model: A `JukeboxPrior` or `JukeboxUpsampler`.
        state: Arrays by name, of any float type.

    Raises:
        UserError: If an array is missing, has the wrong shape or does not belong to the model, or
            if input and output matrix differ in a model that ties them.
    """
    expected = state_shapes(model.sizes)
    _check_names("has no", sorted(set(expected) - set(state)))
    _check_names("has, but the model has no place for,", sorted(set(state) - set(expected)))
    for name, shape in expected.items():
        if np.shape(state[name]) != shape:
            raise UserError(
                f"The checkpoint's {name} is of shape {list(np.shape(state[name]))}, the model's "
                f"of {list(shape)}; check the sizes of the config"
            )
    tied = not model.sizes.merged
    if tied and not np.array_equal(state[f"{MUSIC}.x_emb.weight"], state[f"{MUSIC}.x_out.weight"]):
        raise UserError("The checkpoint has an output matrix of its own; set model.merged=true")
    for name, weight in weights_by_name(model).items():
        weight.assign(_reversed_axes(np.asarray(state[name], np.float32)))


def _check_names(what: str, names: list[str]) -> None:
    if not names:
        return
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    raise UserError(
        f"The checkpoint {what} {', '.join(names[:MAX_NAMES])}{more}; check the sizes of the config"
    )


def state_of(model: Any) -> dict[str, np.ndarray]:
    """Returns the arrays of a checkpoint of `model` by name."""
    state = {
        name: _reversed_axes(weight.numpy()) for name, weight in weights_by_name(model).items()
    }
    if not model.sizes.merged:
        state[f"{MUSIC}.x_out.weight"] = state[f"{MUSIC}.x_emb.weight"]
    return {name: state[name] for name in state_shapes(model.sizes)}


def _reversed_axes(array: np.ndarray) -> np.ndarray:
    """Returns the kernel of a convolution with reversed axes; other arrays stay unchanged."""
    return array.transpose(2, 1, 0) if array.ndim == 3 else array


def weights_by_name(model: Any) -> dict[str, Any]:
    """Returns the Keras weights of a model by checkpoint names; a tied matrix occurs once."""
    weights = _transformer_weights(MUSIC, model.music)
    if model.music.output_matrix is not None:
        weights[f"{MUSIC}.x_out.weight"] = model.music.output_matrix
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
        embedding, output = (state[f"{MUSIC}.{n}.weight"] for n in ("x_emb", "x_out"))
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
        for field, name in (
            ("artists", "artists"),
            ("genres", "genres"),
            ("time_bins", "total_time"),
        ):
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
                "conditioner_stages": _count(state, kernel, 1),
                "conditioner_stride": state[kernel.format(1)].shape[2] // 2,
                "conditioner_width": state[f"{CONDITIONER}cond.model.0.weight"].shape[0],
                "conditioner_depth": _count(
                    state, f"{CONDITIONER}cond.model.1.0.blocks.{{}}.model.1.weight", 0
                ),
            }
    except (KeyError, ValueError) as error:
        raise UserError(f"The checkpoint is not of a Jukebox prior: {error} is missing") from error
    return dataclasses.replace(config, **changes)


def _layers(state: Mapping[str, np.ndarray], prefix: str) -> int:
    return _count(state, f"{prefix}.transformer._attn_mods.{{}}.ln_0.weight", 0)


def _count(state: Mapping[str, np.ndarray], name: str, first: int) -> int:
    """Returns the number of arrays whose names contain consecutive numbers from `first` on."""
    number = first
    while name.format(number) in state:
        number += 1
    return number - first

"""Recorded priors, upsamplers and what they gave; made by tests/golden/shrink_jukebox_priors.py."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np

from magenta_lite.checkpoints.jukebox import (
    CONDITIONER,
    EMBEDDINGS,
    LAYER,
    LYRICS,
    MUSIC,
    load_weights,
)
from magenta_lite.families.jukebox.config import (
    JukeboxPriorConfig,
    NextCodeObjective,
    TransformerSizes,
)
from magenta_lite.families.jukebox.model import JukeboxPrior, JukeboxUpsampler

GOLDEN = Path(__file__).parents[1] / "golden" / "jukebox"
PRIORS = (
    "label_free",
    "label_free_res_scale",
    "upsampler",
    "upsampler_times4_no_labels",
    "top_labels_timing",
    "merged_decoder",
    "single_enc_dec_lyrics",
    "separate_enc_dec_lyrics",
    "separate_enc_dec_lyrics_tied",
)


def unfolded(groups) -> dict[str, tuple[int, ...]]:
    """Returns shapes by name from those by kind of layer."""
    return {
        name.replace("*", str(number)): tuple(shape)
        for name, pairs in groups.items()
        for shape, numbers in pairs
        for number in numbers
    }


def split(flat, groups) -> dict[str, np.ndarray]:
    """Returns arrays by name from one that has them all, in the order of sorted names."""
    shapes = dict(sorted(unfolded(groups).items()))
    ends = np.cumsum([np.prod(shape) for shape in shapes.values()])
    parts = np.split(flat, ends[:-1])
    return {name: x.reshape(shapes[name]) for name, x in zip(shapes, parts, strict=True)}


def config_of(facts) -> JukeboxPriorConfig:
    """Returns our config of a recorded model."""
    given, prior = facts["hparams"], facts["hparams"]["prior"]
    sizes = {
        "codes": facts["bins"],
        "context": given["n_ctx"],
        "hop": facts["raw_to_tokens"],
        "merged": given.get("merged", False),
        **_stack(prior, ""),
        "attention_factor": prior["m_attn"],
        "feed_forward_factor": prior["m_mlp"],
        "residual_scale": prior["res_scale"],
    }
    if labels := facts["labels_hparams"]:
        genres, artists = labels["y_bins"]
        sizes |= {
            "artists": artists,
            "genres": genres,
            "max_genres": 1 if given.get("genre1") else labels["max_bow_genre_size"],
            "time_bins": 0 if "cond" in given else labels["t_bins"],
            "min_duration": labels["min_duration"],
            "max_duration": labels["max_duration"],
            "sample_rate": labels["sr"],
        }
    if "n_tokens" in given:
        sizes |= {
            "lyric_tokens": given["n_tokens"],
            "lyric_vocabulary": given["vocab"],
            "single_stream": given.get("single", False),
            "alignment_layer": given["align"][0],
            "alignment_head": given["align"][1],
        }
    if "prime" in given:
        sizes |= _stack(given["prime"], "lyric_")
    if conditioner := given.get("cond"):
        sizes |= {
            "conditioner_stages": {2: 1, 4: 2}[facts["cond_downsample"]],
            "conditioner_width": conditioner["width"],
            "conditioner_depth": conditioner["depth"],
            "conditioner_growth": conditioner["dilation_growth_rate"],
            "conditioner_cycle": conditioner["dilation_cycle"],
            "conditioner_residual_scale": conditioner["res_scale"],
        }
    return JukeboxPriorConfig(**sizes)


def _stack(given, prefix: str):
    names = {"width": "width", "depth": "depth", "heads": "heads", "init_scale": "initial_scale"}
    sizes = {f"{prefix}{ours}": given[theirs] for theirs, ours in names.items()}
    order, rows = given["attn_order"], given["blocks"] or 1
    return sizes | {f"{prefix}attention_order": order, f"{prefix}blocks": rows}


def model_of(config: JukeboxPriorConfig, state=None, **objective):
    """Returns the model of a config, with the arrays of a checkpoint."""
    kind = JukeboxUpsampler if config.conditioner_stages else JukeboxPrior
    model = kind(config, NextCodeObjective(**objective))
    if state is not None:
        load_weights(model, state)
    return model


@functools.cache
def recorded(name: str):
    """Returns a recorded model: its facts, arrays, state, ours with that state, and a batch."""
    facts = json.loads((GOLDEN / "prior" / f"{name}.json").read_text())
    arrays = dict(np.load(GOLDEN / "prior" / f"{name}.npz"))
    state = split(arrays["weights"], facts["shapes"])
    model = model_of(config_of(facts), state, lyric_share=facts["hparams"].get("frac", 0.4))
    keys = {"events": "z", "labels": "y", "above": "z_cond"}
    batch = {ours: arrays[theirs] for ours, theirs in keys.items() if theirs in arrays}
    return facts, arrays, state, model, batch


def state_shapes(config: JukeboxPriorConfig) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each array of a checkpoint without building the model.

    A tied output matrix is there twice.
    """
    w, shapes = config.width, {}
    if config.labelled:
        shapes[EMBEDDINGS["genres"]] = (config.genres, w)
        shapes[EMBEDDINGS["artists"]] = (config.artists, w)
    if config.time_bins:
        shapes |= {
            EMBEDDINGS[f"{n}_time"]: (config.time_bins, w)
            for n in ("total", "absolute", "relative")
        }
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

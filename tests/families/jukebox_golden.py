"""Recorded priors, upsamplers and what they gave; made by tests/golden/shrink_jukebox_priors.py."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np

from magenta_lite.checkpoints.jukebox import load_state
from magenta_lite.families.jukebox.config import JukeboxPriorConfig, NextCodeObjective
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
        load_state(model, state)
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

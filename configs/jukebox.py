"""Jukebox's priors and upsamplers (Dhariwal et al. 2020, https://arxiv.org/abs/2005.00341).

A prior generates the codes of a VQ-VAE's coarsest level, an upsampler those of a finer one. `_tiny`
(for vqvae_tiny) is for tests, `_mini` (for vqvae_mini) trains on two cores, `_base` on one GPU. The
`_small` ones (for vqvae_small) and those for jukebox_vqvae have the original's sizes: 5b and
5b_lyrics have 5.1 and 5.6 billion weights, 1b_lyrics 0.9 billion, upsampler_level_0 and _1 each 1.
`delay_…` (for rvqvae_…) generates all codes of a residual VQ-VAE in a delay pattern (Copet et al.
2023, https://arxiv.org/abs/2306.05284), without upsamplers and without conditioning.

python -m magenta_lite.train --config=jukebox_prior_mini --vqvae=runs/vqvae_mini
"""

from __future__ import annotations

import dataclasses

from magenta_lite.config import DataConfig, ExperimentConfig, GenerateConfig, TrainConfig, register
from magenta_lite.converters.codes import CodesConverterConfig
from magenta_lite.families.jukebox.config import JukeboxPriorConfig, NextCodeObjective
from magenta_lite.families.jukebox.delay_config import DelayPriorConfig


def jukebox(level: int, model, **train) -> ExperimentConfig:
    """Returns a config of a prior or an upsampler for the codes of a level."""
    fields = [field.name for field in dataclasses.fields(CodesConverterConfig)]
    shared = {name: getattr(model, name) for name in fields if hasattr(model, name)}
    return ExperimentConfig(
        converter=CodesConverterConfig(level=level, **shared),
        model=model,
        objective=NextCodeObjective(),
        data=DataConfig(source=""),  # the VQ-VAE's source
        train=TrainConfig(
            **{
                "steps": 300_000,
                "batch_size": 16,
                "schedule": "cosine",
                "warmup_steps": 100,
                "learning_rate": 3e-4,
                "min_learning_rate": 0.0,
                "clip_norm": 1.0,
                "validation_examples": 64,
            }
            | train
        ),
        generate=GenerateConfig(temperature=0.99),
    )


# For vqvae_tiny and vqvae_mini, and a size in between.

QUICK = {"warmup_steps": 50, "learning_rate": 1e-3, "checkpoint_every": 100}
TINY = {"codes": 32, "context": 64, "width": 32, "depth": 3, "heads": 2, "blocks": 8}
TINY |= {"artists": 4, "genres": 4, "sample_rate": 4000}
MINI = {"codes": 256, "context": 512, "width": 128, "depth": 6, "heads": 2, "blocks": 16}
MINI |= {"artists": 100, "genres": 10, "sample_rate": 16_000}
BASE = {"codes": 1024, "context": 2048, "width": 512, "depth": 12, "heads": 4, "blocks": 32}
BASE |= {"artists": 100, "genres": 10, "sample_rate": 22_050}
ANY_TIME = {"time_bins": 64, "min_duration": 0.0}


def conditioned(stages: int, width: int, depth: int) -> dict[str, int]:
    """Returns the sizes of an upsampler's conditioner."""
    names = ("conditioner_stages", "conditioner_width", "conditioner_depth")
    return dict(zip(names, (stages, width, depth), strict=True))


def add(name: str, level: int, sizes: dict, kind=JukeboxPriorConfig, **train) -> None:
    """Registers a config."""
    register(f"jukebox_{name}")(lambda: jukebox(level, kind(**sizes), **train))


add("prior_tiny", 1, TINY | ANY_TIME | {"hop": 8, "time_bins": 8}, steps=300, **QUICK)
add("upsampler_tiny", 0, TINY | {"hop": 4} | conditioned(1, 16, 2), steps=300, **QUICK)
add("prior_mini", 1, MINI | ANY_TIME | {"hop": 32}, steps=2000, **QUICK)
add("upsampler_mini", 0, MINI | {"hop": 8} | conditioned(2, 64, 4), steps=2000, **QUICK)
add("prior_base", 1, BASE | ANY_TIME | {"hop": 256}, steps=100_000)
add("upsampler_base", 0, BASE | {"hop": 32} | conditioned(3, 256, 8), steps=100_000)

# For rvqvae_tiny and rvqvae_mini: contexts of 0.3 and 4.1 s.

DELAY_TINY = {"codes": 32, "quantizers": 3, "context": 64, "width": 32, "depth": 2, "heads": 2}
DELAY_TINY |= {"sample_rate": 4000, "hop": 16}
DELAY_MINI = {"codes": 128, "quantizers": 4, "context": 256, "width": 128, "depth": 6, "heads": 4}
DELAY_MINI |= {"sample_rate": 16_000, "hop": 256}

add("delay_tiny", 0, DELAY_TINY, DelayPriorConfig, steps=300, **QUICK)
add("delay_mini", 0, DELAY_MINI, DelayPriorConfig, steps=2000, **QUICK)

# The original's configurations for training, for vqvae_small.

LARGE = {"recompute": True}
SMALL = {"codes": 1024, "sample_rate": 22_050, "hop": 256}
LABELLED = SMALL | {"artists": 100, "genres": 10, "time_bins": 64}
# The original does not specify the alignment layers; 31 and 39 are chosen here.
SINGLE = {"context": 6144, "lyric_tokens": 384, "single_stream": True, "heads": 2}
SINGLE |= {"attention_order": 12, "alignment_layer": 31}
SEPARATE = {"context": 6144, "lyric_tokens": 384, "depth": 50, "attention_order": 8}
SEPARATE |= {"alignment_layer": 39}

add("prior_small", 1, SMALL, **LARGE)
add("prior_small_labelled", 1, LABELLED, **LARGE)
add("prior_small_single_enc_dec", 1, LABELLED | SINGLE, **LARGE)
add("prior_small_sep_enc_dec", 1, LABELLED | SEPARATE, **LARGE)
add("upsampler_small", 0, SMALL | {"hop": 32} | conditioned(3, 512, 16), **LARGE)

# The original's released models, for jukebox_vqvae.

V2 = {"artists": 4111, "genres": 120, "max_genres": 5}
UPSAMPLER = V2 | {"width": 1920, "depth": 72, "blocks": 128, "initial_scale": 0.4}
UPSAMPLER |= conditioned(2, 1024, 16)
TOP_5B = V2 | {"width": 4800, "heads": 8, "blocks": 128, "initial_scale": 0.1, "merged": True}
TOP_5B |= {"time_bins": 128}
LYRICS_5B = {"min_duration": 23.8, "lyric_tokens": 512, "lyric_vocabulary": 80, "lyric_width": 1280}
LYRICS_5B |= {"lyric_depth": 18, "lyric_heads": 4, "alignment_layer": 68, "alignment_head": 2}
V3_1B = {"artists": 7898, "genres": 604, "context": 6144, "width": 2048, "depth": 72, "heads": 2}
V3_1B |= {"attention_order": 12, "initial_scale": 0.2, "time_bins": 64, "min_duration": 17.84}
V3_1B |= {"lyric_tokens": 384, "single_stream": True, "alignment_layer": 63}

add("upsampler_level_0", 0, UPSAMPLER | {"hop": 8}, **LARGE)
add(
    "upsampler_level_1",
    1,
    UPSAMPLER | {"hop": 32, "conditioner_residual_scale": True},
    **LARGE,
)
add("prior_5b", 2, TOP_5B | {"depth": 72}, adam_beta_2=0.925, **LARGE)
add(
    "prior_5b_lyrics",
    2,
    TOP_5B | {"depth": 79, "attention_order": 10} | LYRICS_5B,
    adam_beta_2=0.925,
    **LARGE,
)
add("prior_1b_lyrics", 2, V3_1B, **LARGE)

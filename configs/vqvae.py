"""VQ-VAEs of sound (Dhariwal et al. 2020, Jukebox): the first stage of a Jukebox, or a codec.

vqvae_tiny and rvqvae_tiny (4 kHz) are for tests, vqvae_mini (16 kHz) trains on two cores;
vqvae_small and jukebox_vqvae have the original's sizes. rvqvae_mini has a residual quantizer of
four codebooks and one level of 62.5 frames per second: 250 codes per second instead of
vqvae_mini's 2,500, for a single language model.

python -m magenta_lite.train --config=vqvae_mini --data=FOLDER_OF_SOUND
"""

from __future__ import annotations

from magenta_lite.config import DataConfig, ExperimentConfig, TrainConfig, register
from magenta_lite.converters.audio import AudioConverterConfig
from magenta_lite.families.vqvae.config import VQVAEConfig, VQVAEObjective


def vqvae(
    sample_rate: int, crop: int, model: VQVAEConfig, objective=None, **train
) -> ExperimentConfig:
    """Returns a config of a VQ-VAE for clips of `crop` samples."""
    return ExperimentConfig(
        converter=AudioConverterConfig(sample_rate=sample_rate, crop=crop, channels=model.channels),
        model=model,
        objective=objective or VQVAEObjective(),
        data=DataConfig(source="rendered_audio"),
        train=TrainConfig(
            **{
                "steps": 400_000,
                "batch_size": 32,
                "schedule": "cosine",
                "warmup_steps": 100,
                "learning_rate": 3e-4,
                "min_learning_rate": 0.0,
                "clip_norm": 1.0,
                "clip_to_zero_norm": 1e9,  # gradients of spectra are large at first
                "validation_examples": 64,
            }
            | train
        ),
    )


def narrow(downs, width: int, depth: int, code_width: int, codes: int, **options) -> VQVAEConfig:
    """Returns small sizes for two cores or for tests."""
    strides = options.pop("strides", (2,) * len(downs))
    return VQVAEConfig(downs, strides, code_width, codes, width, depth, **options)


RESIDUAL = {"quantizer_dropout": 0.5, "reset_restarted": True, "k_means_steps": 10}
QUICK = {"batch_size": 4, "warmup_steps": 50, "learning_rate": 1e-3, "checkpoint_every": 500}


@register("vqvae_tiny")
def vqvae_tiny() -> ExperimentConfig:
    """For tests, 300 steps; 512 and 256 codes per clip, codebooks of 32 codes."""
    sizes = narrow((2, 1), width=8, depth=2, code_width=8, codes=32)
    quick = QUICK | {"steps": 300, "batch_size": 2, "checkpoint_every": 100}
    return vqvae(4000, 2048, sizes, **quick, validation_examples=8)


@register("vqvae_mini")
def vqvae_mini() -> ExperimentConfig:
    """1,024 and 256 codes per clip; 4,096 and 1,024 per step, i.e. 16 and 4 per codebook entry."""
    sizes = narrow((3, 2), width=32, depth=2, code_width=32, codes=256)
    return vqvae(16_000, 8192, sizes, **QUICK | {"steps": 3500, "learning_rate": 2e-3})


@register("rvqvae_tiny")
def rvqvae_tiny() -> ExperimentConfig:
    """For tests, 300 steps; 128 frames per clip, 3 codes per frame."""
    sizes = narrow(
        (2,), strides=(4,), width=8, depth=2, code_width=8, codes=32, quantizers=3, **RESIDUAL
    )
    quick = QUICK | {"steps": 300, "checkpoint_every": 100}
    return vqvae(4000, 2048, sizes, **quick, validation_examples=8)


@register("rvqvae_mini")
def rvqvae_mini() -> ExperimentConfig:
    """32 frames per clip, 512 per step, i.e. 4 per codebook entry; revived entries are reset."""
    sizes = narrow(
        (4,),
        strides=(4,),
        width=32,
        depth=3,
        code_width=32,
        codes=128,
        quantizers=4,
        **RESIDUAL,
    )
    return vqvae(16_000, 8192, sizes, **QUICK | {"steps": 3000, "batch_size": 16})


@register("vqvae_small")
def vqvae_small() -> ExperimentConfig:
    """The original's small model: clips of 11.9 s with 8,192 and 1,024 codes."""
    sizes = VQVAEConfig(downs=(5, 3), strides=(2, 2), codes=1024)
    return vqvae(22_050, 262_144, sizes, VQVAEObjective(linf=0.0), batch_size=4)


@register("jukebox_vqvae")
def jukebox_vqvae() -> ExperimentConfig:
    """The sizes of the released model; clips of 8.9 s."""
    return vqvae(44_100, 393_216, VQVAEConfig(multipliers=(2, 1, 1)), batch_size=256)

"""MusicVAE (Roberts et al. 2018, https://arxiv.org/abs/1803.05428).

python -m magenta_lite.train --config=cat-mel_2bar [--data=FOLDER]
"""

from __future__ import annotations

import dataclasses

from magenta_lite.config import DataConfig, ExperimentConfig, TrainConfig, register
from magenta_lite.encoders.melody import MelodyEncoderConfig
from magenta_lite.models.music_vae.config import MusicVAEConfig, VAEObjective


@register("cat-mel_2bar", "cat-mel_2bar_small")
def cat_mel_2bar_small() -> ExperimentConfig:
    """4.4 M parameters; what magenta-js publishes as mel_2bar_small."""
    return ExperimentConfig(
        # Programs 0-31 are keyboards, mallets, organs and guitars: the rest rarely leads.
        encoder=MelodyEncoderConfig(bars=2, programs=(0, 31)),
        model=MusicVAEConfig(latent_size=256, encoder_units=(512,), decoder_units=(256, 256)),
        objective=VAEObjective(
            max_beta=0.2,
            beta_rate=0.99999,
            sampling_schedule="inverse_sigmoid",
            sampling_rate=1000,
        ),
        data=DataConfig(source="folk", transpose=(-5, 5)),
        train=TrainConfig(steps=200_000, batch_size=512),
    )


@register("cat-mel_2bar_big")
def cat_mel_2bar_big() -> ExperimentConfig:
    """134.6 M parameters; wants a GPU."""
    small = cat_mel_2bar_small()
    return dataclasses.replace(
        small,
        model=MusicVAEConfig(
            latent_size=512, encoder_units=(2048,), decoder_units=(2048, 2048, 2048)
        ),
        objective=dataclasses.replace(small.objective, max_beta=0.5),
    )


@register("cat-mel_2bar_tiny")
def cat_mel_2bar_tiny() -> ExperimentConfig:
    """Trains in about a minute on two cores: for tests and first tries."""
    small = cat_mel_2bar_small()
    return dataclasses.replace(
        small,
        model=MusicVAEConfig(latent_size=32, encoder_units=(64,), decoder_units=(64, 64)),
        train=TrainConfig(steps=300, batch_size=64, checkpoint_every=100, validation_examples=256),
    )

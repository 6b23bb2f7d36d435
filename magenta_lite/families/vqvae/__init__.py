"""The VQ-VAE of Jukebox (Dhariwal et al. 2020), and residual ones."""

from __future__ import annotations

from magenta_lite.families.vqvae.config import VQVAEConfig, VQVAEObjective
from magenta_lite.families.vqvae.options import VQVAEOptions
from magenta_lite.modeling.family import Family, register


def _model_class():
    from magenta_lite.families.vqvae.model import VQVAE

    return VQVAE


register(
    Family(
        name="vqvae",
        config_class=VQVAEConfig,
        objective_class=VQVAEObjective,
        options_class=VQVAEOptions,
        model_class=_model_class,
        about="sound, encoded and decoded",
        first_config="vqvae_mini",
        shown_configs=("vqvae_mini",),
        belongs_to="jukebox",
    )
)

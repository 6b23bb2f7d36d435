"""The priors and upsamplers of Jukebox (Dhariwal et al. 2020)."""

from __future__ import annotations

from magenta_lite.families.family import Family
from magenta_lite.families.jukebox.config import JukeboxPriorConfig, NextCodeObjective
from magenta_lite.families.jukebox.options import JukeboxOptions


def _model_class():
    from magenta_lite.families.jukebox.model import JukeboxPrior

    return JukeboxPrior


FAMILY = Family(
    name="jukebox",
    config_class=JukeboxPriorConfig,
    objective_class=NextCodeObjective,
    options_class=JukeboxOptions,
    model_class=_model_class,
    about="sound; a VQ-VAE, then priors of its codes",
    first_config="vqvae_mini",
    aliases=("vqvae",),
)

"""A prior over several codes per frame, each delayed by a step (MusicGen)."""

from __future__ import annotations

from magenta_lite.families.family import Family
from magenta_lite.families.jukebox.config import NextCodeObjective
from magenta_lite.families.jukebox_delay.config import DelayPriorConfig
from magenta_lite.families.jukebox_delay.options import DelayPriorOptions


def _model_class():
    from magenta_lite.families.jukebox_delay.model import DelayPrior

    return DelayPrior


FAMILY = Family(
    name="jukebox_delay",
    config_class=DelayPriorConfig,
    objective_class=NextCodeObjective,
    options_class=DelayPriorOptions,
    model_class=_model_class,
    about="codes of a VQ-VAE with several codes a frame",
    first_config="vqvae_mini",
    belongs_to="jukebox",
)

"""The priors and upsamplers of Jukebox (Dhariwal et al. 2020), and a prior in a delay pattern."""

from __future__ import annotations

from magenta_lite.families.jukebox.config import JukeboxPriorConfig, NextCodeObjective
from magenta_lite.families.jukebox.data import CodesData
from magenta_lite.families.jukebox.delay_config import DelayPriorConfig
from magenta_lite.families.jukebox.options import DelayPriorOptions, JukeboxOptions
from magenta_lite.modeling.family import Family, register


def _jukebox_prior():
    from magenta_lite.families.jukebox.model import JukeboxPrior

    return JukeboxPrior


def _delay_prior():
    from magenta_lite.families.jukebox.delay import DelayPrior

    return DelayPrior


register(
    Family(
        name="jukebox",
        config_class=JukeboxPriorConfig,
        objective_class=NextCodeObjective,
        options_class=JukeboxOptions,
        model_class=_jukebox_prior,
        about="sound, as codes of a VQ-VAE",
        first_config="vqvae_mini",
        aliases=("vqvae",),
        encoded_data=CodesData(),
    )
)
register(
    Family(
        name="jukebox_delay",
        config_class=DelayPriorConfig,
        objective_class=NextCodeObjective,
        options_class=DelayPriorOptions,
        model_class=_delay_prior,
        about="codes of a VQ-VAE with several codes a frame (rvqvae_…)",
        first_config="vqvae_mini",
        belongs_to="jukebox",
        encoded_data=CodesData(),
    )
)

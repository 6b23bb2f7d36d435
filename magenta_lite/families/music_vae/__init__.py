"""MusicVAE (Roberts et al. 2018) and its descendants: GrooVAE, multitrack MusicVAE."""

from __future__ import annotations

from magenta_lite.families.music_vae.config import MusicVAEConfig, VAEObjective
from magenta_lite.families.music_vae.options import MusicVAEOptions
from magenta_lite.modeling.family import Family, register


def _model_class():
    from magenta_lite.families.music_vae.model import MusicVAE

    return MusicVAE


register(
    Family(
        name="music_vae",
        config_class=MusicVAEConfig,
        objective_class=VAEObjective,
        options_class=MusicVAEOptions,
        model_class=_model_class,
        about="short pieces to sample, interpolate, vary",
        first_config="cat-mel_2bar_tiny",
        shown_configs=(
            "cat-mel_2bar",
            "cat-mel_2bar_med_chords",
            "hierdec-mel_16bar",
            "hierdec-trio_16bar",
            "cat-drums_2bar_small",
            "groovae_4bar",
            "hier-multiperf_vel_1bar_med",
        ),
        aliases=("groovae", "vae"),
    )
)

"""Small models with random weights that magenta-js can run, and what they give here."""

import numpy as np

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.families.building import build_model
from magenta_lite.training.run import Run

PLAIN_GROOVE = "model.expression_units=0"
MODELS = {
    "melody": ("cat-mel_2bar_tiny",),
    "chords": ("cat-mel_2bar_med_chords_tiny",),
    "long_melody": ("hier-mel_16bar_tiny",),
    "trio": (
        "hier-trio_16bar_tiny",
        "converter.bars=4",
        "model.encoder_levels=[16,4]",
        "model.segments=4",
    ),
    "flat_trio": (
        "flat-trio_16bar_tiny",
        "converter.bars=2",
        "model.decoder_per_part=true",
        "model.encoder_units=[64]",
    ),
    "drums": ("cat-drums_2bar_small_tiny",),
    "nade": ("nade-drums_2bar_reduced_tiny",),
    "full_nade": ("nade-drums_2bar_full_tiny",),
    "humanize": ("groovae_2bar_humanize_tiny", PLAIN_GROOVE),
    "tap": ("groovae_2bar_tap_fixed_velocity_tiny", PLAIN_GROOVE),
    "hits": ("groovae_2bar_hits_control_tiny", PLAIN_GROOVE),
    "tracks": ("hier-multiperf_vel_1bar_med_tiny",),
    "tracks_with_chords": ("hier-multiperf_vel_1bar_med_chords_tiny",),
    "basic_rnn": ("basic_rnn_tiny",),
    "mono_rnn": ("mono_rnn_tiny",),
    "basic_improv": ("basic_improv_tiny",),
    "chord_pitches_improv": ("chord_pitches_improv_tiny",),
    "one_drum": ("one_drum_tiny",),
    "drum_kit_rnn": (
        "drum_kit_rnn_tiny",
        "model.attention_layout=all_layers",
        "model.units=[64,64,64]",
        "model.attention_bias=false",
    ),
}
C_MAJOR = 1  # id of a chord
ROWS = 8
STEPS = 64  # of continuations


def random_run(name: str, gain: float = 1.5) -> Run:
    """Returns an untrained model of `MODELS` with weights large enough for varied events."""
    config_name, *overrides = MODELS[name]
    config = get_config(config_name, tuple(overrides))
    converter = build_converter(config.converter)
    model = build_model(config, converter)
    rng = np.random.default_rng(0)
    for weight in model.trainable_weights:
        shape = weight.shape
        deviation = gain / np.sqrt(shape[0]) if len(shape) > 1 else 0.3
        weight.assign(rng.normal(0, deviation, shape).astype(np.float32))
    return Run(config, converter, model)

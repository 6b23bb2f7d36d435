"""Models that together have every layer of every family, with the data of a batch for each."""

import keras
import numpy as np

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.families.building import build_model

ROWS = 2
LYRICS = ("lyric_tokens=8", "lyric_width=16", "lyric_depth=1", "lyric_blocks=4")
LYRICS = (*LYRICS, "attention_order=6", "depth=4")
SMALL_BAND = ("converter.crop=64", "model.layers=1", "model.hidden_size=32", "model.dropout=0.2")
MODELS = {
    "melody": ("cat-mel_2bar_tiny", ("model.dropout=0.2",)),
    "trio": ("hier-trio_16bar_tiny", ()),
    "hierarchical": ("hierdec-trio_16bar_tiny", ()),
    "multitrack": ("hier-multiperf_vel_1bar_med_tiny", ()),
    "nade": ("nade-drums_2bar_reduced_tiny", ()),
    "groove": ("groovae_2bar_humanize_tiny", ()),
    "original_groove": ("groovae_2bar_humanize_tiny", ("model.expression_units=0",)),
    "rnn": ("basic_rnn_tiny", ("model.dropout=0.2",)),
    "attention": ("attention_rnn_tiny", ("model.dropout=0.2",)),
    "transformer": ("music_transformer_tiny", ("model.dropout=0.2",)),
    "accompaniment": ("music_transformer_melody_tiny", ("model.dropout=0.2",)),
    "musenet": ("musenet_tiny", (*SMALL_BAND, "objective.mixup=0.2", "objective.critic=0.5")),
    "vqvae": ("vqvae_tiny", ("model.snake=true",)),
    "rvqvae": ("rvqvae_tiny", ("model.quantizer_dropout=0.5",)),
    "prior": ("jukebox_prior_tiny", ()),
    "lyrics": ("jukebox_prior_tiny", tuple(f"model.{setting}" for setting in LYRICS)),
    "upsampler": ("jukebox_upsampler_tiny", ()),
    "delay": ("jukebox_delay_tiny", ()),
}


def tiny_model(name: str, precision: str = "float32") -> keras.Model:
    """Returns an untrained model of `MODELS`."""
    config_name, overrides = MODELS[name]
    config = get_config(config_name, overrides)
    keras.utils.set_random_seed(0)
    return build_model(config, build_converter(config.converter), precision)


def data_of(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns a batch of two examples without random inputs."""
    rng, kind = np.random.default_rng(0), type(model).__name__

    def ids(most, *shape):
        return rng.integers(1, most, (ROWS, *shape))

    if kind == "MusicVAE":
        events, steps = model.events_format, model.length
        batch = {"length": np.full(ROWS, steps, np.int32)}
        if events.kind == "groove":
            hits = rng.uniform(0, 1, (ROWS, steps, 3 * events.sizes[0]))
            return batch | {"events": hits.astype(np.float32)}
        if events.control == "chords":
            batch["controls"] = ids(10, steps)
        shape = {"roll": events.sizes, "multi_categorical": (len(events.sizes),)}
        most = 2 if events.kind == "roll" else min(events.sizes)
        return batch | {"events": ids(most, steps, *shape.get(events.kind, ()))}
    if kind == "MelodyRNN":
        return {"events": ids(9, 24), "length": np.full(ROWS, 24, np.int32)}
    if kind == "MusicTransformer":
        batch = {"events": ids(9, 32)}
        return batch | {"inputs": ids(9, 16)} if model.rules.inputs else batch
    if kind == "MuseNet":
        return {"events": np.stack([ids(3000, 64), ids(100, 64), ids(100, 64)], axis=2)}
    if kind == "VQVAE":
        sound = rng.uniform(-0.5, 0.5, (ROWS, 4096, model.sizes.channels))
        return {"events": sound.astype(np.float32)}
    sizes = model.sizes
    if kind == "DelayPrior":
        return {"events": ids(8, sizes.context, sizes.quantizers)}
    batch = {"events": ids(8, sizes.context)}
    if sizes.labelled:
        labels = np.tile([[1000, 0, 256, 1, 2]], (ROWS, 1))
        batch["labels"] = np.concatenate([labels, ids(9, sizes.lyric_tokens)], axis=1)
    if model.upsamples:
        batch["above"] = ids(8, sizes.context // sizes.above_ratio)
    return batch

"""Inference functions of a VQ-VAE as compiled graphs, for `export`; and figures for training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from magenta_lite.converters.audio import Audio
from magenta_lite.graphs import graph_function

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from magenta_lite.converters.audio import AudioConverter
    from magenta_lite.families.vqvae.model import VQVAE

SHOWN = 2  # clips per validation


def signatures(
    model: VQVAE,
) -> dict[str, tf.types.experimental.PolymorphicFunction]:
    """Returns functions of dense tensors by signature name; each returns a dict of tensors.

    Shape letters: B sounds, T samples, a multiple of the last level's hop length, C channels, S
    codes, N quantizers.

    - `encode(audio)`: `codes_0`, `codes_1` … int32 (B, S), or (B, S, N), of each level, 0 the
      finest, for float32 (B, T, C) in [-1, 1].
    - `decode_0(codes)`, `decode_1(codes)` …: `audio` float32 (B, T, C) for the codes of a level,
      not clipped to [-1, 1].
    - `reconstruct(audio)`: `audio_0`, `audio_1` …, the reconstructions from
      each level's codes.
    """
    sizes, levels = model.sizes, range(model.sizes.levels)
    audio_spec = tf.TensorSpec([None, None, sizes.channels], tf.float32, "audio")
    several = [sizes.quantizers] if sizes.quantizers > 1 else []
    codes_spec = tf.TensorSpec([None, None, *several], tf.int32, "codes")

    @graph_function(input_signature=[audio_spec])
    def encode(audio):
        return {f"codes_{i}": codes for i, codes in enumerate(model.encode(audio))}

    @graph_function(input_signature=[audio_spec])
    def reconstruct(audio):
        return {f"audio_{i}": sound for i, sound in enumerate(model.reconstruct(audio))}

    def decoder(level):
        @graph_function(input_signature=[codes_spec])
        def decode(codes):
            return {"audio": model.decode(codes, level)}

        return decode

    decoders = {f"decode_{level}": decoder(level) for level in levels}
    return {
        "encode": encode,
        **decoders,
        "reconstruct": reconstruct,
    }


def row_signature(model: VQVAE) -> tf.types.experimental.PolymorphicFunction:
    """Returns the function of rows, `reconstruct`, which reads each sound alone."""
    return signatures(model)["reconstruct"]


def signature_arguments(
    model: VQVAE, num_outputs: int, temperature: float, seed: int
) -> dict[str, tf.Tensor]:
    """Returns arguments of `reconstruct`: noise."""
    del temperature
    shape = (num_outputs, 4 * model.hop_lengths[-1], model.sizes.channels)
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, shape)
    return {"audio": tf.constant(noise, tf.float32)}


def pictures(model: VQVAE, converter: AudioConverter, examples: Any, seed: int) -> Iterator[Figure]:
    """Yields figures of some clips of the validation split and their reconstructions."""
    from magenta_lite.plots import sounds

    del seed
    for row in examples.events[:SHOWN]:
        clip = row[: model.crop]
        shown = {"original": converter.decode(clip)}
        for level, sound in enumerate(model.reconstruct(tf.constant(clip[None]))):
            shown[f"level {level}"] = Audio(sound[0].numpy(), converter.sample_rate)
        yield sounds(list(shown.values()), list(shown))

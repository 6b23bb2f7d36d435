"""Metrics of the reconstruction of held-out sound, and of the use of codes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from magenta_lite.families.vqvae import losses
from magenta_lite.families.vqvae.config import MAX_LEVELS
from magenta_lite.graphs import graph_function
from magenta_lite.modeling.examples import Examples

if TYPE_CHECKING:
    from magenta_lite.families.vqvae.model import VQVAE

BATCH = 4
OF_LEVEL = {
    "spectral_convergence_db": "of level {}: 20 log10 of the mean over clips, lower is better",
    "log_mel_distance": "of level {}: mean difference of log-mel spectra, lower is better",
    "si_sdr_db": "of level {}: scale-invariant signal-to-distortion ratio, higher is better",
    "codes_used": "of level {}: share of the codes that appear",
    "perplexity": "of level {}: exp of the entropy of the codes, at most their number",
    "bits_per_second": "of level {}: of the codes, by that entropy",
}
MEANINGS = {
    "examples": "clips",
    "seconds": "of sound",
    **{f"{k}_{i}": v.format(i) for i in range(MAX_LEVELS) for k, v in OF_LEVEL.items()},
}


def measure(model: VQVAE, examples: Examples, seed: int = 0) -> dict[str, float]:
    """Returns the metrics that `MEANINGS` explains; of several quantizers, the mean over them.

    The first crop of each row is used, and the seed is not.
    """
    del seed
    crop = model.crop or examples.events.shape[1]
    count = len(examples)
    levels, sizes = range(model.sizes.levels), model.sizes
    hits = np.zeros((sizes.levels, sizes.quantizers, sizes.codes), np.int64)

    @graph_function
    def measured(sound):
        codes = model.encode(sound)
        resolution, found = model.objective.stft, []
        spectrum = losses.spectrum(sound, resolution)
        for level, each in enumerate(codes):
            heard = model.decode(each, level)
            others = losses.spectrum(heard, resolution)
            found.append(
                (
                    losses.convergence(spectrum, others),
                    losses.log_mel_distance(spectrum, others, model.sample_rate),
                    losses.si_sdr(sound, heard),
                )
            )
        return codes, tf.stack(found)

    parts = []
    for start in range(0, count, BATCH):
        sound = losses.sound_of(examples.events[start : start + BATCH, :crop]).numpy()
        size = len(sound)
        # Padded with silent clips: batches of equal size are traced once.
        padding = [[0, BATCH - size], [0, 0], [0, 0]]
        codes, found = measured(tf.constant(np.pad(sound, padding)))
        parts.append(found.numpy()[..., :size])
        for i in levels:
            rows = codes[i][:size].numpy().reshape(-1, sizes.quantizers)
            for q in range(sizes.quantizers):
                hits[i, q] += np.bincount(rows[:, q], minlength=sizes.codes)
    mean = np.concatenate(parts, axis=2).mean(axis=2)
    numbers = {"examples": count, "seconds": count * crop / model.sample_rate}
    for i in levels:
        shares = hits[i] / hits[i].sum(axis=1, keepdims=True)
        # 0 log 0 is 0.
        entropy = -np.sum(shares * np.log(np.where(shares > 0, shares, 1.0)), axis=1)
        frames = model.sample_rate / model.hop_lengths[i]
        values = (
            20 * math.log10(max(mean[i, 0], 1e-10)),
            float(mean[i, 1]),
            float(mean[i, 2]),
            float(np.mean(hits[i] > 0)),
            float(np.exp(entropy).mean()),
            float(entropy.sum() / math.log(2) * frames),
        )
        numbers |= {f"{name}_{i}": value for name, value in zip(OF_LEVEL, values, strict=True)}
    return numbers

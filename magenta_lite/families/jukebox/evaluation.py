"""Metrics of a prior or an upsampler on the codes of held-out sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from magenta_lite.families.jukebox.losses import bits_of
from magenta_lite.graphs import graph_function
from magenta_lite.modeling.examples import Examples

if TYPE_CHECKING:
    from magenta_lite.families.jukebox.delay import DelayPrior
    from magenta_lite.families.jukebox.model import JukeboxPrior

BATCH = 4
MEANINGS = {
    "examples": "contexts, with a hop length of a quarter of a context",
    "bits_per_code": "each given those before it in its context",
    "accuracy": "share of codes whose most probable guess is right",
    "codes_per_second": "of this level",
    "bits_per_second": "of sound",
    "lyric_bits_per_character": "of the lyrics",
}


def measure(
    model: JukeboxPrior | DelayPrior, examples: Examples, seed: int = 0
) -> dict[str, float]:
    """Returns the metrics that `MEANINGS` explains; the last one only for a model with lyrics.

    The seed is unused.
    """
    del seed
    sizes: Any = model.sizes
    count = len(examples.events)
    batch = {"events": examples.events, **examples.extras}
    # Padded with copies of the first row: batches of equal size are traced once.
    rows = np.r_[np.arange(count), np.zeros(-count % BATCH, int)]
    real = (np.arange(len(rows)) < count).astype(np.float32)

    @graph_function
    def sums(batch, real):
        outputs = model(batch)
        logits, lyric_logits = outputs if isinstance(outputs, tuple) else (outputs, None)
        codes = batch["events"] + sizes.shift
        right = tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32) == codes, tf.float32)
        found = [bits_of(codes, logits), right]
        if lyric_logits is not None:
            found.append(bits_of(batch["labels"][:, -sizes.lyric_tokens :], lyric_logits))
        means = [tf.reduce_mean(x, axis=list(range(1, len(x.shape)))) for x in found]
        return [tf.reduce_sum(mean * real) for mean in means]

    totals: Any = 0.0
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        tensors = {name: tf.constant(x[part], tf.int32) for name, x in batch.items()}
        totals += np.array(sums(tensors, tf.constant(real[start : start + BATCH])), np.float64)
    means = totals / count
    rate = sizes.sample_rate / sizes.hop * sizes.quantizers
    numbers = {
        "examples": count,
        "bits_per_code": means[0],
        "accuracy": means[1],
        "codes_per_second": rate,
        "bits_per_second": means[0] * rate,
    }
    return numbers | ({"lyric_bits_per_character": means[2]} if len(means) > 2 else {})

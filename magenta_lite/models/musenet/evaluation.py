"""How well a MuseNet predicts held-out music."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from magenta_lite.encoders.musenet.rules import tables
from magenta_lite.graphs import graph_function
from magenta_lite.models.musenet.model import MuseNet, counted, with_open_end

BATCH = 4
MEANINGS = {
    "examples": "crops",
    "tokens": "predicted, each given those before it in its crop, style and instruments",
    "nll_per_token": "nats",
    "perplexity": "exp of it",
    "accuracy": "share of tokens whose most probable guess is right",
    "seconds": "of music",
    "nll_per_second": "nats; comparable between vocabularies",
    "bits_per_second": "the same in bits",
}


def evaluate(model: MuseNet, examples, seed: int) -> dict[str, float]:
    """Returns the numbers that `MEANINGS` explains.

    Args:
        model: A trained model.
        examples: A `collections.Examples`. Of rows with two crops the first one counts.
        seed: Not used.
    """
    del seed
    crop = min(examples.events.shape[1], model.crop)
    kept = np.arange(crop) < np.asarray(examples.lengths)[:, None]
    events = np.where(kept[..., None], examples.events[:, :crop], 0).astype(np.int32)
    # A crop of zeros fills up: batches of one size are traced once.
    events = np.pad(events, [[0, -len(events) % BATCH], [0, 0], [0, 0]])
    events = with_open_end(tf.constant(events)).numpy()

    @graph_function
    def sums(events):
        ids, logits, counts = events[..., 0], model({"events": events}), counted(events)
        nll = tf.nn.sparse_softmax_cross_entropy_with_logits(ids, logits)
        right = tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32) == ids, tf.float32)
        return tf.reduce_sum(nll * counts), tf.reduce_sum(right * counts), tf.reduce_sum(counts)

    batches = [sums(tf.constant(events[i : i + BATCH])) for i in range(0, len(events), BATCH)]
    nll, right, tokens = (float(sum(column)) for column in zip(*batches, strict=True))
    seconds = float(tables().units[events[..., 0]].sum()) / model.rules.steps_per_second
    return {
        "examples": len(examples.events),
        "tokens": int(tokens),
        "nll_per_token": nll / tokens,
        "perplexity": math.exp(nll / tokens),
        "accuracy": right / tokens,
        "seconds": seconds,
        "nll_per_second": nll / seconds,
        "bits_per_second": nll / seconds / math.log(2),
    }

"""Evaluation of a Music Transformer on held-out music."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from magenta_lite.families.music_transformer.losses import PAD, token_nll
from magenta_lite.graphs import graph_function
from magenta_lite.modeling.music_model import is_top

if TYPE_CHECKING:
    from magenta_lite.families.music_transformer.model import MusicTransformer

BATCH = 8
MEANINGS = {
    "examples": "crops",
    "tokens": "predicted tokens, each given the previous ones of its crop",
    "nll_per_token": "nats",
    "perplexity": "exponential of nll_per_token",
    "accuracy": "share of tokens predicted correctly",
    "seconds": "length of the music",
    "nll_per_second": "nats; comparable between vocabularies",
}


def measure(model: MusicTransformer, examples: Any, seed: int = 0) -> dict[str, float]:
    """Returns the metrics that `MEANINGS` explains; the seed is unused.

    Of rows with two crops the first one is evaluated, so that every token of a piece counts once.
    """
    del seed
    events = np.asarray(examples.events[:, : model.crop or None], np.int32)
    kept = np.arange(events.shape[1]) < np.asarray(examples.lengths)[:, None]
    events = np.where(kept, events, PAD)

    @graph_function(reduce_retracing=True)
    def sums(ids):
        batch = model.separated({"events": ids})
        ids, logits = batch["events"], model(batch)
        nll, _ = token_nll(ids, logits)
        counts = tf.cast(ids != PAD, tf.float32)
        return tf.reduce_sum(nll * counts), tf.reduce_sum(is_top(logits, ids) * counts)

    nll = right = 0.0
    for start in range(0, len(events), BATCH):
        # The last batch is padded, so that all batches have one size and are traced once.
        rows = events[start : start + BATCH]
        rows = np.pad(rows, [[0, BATCH - len(rows)], [0, 0]])
        new_nll, new_right = sums(tf.constant(rows))
        nll, right = nll + float(new_nll), right + float(new_right)
    if model.rules.inputs:
        events = events[:, model.rules.input_steps :]
    tokens = int((events != PAD).sum())
    numbers = {
        "examples": len(events),
        "tokens": tokens,
        "nll_per_token": nll / tokens,
        "perplexity": math.exp(nll / tokens),
        "accuracy": right / tokens,
    }
    rules = model.rules
    if rules.steps_per_second:
        first, last = rules.shift
        steps = np.where((events >= first) & (events <= last), events - first + 1, 0).sum()
        seconds = float(steps) / rules.steps_per_second
        numbers |= {"seconds": seconds, "nll_per_second": nll / seconds}
    return numbers

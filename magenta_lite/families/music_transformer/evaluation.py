"""Evaluation of a Music Transformer on held-out music."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from magenta_lite.converters.performance_infill import GapCodec
from magenta_lite.families.music_transformer import chorale_evaluation, harmony_evaluation
from magenta_lite.families.music_transformer.losses import PAD, token_nll
from magenta_lite.graphs import graph_function
from magenta_lite.modeling import gap_evaluation
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
    **gap_evaluation.MEANINGS,
    **harmony_evaluation.MEANINGS,
}


def measure(model: MusicTransformer, examples: Any, seed: int = 0) -> dict[str, float]:
    """Returns the metrics that `MEANINGS` explains, except those of `measure_gaps`.

    The seed is unused. Of rows with two crops the first one is evaluated, so that every token of a
    piece counts once.
    """
    del seed
    rules = model.rules

    @graph_function(reduce_retracing=True)
    def sums(ids):
        batch = model.separated({"events": ids})
        ids, logits = batch["events"], model(batch)
        nll, _ = token_nll(ids, logits)
        counts = model.counted(ids)
        return tf.reduce_sum(nll * counts), tf.reduce_sum(is_top(logits, ids) * counts)

    nll = right = 0.0
    tokens = steps = 0
    for start in range(0, len(examples), BATCH):
        rows = slice(start, start + BATCH)
        events = np.asarray(examples.events[rows, : model.crop or None], np.int32)
        kept = np.arange(events.shape[1]) < np.asarray(examples.lengths[rows])[:, None]
        events = np.where(kept, events, PAD)
        # The last batch is padded, so that all batches have one size and are traced once.
        padded = np.pad(events, [[0, BATCH - len(events)], [0, 0]])
        new_nll, new_right = sums(tf.constant(padded))
        nll, right = nll + float(new_nll), right + float(new_right)
        if rules.inputs:
            events = events[:, rules.input_steps :]
        tokens += int((events != PAD).sum())
        steps += int(rules.steps_of(events).sum())
    numbers = {
        "examples": len(examples),
        "tokens": tokens,
        "nll_per_token": nll / tokens,
        "perplexity": math.exp(nll / tokens),
        "accuracy": right / tokens,
    }
    if rules.steps_per_second:
        seconds = steps / rules.steps_per_second
        numbers |= {"seconds": seconds, "nll_per_second": nll / seconds}
    return numbers


def measure_gaps(model: MusicTransformer, examples: Any, seed: int = 0) -> dict[str, float]:
    """Returns the metrics of gaps, a quarter of a crop in the middle of each row that is longer.

    Those of chorales include the metrics of harmonisation, and need samples by the seed.
    """
    if model.fills_gaps:
        return gap_evaluation.compared(_last_nll(model), _gaps(model, examples))
    if model.rules.inputs or model.rules.pitches:
        return {}
    gaps = chorale_evaluation.of_gaps(model, examples, seed)
    return gaps | harmony_evaluation.of_lower_voices(model, examples, seed)


def _last_nll(model: MusicTransformer) -> gap_evaluation.LastNLL:
    return gap_evaluation.last_nll(
        lambda ids: token_nll(ids, model({"events": ids}))[0], model.training_length
    )


def _gaps(model: MusicTransformer, examples: Any) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Yields `GapCodec.both_ways` of a span of each row that is long enough, if it fits there."""
    gaps, context = GapCodec(model.rules), model.training_length
    for row in gap_evaluation.long_rows(examples, context):
        times = np.cumsum(model.rules.steps_of(row))
        span = gap_evaluation.middle_of(times, context)
        with contextlib.suppress(ValueError):  # so many notes in a moment that it does not fit
            yield gaps.both_ways(row, context, *span)

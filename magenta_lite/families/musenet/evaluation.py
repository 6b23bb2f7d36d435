"""Evaluation of a MuseNet on held-out music."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from magenta_lite.converters.musenet import vocabulary
from magenta_lite.converters.musenet.converter import PREFIX
from magenta_lite.converters.musenet.infill import both_ways
from magenta_lite.converters.musenet.rules import tables
from magenta_lite.families.musenet.grammar import FORBIDDEN, possible
from magenta_lite.families.musenet.targets import counted
from magenta_lite.graphs import graph_function
from magenta_lite.modeling import gap_evaluation
from magenta_lite.modeling.music_model import is_top

if TYPE_CHECKING:
    from magenta_lite.families.musenet.model import MuseNet

BATCH = 4
KINDS = ("note_on", "note_off", "drum_hit", "wait")
MEANINGS = {
    "examples": "crops",
    "tokens": "predicted tokens, each given the previous ones, style and instruments",
    "nll_per_token": "nats",
    "nll_within_grammar": "the same, with the tokens that the grammar forbids left out",
    **{f"nll_per_{kind}": "nats, of tokens of this kind" for kind in KINDS},
    "perplexity": "exponential of nll_per_token",
    "accuracy": "share of tokens predicted correctly",
    "seconds": "length of the music",
    "nll_per_second": "nats; comparable between vocabularies",
    "bits_per_second": "the same in bits",
    **gap_evaluation.MEANINGS,
}


def measure(model: MuseNet, examples: Any, seed: int = 0) -> dict[str, float]:
    """Returns the metrics that `MEANINGS` explains, except those of gaps; the seed is unused.

    Of rows with two crops the first one is evaluated.
    """
    del seed
    crop = min(examples.events.shape[1], model.crop)
    kind_of_id = np.array([_kind_index(id) for id in range(vocabulary.SIZE)], np.int32)

    @graph_function
    def sums(events):
        ids, logits, counts = events[..., 0], model({"events": events}), counted(events)
        nll = tf.nn.sparse_softmax_cross_entropy_with_logits(ids, logits)
        within = tf.where(possible(ids), logits, FORBIDDEN)
        masked = tf.nn.sparse_softmax_cross_entropy_with_logits(ids, within)
        kinds = tf.gather(kind_of_id, ids)
        return [
            tf.math.unsorted_segment_sum(x * counts, kinds, len(KINDS) + 1)
            for x in (nll, masked, is_top(logits, ids), tf.ones_like(nll))
        ]

    batches, units = [], 0
    for start in range(0, len(examples), BATCH):
        rows = slice(start, start + BATCH)
        kept = np.arange(crop) < np.asarray(examples.lengths[rows])[:, None]
        events = np.where(kept[..., None], examples.events[rows, :crop], 0).astype(np.int32)
        # Padded with empty crops, so that all batches have one size and are traced once.
        events = np.pad(events, [[0, BATCH - len(events)], [0, 0], [0, 0]])
        batches.append(sums(tf.constant(events)))
        units += int(tables().units[events[..., 0]].sum())
    each_nll, each_masked, each_right, each = np.array(batches, np.float64).sum(axis=0)
    nll, masked, right, tokens = (float(x.sum()) for x in (each_nll, each_masked, each_right, each))
    by_kind = zip(KINDS, each_nll, each, strict=False)
    seconds = units / model.rules.steps_per_second
    return {
        "examples": len(examples.events),
        "tokens": int(tokens),
        "nll_per_token": nll / tokens,
        "nll_within_grammar": masked / tokens,
        **{f"nll_per_{kind}": float(x / n) for kind, x, n in by_kind if n},
        "perplexity": math.exp(nll / tokens),
        "accuracy": right / tokens,
        "seconds": seconds,
        "nll_per_second": nll / seconds,
        "bits_per_second": nll / seconds / math.log(2),
    }


def measure_gaps(model: MuseNet, examples: Any, seed: int = 0) -> dict[str, float]:
    """Returns the metrics of gaps, a quarter of a context in the middle of each row that is longer.

    The seed is unused.
    """
    del seed
    if not model.fills_gaps:
        return {}
    return gap_evaluation.compared(last_nll(model), _gaps(examples, model.sizes.positions))


def _gaps(examples: Any, context: int) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Yields `both_ways` of a span of each row with at least `context` tokens, if it fits there."""
    for row in gap_evaluation.long_rows(examples, context):
        times = np.cumsum(tables().units[row[PREFIX:, 0]])
        span = gap_evaluation.middle_of(times, context)
        with contextlib.suppress(ValueError):  # so many notes in a moment that it does not fit
            yield both_ways(row, PREFIX, context, *span)


def last_nll(model: MuseNet) -> gap_evaluation.LastNLL:
    """Returns `gap_evaluation.last_nll` of rows int (T, 3)."""

    def nll_of(events):
        return tf.nn.sparse_softmax_cross_entropy_with_logits(
            events[..., 0], model({"events": events})
        )

    return gap_evaluation.last_nll(nll_of, model.sizes.positions, (3,))


def _kind_index(id: int) -> int:
    """Returns the index of an id's kind in `KINDS`; `len(KINDS)` for other kinds."""
    kind = vocabulary.token(id).kind
    return KINDS.index(kind) if kind in KINDS else len(KINDS)

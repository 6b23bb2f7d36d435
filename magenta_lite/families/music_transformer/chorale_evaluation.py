"""The likelihood of a gap of a chorale given both sides, for a model that writes in order.

With B before, M in the gap and A after it, p(M | B, A) = p(M | B) p(A | B, M) / p(A | B). The
divisor is the mean of p(A | B, M') over what the model writes in the gap. The mean over samples and
M itself, as if it were one of them, is above it in expectation if M follows the model (Grosse et
al. 2015, https://arxiv.org/abs/1511.02543), so that the NLL of M is not understated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from magenta_lite.converters.chorale import VOICES
from magenta_lite.families.music_transformer.losses import token_nll
from magenta_lite.graphs import graph_function
from magenta_lite.modeling import decoding, gap_evaluation
from magenta_lite.modeling.examples import spread
from magenta_lite.modeling.sampling import Sampler, output_seeds, step_uniforms

if TYPE_CHECKING:
    from magenta_lite.families.music_transformer.model import MusicTransformer

GAPS, SAMPLES = 16, 31  # samples of each gap; together with the music itself 32


def of_gaps(model: MusicTransformer, examples: Any, seed: int) -> dict[str, float]:
    """Returns the metrics of `gap_evaluation` for gaps in rows that are as long as in training.

    At most `GAPS` gaps are measured, each a quarter of a row in its middle.
    """
    context = model.training_length // (4 * VOICES) * 4 * VOICES
    rows = list(gap_evaluation.long_rows(examples, context)) if context else []
    rows = [rows[i][:context] for i in spread(len(rows), GAPS)]
    if not rows:
        return {}
    span = round(context * gap_evaluation.SPAN)
    start = (context - span) // 2 // VOICES * VOICES
    end = start + span

    @graph_function
    def nll(ids):  # of the gap, and of what comes after it
        each, _ = token_nll(ids, model({"events": ids}))
        return tf.reduce_sum(each[:, start:end], axis=1), tf.reduce_sum(each[:, end:], axis=1)

    infilled = continued = 0.0
    for number, row in enumerate(rows):
        others = np.tile(row, (SAMPLES, 1))
        others[:, start:end] = _written(model, row[:start], end, seed + number)
        of_gap, of_rest = (x.numpy() for x in nll(tf.constant(np.vstack([row, others]))))
        mean = tf.reduce_logsumexp(-of_rest) - np.log(len(of_rest))
        continued += float(of_gap[0])
        infilled += float(of_gap[0] + of_rest[0] + mean)
    tokens = span * len(rows)
    return {"nll_infilled": infilled / tokens, "nll_continued": continued / tokens}


def _written(model: MusicTransformer, before: np.ndarray, end: int, seed: int) -> np.ndarray:
    """Returns what the model writes after tokens (T,), up to `end`: int32 (SAMPLES, end - T)."""
    state, conditioning = decoding.begin(model, before, SAMPLES, end)
    state = decoding.with_slots(state, decoding.slots_for(model, end - 1))
    uniforms = step_uniforms(output_seeds(seed, SAMPLES), decoding.buffer_length(end))
    weights, sampler = model.step_weights(), Sampler().tensors()
    state = decoding.decode(model, weights, state, conditioning, uniforms, sampler, end)
    return state.tokens.numpy()[:, len(before) : end]

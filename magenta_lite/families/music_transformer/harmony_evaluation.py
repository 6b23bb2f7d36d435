"""The likelihood of three voices of a chorale given the soprano, for a model that writes in order.

p(others | soprano) = p(all voices) / p(soprano). The divisor is estimated by conditional sequential
Monte Carlo (Andrieu et al. 2010, https://doi.org/10.1111/j.1467-9868.2009.00736.x): particles have
the given soprano and other voices of the model's, one of them those of the chorale itself. If these
follow the model, the reciprocal of the estimate is unbiased, so that the logarithm of p(soprano) is
not understated in expectation, nor the NLL of the other voices (Grosse et al. 2015,
https://arxiv.org/abs/1511.02543).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from magenta_lite.converters.chorale import VOICES
from magenta_lite.families.music_transformer.losses import token_nll
from magenta_lite.graphs import graph_function
from magenta_lite.modeling import decoding, particles
from magenta_lite.modeling.examples import spread
from magenta_lite.modeling.sampling import Sampler, output_seeds, step_uniforms

if TYPE_CHECKING:
    from magenta_lite.families.music_transformer.model import MusicTransformer

CHORALES, PARTICLES = 8, 16
LONGEST = 512  # tokens
EVERY = 4  # steps between two decisions about resampling, a quarter note
MEANINGS = {
    "nll_harmonized": "nats per token of alto, tenor and bass, given the whole soprano",
    "nll_unharmonized": "of the same tokens, given what comes before",
}


def of_lower_voices(model: MusicTransformer, examples: Any, seed: int) -> dict[str, float]:
    """Returns the metrics that `MEANINGS` explains, of the first tokens of some rows."""
    length = min(model.training_length, LONGEST) // VOICES * VOICES
    chosen = spread(len(examples), CHORALES)
    rows = [examples.events[i][: min(examples.lengths[i], length)] for i in chosen]
    rows = [row[: len(row) // VOICES * VOICES] for row in rows]

    @graph_function(reduce_retracing=True)
    def nll(ids):
        return token_nll(ids, model({"events": ids}))[0][0]

    harmonized = unharmonized = 0.0
    for number, row in enumerate(rows):
        padded = np.pad(row, (0, length - len(row)))
        each = nll(tf.constant(padded[None], tf.int32)).numpy()[: len(row)].astype(float)
        soprano = each[::VOICES]
        harmonized += each.sum() + log_evidence(model, row, soprano, seed + number)
        unharmonized += each.sum() - soprano.sum()
    tokens = sum(len(row) - len(row) // VOICES for row in rows)
    if not tokens:
        return {}
    return {"nll_harmonized": harmonized / tokens, "nll_unharmonized": unharmonized / tokens}


def log_evidence(model: MusicTransformer, row: np.ndarray, soprano: np.ndarray, seed: int) -> float:
    """Returns an estimate of the logarithm of the probability of a chorale's soprano.

    Args:
        model: The model, of which the chorale is within the context.
        row: Int (T,), the tokens of the chorale.
        soprano: Float (T / 4,), NLL of its tokens given all those before them.
        seed: Seed of the particles.
    """
    total, rng = len(row), np.random.default_rng(seed)
    state, conditioning = decoding.begin(model, np.zeros(0, np.int32), PARTICLES, total)
    state = decoding.with_slots(state, decoding.slots_for(model, total - 1))
    buffer = state.tokens.shape[1]
    itself = tf.constant(np.pad(row, (0, buffer - total))[None], tf.int32)
    state = state._replace(tokens=tf.concat([itself, state.tokens[1:]], axis=0))
    forced = np.full(buffer, -1, np.int32)
    forced[:total:VOICES] = row[::VOICES]
    kept = tf.constant([total] + [0] * (PARTICLES - 1), tf.int32)
    uniforms = step_uniforms(output_seeds(seed, PARTICLES), buffer)
    weights, sampler = model.step_weights(), Sampler().tensors()
    scores, found = np.zeros(PARTICLES), 0.0
    for start in range(0, len(soprano), EVERY):
        end = min(start + EVERY, len(soprano))
        state = decoding.decode(
            model,
            weights,
            state,
            conditioning,
            uniforms,
            sampler,
            end * VOICES,
            tf.constant(forced),
            kept,
        )
        scores += state.score.numpy()
        scores[0] -= soprano[start:end].sum()  # tokens that are kept have no score
        state = state._replace(score=tf.zeros_like(state.score))
        share = particles.effective_share(scores[None])[0]
        if end == len(soprano) or share < particles.RESAMPLED_BELOW:
            found += float(tf.reduce_logsumexp(scores)) - np.log(PARTICLES)
            chosen = rng.choice(PARTICLES, PARTICLES, p=particles.shares(scores))
            chosen[0] = 0
            state = particles.taken(state, chosen)
            scores[:] = 0.0
    return found

"""Completion of pieces of which some tokens are given, by sequential Monte Carlo.

A model that writes from left to right does not know the given tokens that are still to come.
Particles are pieces in which given tokens are put in and the others drawn. Each is weighted by the
probability of the given tokens, and now and then particles are resampled by their weights, so that
those survive to which the given tokens fit (Gordon et al. 1993,
https://doi.org/10.1049/ip-f-2.1993.0015). With many particles, the pieces follow the model's
distribution given all given tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from magenta_lite.modeling import decoding
from magenta_lite.modeling.chunked_decoding import Progress, decode_until
from magenta_lite.modeling.decoder_interface import CachedDecoder
from magenta_lite.modeling.decoding import DecodeState
from magenta_lite.modeling.limits import check_memory
from magenta_lite.modeling.sampling import Sampler, output_seeds, step_uniforms

RESAMPLED_BELOW = 0.5  # effective number of particles, as a share


def complete(
    model: CachedDecoder, given: np.ndarray, options: Any, particles: int, every: int
) -> np.ndarray:
    """Returns pieces int32 (N, T) that contain the given tokens.

    Args:
        model: Model of the tokens.
        given: Int (T,), negative where the model chooses. It reads those before the first free one
            in one pass, so they have to fit into its context.
        options: `num_outputs`, N, the seed, and the settings of a `Sampler`, by which particles are
            drawn; weights are probabilities at temperature 1.
        particles: Number of particles of each piece.
        every: Number of tokens between two decisions about resampling.

    Raises:
        UserError: If the caches need more memory than the machine has.
    """
    outputs, total = options.num_outputs, len(given)
    rows = outputs * particles
    check_memory(outputs, 8 * rows * model.slot_size * decoding.slots_for(model, total - 1))
    is_free = np.flatnonzero(given < 0)
    told = int(is_free[0]) // every * every if len(is_free) else 0
    state, conditioning = decoding.begin(model, given[:told].astype(np.int32), rows, total)
    length = decoding.buffer_length(total)
    uniforms = step_uniforms(output_seeds(options.seed, rows), length)
    forced = tf.constant(np.pad(given, (0, length - total), constant_values=-1), tf.int32)
    rng = np.random.default_rng(options.seed)
    progress, sampler = Progress(rows, told, total), Sampler.of(options)
    weights = np.zeros((outputs, particles))
    for stop in range(told + every, total + every, every):
        stop = min(stop, total)
        state = decode_until(model, state, conditioning, uniforms, sampler, stop, progress, forced)
        weights += state.score.numpy().reshape(outputs, particles)
        state = state._replace(score=tf.zeros_like(state.score))
        if stop < total and effective_share(weights).min() < RESAMPLED_BELOW:
            chosen = np.stack([_resampled(row, particles, rng) for row in weights])
            state = taken(state, (chosen + particles * np.arange(outputs)[:, None]).ravel())
            weights[:] = 0.0
    last = [int(_resampled(row, 1, rng)[0]) for row in weights]
    pieces = state.tokens.numpy().reshape(outputs, particles, -1)
    return pieces[np.arange(outputs), last, :total]


def shares(weights):
    """Returns probabilities (..., P) in proportion to the exponentials of weights (..., P)."""
    shares = np.exp(weights - weights.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)


def effective_share(weights):
    """Returns the effective number of particles (N,) as a share of all (Liu 2001, sec. 2.5.3)."""
    return 1 / np.square(shares(weights)).sum(axis=-1) / weights.shape[-1]


def _resampled(weights, count: int, rng) -> np.ndarray:
    """Returns the indices of `count` particles, drawn by systematic resampling."""
    points = (np.arange(count) + rng.uniform()) / count
    return np.minimum(np.searchsorted(np.cumsum(shares(weights)), points), len(weights) - 1)


def taken(state: DecodeState, rows: np.ndarray) -> DecodeState:
    """Returns the state of the given rows."""
    count = len(rows)

    def cache(x):  # (N * H, K, D)
        by_row = tf.reshape(x, [count, -1, *x.shape[1:]])
        return tf.reshape(tf.gather(by_row, rows), x.shape)

    return state._replace(
        tokens=tf.gather(state.tokens, rows),
        keys=tuple(map(cache, state.keys)),
        values=tuple(map(cache, state.values)),
        grammar_state=tf.nest.map_structure(lambda x: tf.gather(x, rows), state.grammar_state),
        done=tf.gather(state.done, rows),
    )

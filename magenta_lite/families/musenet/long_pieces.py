"""Generation of pieces longer than the context of a MuseNet, whose positions are learned.

When the context is full, the model reads its prefix and its last half again and forgets the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from magenta_lite.converters.musenet.converter import PREFIX
from magenta_lite.families.musenet.grammar import Constraints
from magenta_lite.graphs import inner_graph
from magenta_lite.modeling import decoding
from magenta_lite.modeling.chunked_decoding import Progress, decode_until
from magenta_lite.modeling.decoding import DecodeState
from magenta_lite.modeling.sampling import Sampler


def generate_tokens(
    model: Any,
    primer: list[int],
    options: Any,
    total: int,
    constraints: Constraints,
    describe: Callable[[DecodeState], str] | None = None,
) -> np.ndarray:
    """Returns a primer, which begins with the prefix, and its continuations.

    They are int32 (N, T), T at most `total` tokens. `describe` is that of `Progress`.
    """
    ids, outputs, span = np.array(primer, np.int32), options.num_outputs, model.attention_span
    state, constraints = decoding.begin(model, ids, outputs, min(total, span), constraints)
    uniforms = decoding.token_uniforms(options.seed, outputs, decoding.buffer_length(total))
    sampler, progress = Sampler.of(options), Progress(outputs, len(primer), total, describe)
    removed = []
    while True:
        stop = min(total - progress.removed, span)
        state = decode_until(model, state, constraints, uniforms, sampler, stop, progress)
        position = int(state.position)
        if position + progress.removed >= total or bool(np.all(state.done)):
            break
        removed.append(state.tokens[:, PREFIX : span - span // 2].numpy())
        state = _truncated(model, state, constraints, span // 2)
        count = removed[-1].shape[1]
        # Positions now count from the start of the truncated context.
        uniforms = tf.roll(uniforms, -count, axis=0)
        progress.removed += count
    tokens = state.tokens.numpy()[:, :position]
    return np.concatenate([tokens[:, :PREFIX], *removed, tokens[:, PREFIX:]], axis=1)


def _truncated(model, state: DecodeState, constraints: Constraints, keep: int) -> DecodeState:
    """Returns the state after re-reading the prefix and the last `keep` tokens of the context."""
    position = int(state.position)
    window = tf.concat(
        [state.tokens[:, :PREFIX], state.tokens[:, position - keep : position]], axis=1
    )
    # Transposed outside of TensorFlow: oneDNN logs an error when it transposes integers.
    of_window = decoding.state_after(model.grammar, tf.constant(window.numpy().T))
    pairs = _keys_values(model, window, constraints, state.grammar_state)
    slots, room = state.keys[0].shape[1], state.tokens.shape[1]

    def in_slots(x):  # (N, H, L, D) as (N * H, K, D)
        flat = tf.reshape(tf.cast(x, tf.float32), [-1, PREFIX + keep, x.shape[3]])
        return tf.pad(flat, [[0, 0], [0, slots - PREFIX - keep], [0, 0]])

    return state._replace(
        position=tf.constant(PREFIX + keep),
        tokens=tf.pad(window, [[0, 0], [0, room - PREFIX - keep]]),
        keys=tuple(in_slots(k) for k, _ in pairs),
        values=tuple(in_slots(v) for _, v in pairs),
        grammar_state=model.grammar.truncated(state.grammar_state, of_window),
    )


@inner_graph
def _keys_values(model, window, constraints, grammar_state):
    return tuple(model.prefill(window, constraints, grammar_state))

"""Decoding of pieces that share nothing: each row has its own primer, length, seed and settings.

Shape letters: N rows, P tokens of the longest primer, T tokens, K slots, H heads.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from magenta_lite.modeling.decoder_interface import CachedDecoder
from magenta_lite.modeling.decoding import DecodeState, buffer_length, finished
from magenta_lite.modeling.sampling import Sampler, at_most, row_seeds, row_specs, step_uniforms
from magenta_lite.typing import Tensor


def specs() -> list[tf.TensorSpec]:
    """Returns the specs of the arguments of served functions that call `sample_rows`."""
    return [tf.TensorSpec([None], tf.int32, "num_tokens"), *row_specs()]


def primer_specs() -> list[tf.TensorSpec]:
    """Returns the specs of the primers of rows and of their lengths in tokens."""
    return [
        tf.TensorSpec([None, None], tf.int32, "primer"),
        tf.TensorSpec([None], tf.int32, "primer_length"),
    ]


def sample_rows(
    model: CachedDecoder,
    primer: Tensor,
    primer_length: Tensor,
    num_tokens: Tensor,
    seed: Tensor,
    sampler: Sampler,
    inputs: Any,
) -> tuple[Tensor, Tensor]:
    """Continues the primer of each row in one graph.

    A row is what `decoding.sample` gives for its primer and its seed. Primers are read token by
    token, as they differ in length.

    Args:
        model: The model.
        primer: Int32 (N, P), padded.
        primer_length: Int32 (N,), 0 to P; a larger one is P.
        num_tokens: Int32 (N,), lengths of the pieces, primers included.
        seed: Int32 (N,).
        sampler: Settings (N,).
        inputs: Those of `model.condition`, with an axis of N rows.

    Returns:
        Events int32 (N, T), zeros after the end of a piece, and their number, int32 (N,).
    """
    rows, longest = tf.shape(primer)[0], model.max_length
    num_tokens = tf.minimum(at_most(num_tokens, "num_tokens"), longest)
    given = tf.minimum(tf.minimum(primer_length, tf.shape(primer)[1]), num_tokens)
    total = tf.reduce_max(num_tokens)
    buffer = buffer_length(longest)
    tokens = tf.pad(primer, [[0, 0], [0, buffer]])[:, :buffer]
    keys, values = _empty_caches(model, rows)
    state = DecodeState(
        position=tf.constant(0),
        left_out=tf.constant(0),
        tokens=tf.ensure_shape(tokens, [None, buffer]),
        keys=keys,
        values=values,
        grammar_state=model.grammar.initial_state(rows),
        done=tf.zeros([rows], tf.bool),
        score=tf.zeros([rows]),
    )
    _, conditioning = model.condition(inputs, rows)
    uniforms = step_uniforms(row_seeds(seed), longest)
    events, _ = finished(model, state, conditioning, uniforms, sampler.tensors(), total, given)
    return until_end(events, num_tokens, model.grammar.end_id)


def _empty_caches(model: CachedDecoder, rows: Any) -> tuple[tuple, tuple]:
    """Returns caches of all slots for N = `rows` rows: float32 (N * H, K, .) of each layer."""

    def empty(heads, depth):
        return tf.zeros([rows * heads, model.attention_span, depth])

    sizes = [(x.sizes.num_heads, x.key_depth, x.value_depth) for x in model.decoder]
    keys = tuple(empty(heads, depth) for heads, depth, _ in sizes)
    return keys, tuple(empty(heads, depth) for heads, _, depth in sizes)


def until_end(events: Tensor, most: Tensor, end_id: int | None) -> tuple[Tensor, Tensor]:
    """Returns events int32 (N, T) with zeros after the end of each row, and their number (N,).

    A row ends after `end_id`, if there is one, and after `most` events, int32 (N,).
    """
    place = tf.range(tf.shape(events)[1])
    length = tf.minimum(most, tf.shape(events)[1])
    if end_id is not None:
        first = tf.reduce_min(tf.where(events == end_id, place + 1, tf.shape(events)[1]), axis=1)
        length = tf.minimum(length, first)
    return tf.where(place < length[:, None], events, 0), length

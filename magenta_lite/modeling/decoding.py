"""Autoregressive decoding with a key-value cache in a compiled loop.

The cache is a ring buffer of K slots: position p is in slot p % K. Its size doubles as the piece
grows, up to the attention span; from then on the oldest positions are overwritten. A model that
slides does not reach positions beyond its context, which it would have to extrapolate: it reads the
prefix and the last half of a full context again, from position 0.

Shape letters: N outputs, T tokens, V vocabulary, K slots, H heads, D key depth, E value depth.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import tensorflow as tf

from magenta_lite.graphs import inner_graph, replaced_at
from magenta_lite.modeling.decoder_interface import CachedDecoder, Grammar
from magenta_lite.modeling.sampling import Sampler, output_seeds, step_uniforms
from magenta_lite.typing import Tensor

FIRST_SLOTS = 512  # initial size of a cache: each doubling is compiled
TOKENS_ROUNDED_TO = 512  # multiple of the lengths of buffers, so that few shapes are compiled


def specs() -> tuple[tf.TensorSpec, ...]:
    """Returns the specs of the scalar arguments of served functions that call `sample`."""
    types = {"num_outputs": tf.int32, "num_tokens": tf.int32, "temperature": tf.float32}
    types |= {"top_k": tf.int32, "top_p": tf.float32, "min_p": tf.float32, "seed": tf.int32}
    return tuple(tf.TensorSpec([], dtype, name) for name, dtype in types.items())


def arguments(num_outputs: int, num_tokens: int, temperature: float, seed: int) -> dict[str, Any]:
    """Returns arguments for `specs`, without top-k, top-p and min-p filters."""
    values = (num_outputs, num_tokens, *Sampler(temperature), seed)
    return {
        spec.name: tf.constant(value, spec.dtype)
        for spec, value in zip(specs(), values, strict=True)
    }


class DecodeState(NamedTuple):
    """Pieces that are being decoded.

    Attributes:
        position: Int32 scalar t, position of the next token.
        left_out: Int32 scalar, number of tokens after the prefix that the context leaves out.
        tokens: Int32 (N, T), zeros from t on.
        keys: Caches float32 (N * H, K, D) of each layer.
        values: Caches float32 (N * H, K, E) of each layer.
        grammar_state: State of the model's grammar after the tokens before t.
        done: Bool (N,), which pieces have ended.
        score: Float32 (N,), log probability of the drawn tokens in nats; with forced tokens, that
            of these.
    """

    position: Any
    left_out: Any
    tokens: Any
    keys: tuple
    values: tuple
    grammar_state: Any
    done: Any
    score: Any


def sample(
    model: CachedDecoder,
    primer: Tensor,
    num_outputs: Any,
    num_tokens: Any,
    seed: Any,
    sampler: Sampler,
    inputs: Any = None,
) -> tuple[Tensor, Tensor]:
    """Continues a primer, or generates new pieces, in one graph.

    The primer, int32 (P,), has 0 to `context_length` tokens. `num_tokens`, the length of a piece,
    includes it and is at most `max_length`. An output does not depend on the number N of outputs.
    `inputs` are those of `model.condition`.

    Returns:
        Int32 (N, num_tokens), zeros after the end of a piece, and float32 (N,), the log
        probability of the drawn tokens in nats.
    """
    longest, most = model.max_length, model.context_length
    tf.debugging.assert_less_equal(
        tf.size(primer), most, f"The primer has more tokens than the {most} that the model can read"
    )
    num_tokens = tf.minimum(num_tokens, longest)
    sampler = sampler.tensors()
    uniforms = step_uniforms(output_seeds(seed, num_outputs), longest)
    span = model.attention_span
    whole, conditioning = begin(model, primer, num_outputs, longest, inputs, slots=span)
    return finished(model, whole, conditioning, uniforms, sampler, num_tokens)


def finished(
    model: CachedDecoder,
    whole: DecodeState,
    conditioning: Any,
    uniforms: Tensor,
    sampler: Sampler,
    num_tokens: Any,
    given: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Decodes pieces to their end in one graph, stage by stage with larger caches.

    `whole` and `conditioning` are results of `begin` with a full cache; the others are arguments of
    `decode`.

    Returns:
        Those of `sample`.
    """
    longest, most, span = model.max_length, model.context_length, model.attention_span
    weights = model.step_weights()
    first = tf.minimum(num_tokens, most) if model.slides else num_tokens
    for slots in cache_sizes(model):
        stop = first if slots == span else tf.minimum(first, slots)

        def stage(whole=whole, slots=slots, stop=stop):
            part = whole._replace(
                keys=tuple(x[:, :slots] for x in whole.keys),
                values=tuple(x[:, :slots] for x in whole.values),
            )
            part = decode(model, weights, part, conditioning, uniforms, sampler, stop, given=given)
            return part._replace(
                keys=_put_back(whole.keys, part.keys),
                values=_put_back(whole.values, part.values),
            )

        # Stages that are not needed are not compiled.
        whole = tf.cond(whole.position < stop, stage, lambda whole=whole: whole)

    def goes_on(state):
        return (state.position < num_tokens) & ~tf.reduce_all(state.done)

    def slide(state):
        state = slid(model, state, conditioning)
        stop = tf.minimum(num_tokens, state.left_out + most)
        return (decode(model, weights, state, conditioning, uniforms, sampler, stop, given=given),)

    if model.slides and longest > most:
        (whole,) = tf.while_loop(goes_on, slide, (whole,))
    return whole.tokens[:, :num_tokens], whole.score


def _put_back(whole, parts):
    return tuple(
        tf.concat([part, x[:, part.shape[1] :]], axis=1)
        for x, part in zip(whole, parts, strict=True)
    )


def begin(
    model: CachedDecoder,
    primer: Tensor,
    num_outputs: Any,
    length: int,
    inputs: Any = None,
    slots: int | None = None,
) -> tuple[DecodeState, Any]:
    """Prefills the caches with a primer int32 (P,) in one pass.

    Args:
        length: Maximum length of a piece in tokens, primer included.
        inputs: Inputs of `model.condition`.
        slots: Size of the caches; None for as many as the primer, of static length, needs.

    Returns:
        The `DecodeState` after the primer, repeated N times, and the conditioning of every step.
    """
    primer = tf.convert_to_tensor(primer, tf.int32)
    known, count = primer.shape[0], tf.shape(primer)[0]
    rows = tf.convert_to_tensor(num_outputs, tf.int32)

    def for_all(x):  # (1, H, K, D) as (N * H, K, D); 2 N with classifier-free guidance
        return tf.reshape(repeated(x), [-1, *x.shape[2:]])

    def repeated(x):
        return tf.repeat(x, rows, axis=0)

    of_primer, conditioning = model.condition(inputs, rows)
    slots = slots_for(model, known) if slots is None else slots
    longest = max(model.context_length, known or 0)
    lengths = [min(FIRST_SLOTS, longest)]
    while lengths[-1] < (longest if known is None else known):
        lengths.append(min(2 * lengths[-1], longest))
    lengths = lengths if known is None else lengths[-1:]

    def padded_to(n):
        padded = tf.pad(primer[:n], [[0, n - tf.minimum(count, n)]])
        return tf.ensure_shape(padded, [n])

    branches = [
        lambda n=n: _prefilled(model, padded_to(n), count, slots, of_primer) for n in lengths
    ]
    chosen = tf.reduce_sum(tf.cast(count > tf.constant(lengths[:-1], tf.int32), tf.int32))
    caches = branches[0]() if len(branches) == 1 else tf.switch_case(chosen, branches)
    state = state_after(model.grammar, primer[None])
    buffer = buffer_length(length)
    tokens = tf.ensure_shape(tf.pad(primer, [[0, buffer - count]]), [buffer])
    decode_state = DecodeState(
        position=count,
        left_out=tf.constant(0),
        tokens=repeated(tokens[None]),
        keys=tuple(for_all(k) for k, _ in caches),
        values=tuple(for_all(v) for _, v in caches),
        grammar_state=tf.nest.map_structure(repeated, state),
        done=tf.zeros([rows], tf.bool),
        score=tf.zeros([rows]),
    )
    return decode_state, conditioning


def buffer_length(tokens: int) -> int:
    """Returns the length of a buffer for `tokens` tokens."""
    return -(-tokens // TOKENS_ROUNDED_TO) * TOKENS_ROUNDED_TO


def cache_sizes(model: CachedDecoder) -> list[int]:
    """Returns the sizes of the cache as it grows, in slots."""
    span = model.attention_span
    sizes = [min(FIRST_SLOTS, span) if model.cache_grows else span]
    while sizes[-1] < span:
        sizes.append(min(2 * sizes[-1], span))
    return sizes


def slots_for(model: CachedDecoder, position: int) -> int:
    """Returns the size of the cache for the token at `position`, in slots."""
    return next((size for size in cache_sizes(model) if size > position), model.attention_span)


def with_slots(state: DecodeState, slots: int) -> DecodeState:
    """Returns the state with caches of `slots` slots, at least as many as before."""
    padding = [[0, 0], [0, slots - state.keys[0].shape[1]], [0, 0]]
    return state._replace(
        keys=tuple(tf.pad(x, padding) for x in state.keys),
        values=tuple(tf.pad(x, padding) for x in state.values),
    )


def slid(model: CachedDecoder, state: DecodeState, conditioning: Any) -> DecodeState:
    """Returns the state with a context of the prefix and the last half of the full one.

    `conditioning` is a result of `begin`.
    """
    prefix, t = model.prefix_length(conditioning), state.position
    keep = min(model.context_length // 2, model.context_length - prefix - 1)
    window = tf.concat([state.tokens[:, :prefix], state.tokens[:, t - keep : t]], axis=1)
    window = tf.ensure_shape(window, [None, prefix + keep])
    caches = _reread(model, window, conditioning, state.grammar_state, state.keys[0].shape[1])

    def like(x, cache):  # (N, H, K, D) as (N * H, K, D)
        return tf.ensure_shape(tf.reshape(x, [-1, *x.shape[2:]]), cache.shape)

    return state._replace(
        left_out=t - (prefix + keep),
        keys=tuple(like(k, cache) for (k, _), cache in zip(caches, state.keys, strict=True)),
        values=tuple(like(v, cache) for (_, v), cache in zip(caches, state.values, strict=True)),
        grammar_state=model.grammar.truncated(state.grammar_state, window),
    )


@inner_graph
def _reread(model, window, conditioning, grammar_state, slots: int):
    pairs = model.reread(window, conditioning, grammar_state)
    return _in_slots(pairs, tf.shape(window)[1], slots)


@inner_graph
def _prefilled(model, ids, count, slots: int, of_primer):
    """Returns pairs of keys and values (1, H, K, .) of the first `count` tokens of `ids` (L,)."""
    return _in_slots(model.prefill(ids[None], *of_primer), count, slots)


def _in_slots(pairs, count, slots: int):
    """Returns pairs of keys and values (N, H, K, .) of the first `count` of (N, H, L, .)."""
    last = count - 1
    position = last - (last - tf.range(slots)) % slots  # of each slot; negative if it is empty
    position = tf.clip_by_value(position, 0, tf.shape(pairs[0][0])[2] - 1)
    return tuple(
        tuple(tf.cast(tf.gather(x, position, axis=2), tf.float32) for x in pair) for pair in pairs
    )


def decode(
    model: CachedDecoder,
    weights: tuple,
    state: DecodeState,
    conditioning: Any,
    uniforms: Tensor,
    sampler: Sampler,
    stop: Any,
    forced: Tensor | None = None,
    given: Tensor | None = None,
) -> DecodeState:
    """Draws tokens until position `stop`, or until all pieces have ended.

    Args:
        weights: Result of `model.step_weights`.
        conditioning: Conditioning of every step, a result of `begin`.
        uniforms: Float32 (T, N) in [0, 1).
        sampler: The settings are tensors.
        stop: Int32 scalar; within the context and, unless that is as large as the attention span,
            the cache.
        forced: Int32 (T,), tokens of all pieces, negative where they are drawn; None to draw all.
        given: Int32 (N,), for each piece how many of the first tokens of the state are kept; None
            to draw all.
    """
    run = _compiled(state.keys[0].shape[1])
    stop = tf.convert_to_tensor(stop)  # a Python number would be compiled again
    return run(model, weights, state, conditioning, uniforms, sampler, stop, forced, given)


def _decode(model, weights, state, conditioning, uniforms, sampler, stop, forced, given):
    grammar = model.grammar

    def goes_on(state):
        return (state.position < stop) & ~tf.reduce_all(state.done)

    def step(state):
        t, before = state.position, state.grammar_state
        last = tf.where(t > 0, tf.gather(state.tokens, tf.maximum(t - 1, 0), axis=1), 0)
        logits, keys, values = model.step(
            weights, last, t - state.left_out, state.keys, state.values, conditioning, before
        )
        allowed, ending = grammar.allowed(before, conditioning), grammar.ending(before)
        if forced is not None and grammar.end_id is not None:  # more forced tokens may follow
            allowed &= tf.range(logits.shape[1]) != grammar.end_id
        logits = tf.where(allowed, logits, logits.dtype.min)
        always = None if ending is None else ending & allowed
        drawn, log_p = sampler.draw(logits, uniforms[t], always)
        if forced is not None:
            is_forced, id = forced[t] >= 0, tf.maximum(forced[t], 0)
            log_p = tf.where(is_forced, tf.nn.log_softmax(logits)[:, id], 0.0)
            drawn = tf.where(is_forced, id, drawn)
        if given is not None:
            is_given = t < given
            log_p = tf.where(is_given, 0.0, log_p)
            drawn = tf.where(is_given, tf.gather(state.tokens, t, axis=1), drawn)
        drawn = tf.where(state.done, 0, drawn)
        ends = tf.zeros_like(state.done) if grammar.end_id is None else drawn == grammar.end_id
        return (
            DecodeState(
                position=t + 1,
                left_out=state.left_out,
                tokens=replaced_at(state.tokens, t, drawn),
                keys=keys,
                values=values,
                grammar_state=grammar.next_state(before, drawn, conditioning),
                done=state.done | ends,
                score=state.score + tf.where(state.done, 0.0, log_p),
            ),
        )

    (state,) = tf.while_loop(goes_on, step, (state,))
    return state


@functools.cache
def _compiled(slots: int):
    """Returns `_decode` for caches of `slots` slots; a shared one would retrace with a warning."""
    del slots
    return inner_graph(_decode, jit_compile=True)


@inner_graph(reduce_retracing=True)
def state_after(grammar: Grammar, ids: Tensor) -> Any:
    """Returns the state of a grammar after tokens int32 (N, T), without conditioning."""
    rows, steps = tf.unstack(tf.shape(ids))
    start = (0, grammar.initial_state(rows))

    def step(t, state):
        return t + 1, grammar.next_state(state, ids[:, t])

    return tf.while_loop(lambda t, _: t < steps, step, start)[1]

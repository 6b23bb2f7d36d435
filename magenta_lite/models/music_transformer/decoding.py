"""Writing tokens one by one: keys and values of all before are kept, the loop is compiled.

The cache of attention is a ring of K slots: position p lies in slot p % K. It grows with the piece,
doubling, up to the reach of the attention; from then on the oldest positions are written over.
Shape letters: N outputs, T tokens, K slots, H heads, D key depth, V value depth.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from magenta_lite.encoders.token_rules import TokenRules
from magenta_lite.graphs import graph_function
from magenta_lite.sampling import filtered_logits, greedy, sample_categorical

FIRST_SLOTS = 128
TOKENS_ROUNDED_TO = 512  # lengths of buffers, so that few shapes are compiled


class Settings(NamedTuple):
    """How tokens are drawn; scalars as of `filtered_logits`.

    Attributes:
        temperature: Float; 0 takes the most probable token.
        top_k: Int.
        top_p: Float.
        min_p: Float.
    """

    temperature: Any = 1.0
    top_k: Any = 0
    top_p: Any = 1.0
    min_p: Any = 0.0

    def tensors(self) -> Settings:
        """Returns them as tensors, so that other values do not compile anew."""
        types = (tf.float32, tf.int32, tf.float32, tf.float32)
        pairs = zip(self, types, strict=True)
        return Settings(*(tf.convert_to_tensor(value, dtype) for value, dtype in pairs))


class Writing(NamedTuple):
    """A piece that is being written.

    Attributes:
        position: Int32 scalar t, number of the next token.
        tokens: Int32 (N, T), zeros from t on.
        keys: Float32 (N * H, K, D) of each layer.
        values: (N * H, K, V) of each layer.
        sounding: Bool (N, P), which pitches sound.
        silent: Int32 (N,), steps since any did.
        done: Bool (N,), which pieces have ended.
        score: Float32 (N,), log probability, in nats, of what was drawn.
    """

    position: Any
    tokens: Any
    keys: tuple
    values: tuple
    sounding: Any
    silent: Any
    done: Any
    score: Any


def sample(model, primer, outputs, num_tokens, seed, settings: Settings, inputs=None):
    """Continues a primer, or accompanies a melody, all in one graph.

    Args:
        model: A `MusicTransformer`.
        primer: Int32 (P,), P from 0 to the model's `positions`.
        outputs: Int scalar N.
        num_tokens: Int scalar, of a piece, primer included; at most the model's `longest`.
        seed: Int scalar; an output does not depend on how many there are.
        settings: How to draw.
        inputs: Int32 (I,), the melody, of a model that has one; see `MusicTransformer.encode`.

    Returns:
        Int32 (N, num_tokens), zeros after the end of a piece, and float32 (N,), the log
        probability, in nats, of what was drawn.
    """
    longest, most = model.longest, model.sizes.positions
    tf.debugging.assert_less_equal(
        tf.size(primer), most, f"The primer has more tokens than the {most} that the model can read"
    )
    num_tokens = tf.minimum(num_tokens, longest)
    weights, settings = model.step_weights(), settings.tensors()
    uniforms = draws(seed, outputs, longest)
    whole, memory = begin(model, primer, outputs, longest, inputs, size=model.reach)
    for size in sizes(model):
        stop = num_tokens if size == model.reach else tf.minimum(num_tokens, size)

        def stage(whole=whole, size=size, stop=stop):
            part = whole._replace(
                keys=tuple(x[:, :size] for x in whole.keys),
                values=tuple(x[:, :size] for x in whole.values),
            )
            part = write(model, weights, part, memory, uniforms, settings, stop)
            return part._replace(
                keys=_put_back(whole.keys, part.keys),
                values=_put_back(whole.values, part.values),
            )

        # What is not needed is not compiled.
        whole = tf.cond(whole.position < stop, stage, lambda whole=whole: whole)
    return whole.tokens[:, :num_tokens], whole.score


def _put_back(whole, parts):
    return tuple(
        tf.concat([part, x[:, part.shape[1] :]], axis=1)
        for x, part in zip(whole, parts, strict=True)
    )


def begin(model, primer, outputs, length: int, inputs=None, size: int | None = None):
    """Reads a primer in one pass.

    Args:
        model: A `MusicTransformer`.
        primer: Int32 (P,), P from 0 to `length`.
        outputs: Int scalar N.
        length: Tokens of a piece at most, primer included.
        inputs: Int32 (I,), the melody, of a model that has one.
        size: Slots of the caches; None for as many as the primer needs, whose length must be
            known then.

    Returns:
        The `Writing` to go on from, with the primer repeated N times; and keys, values and bias of
        the melody, empty without.
    """
    primer = tf.convert_to_tensor(primer, tf.int32)
    known, count = primer.shape[0], tf.shape(primer)[0]
    rows = tf.convert_to_tensor(outputs, tf.int32)

    def for_all(x):  # (1, H, K, D) as (N * H, K, D)
        return tf.tile(x[0], [rows, 1, 1])

    memory, bias, of_memory = None, None, ()
    if model.rules.inputs:
        memory, bias = model.encode(tf.convert_to_tensor(inputs, tf.int32)[None])
        pairs = [layer.keys_values(memory, "memory_attention") for layer in model.decoder]
        of_memory = (tuple((for_all(k), for_all(v)) for k, v in pairs), bias[0, 0, 0])
    size = slots_for(model, known) if size is None else size
    lengths = [FIRST_SLOTS]
    while lengths[-1] < (model.sizes.positions if known is None else known):
        lengths.append(2 * lengths[-1])
    lengths = lengths if known is None else lengths[-1:]

    def filled_up(n):
        padded = tf.pad(primer[:n], [[0, n - tf.minimum(count, n)]])
        return tf.ensure_shape(padded, [n])

    branches = [
        lambda n=n: _prefilled(model, filled_up(n), count, size, memory, bias) for n in lengths
    ]
    chosen = tf.reduce_sum(tf.cast(count > tf.constant(lengths[:-1], tf.int32), tf.int32))
    caches = branches[0]() if len(branches) == 1 else tf.switch_case(chosen, branches)
    sounding, silent = _rules_after(model.rules, primer)
    buffer = -(-length // TOKENS_ROUNDED_TO) * TOKENS_ROUNDED_TO
    tokens = tf.ensure_shape(tf.pad(primer, [[0, buffer - count]]), [buffer])

    def repeated(x):
        return tf.repeat(x[None], rows, axis=0)

    writing = Writing(
        position=count,
        tokens=repeated(tokens),
        keys=tuple(for_all(k) for k, _ in caches),
        values=tuple(for_all(v) for _, v in caches),
        sounding=repeated(sounding),
        silent=repeated(silent),
        done=tf.zeros([rows], tf.bool),
        score=tf.zeros([rows]),
    )
    return writing, of_memory


def sizes(model) -> list[int]:
    """Returns the slots that a cache has as it grows."""
    if model.sizes.attention == "relative_local":
        return [model.reach]
    found = [min(FIRST_SLOTS, model.reach)]
    while found[-1] < model.reach:
        found.append(min(2 * found[-1], model.reach))
    return found


def slots_for(model, position: int) -> int:
    """Returns the slots of a cache with room for the token at `position`."""
    return next((size for size in sizes(model) if size > position), model.reach)


def grown(writing: Writing, size: int) -> Writing:
    """Returns it with caches of `size` slots, at least as many as before."""
    padding = [[0, 0], [0, size - writing.keys[0].shape[1]], [0, 0]]
    return writing._replace(
        keys=tuple(tf.pad(x, padding) for x in writing.keys),
        values=tuple(tf.pad(x, padding) for x in writing.values),
    )


def draws(seed, outputs, length: int):
    """Returns numbers in [0, 1) float32 (length, N); column n depends on seed and n alone."""
    numbers = tf.range(outputs)
    seeds = tf.stack([tf.fill(tf.shape(numbers), seed), numbers], axis=1)
    drawn = tf.map_fn(
        lambda pair: tf.random.stateless_uniform([length], pair),
        seeds,
        fn_output_signature=tf.float32,
    )
    return tf.transpose(drawn)


@graph_function
def _prefilled(model, ids, count, size: int, memory, bias):
    """Returns pairs of keys and values (1, H, K, .) of the first `count` tokens of `ids` (L,)."""
    last = count - 1
    position = last - (last - tf.range(size)) % size  # of each slot; below 0 if there is none yet
    position = tf.clip_by_value(position, 0, tf.shape(ids)[0] - 1)
    return tuple(
        tuple(tf.cast(tf.gather(x, position, axis=2), tf.float32) for x in pair)
        for pair in model.prefill(ids[None], memory, bias)
    )


def write(model, weights, writing: Writing, memory, uniforms, settings: Settings, stop) -> Writing:
    """Writes tokens until position `stop`, or until all pieces have ended.

    Args:
        model: A `MusicTransformer`.
        weights: What `model.step_weights()` gives.
        writing: What to go on from.
        memory: Keys and values of the melody, as of `begin`.
        uniforms: Float32 (T, N) in [0, 1).
        settings: How to draw.
        stop: Int32 scalar; where the cache is full at the latest, unless it is a ring by then.
    """
    run = _compiled(writing.keys[0].shape[1])
    return run(model, weights, writing, memory, uniforms, settings, stop)


def _write(model, weights, writing, memory, uniforms, settings, stop):
    def goes_on(writing):
        return (writing.position < stop) & ~tf.reduce_all(writing.done)

    def one(writing):
        t, rules = writing.position, model.rules
        last = tf.where(t > 0, tf.gather(writing.tokens, tf.maximum(t - 1, 0), axis=1), 0)
        logits, keys, values = model.step(weights, last, t, writing.keys, writing.values, memory)
        may = _may_follow(rules, writing.sounding, writing.silent)
        logits = tf.where(may, logits, logits.dtype.min)
        scaled = filtered_logits(
            logits / tf.maximum(settings.temperature, 1e-6), *settings[1:3], settings.min_p
        )
        drawn = tf.where(
            settings.temperature > 0, sample_categorical(scaled, uniforms[t]), greedy(logits)
        )
        log_p = tf.gather(tf.nn.log_softmax(scaled), drawn, axis=1, batch_dims=1)
        drawn = tf.where(writing.done, 0, drawn)
        sounding, silent = _after(rules, drawn, writing.sounding, writing.silent)
        ends = tf.zeros_like(writing.done) if rules.end is None else drawn == rules.end
        return (
            Writing(
                position=t + 1,
                tokens=keras.ops.slice_update(writing.tokens, (0, t), drawn[:, None]),
                keys=keys,
                values=values,
                sounding=sounding,
                silent=silent,
                done=writing.done | ends,
                score=writing.score + tf.where(writing.done, 0.0, log_p),
            ),
        )

    (writing,) = tf.while_loop(goes_on, one, (writing,))
    return writing


@functools.cache
def _compiled(size: int):
    """Returns `_write` for caches of `size` slots; of one for all TensorFlow would warn."""
    del size
    return graph_function(_write, jit_compile=True)


# Rules -----------------------------------------------------------------------------------------


def _may_follow(rules: TokenRules, sounding, silent):
    """Returns which ids may be written next: bool (N, size); as `TokenRules.valid_next`."""
    ids = tf.range(rules.size)
    may = tf.reduce_all(ids[:, None] != tf.constant(rules.never or (-1,)), axis=1)[None]
    any_sounds = tf.reduce_any(sounding, axis=1, keepdims=True)

    def of_pitches(bounds, allowed):
        first, last = bounds
        spread = tf.pad(allowed, [[0, 0], [first, rules.size - last - 1]])
        return spread | (ids < first) | (ids > last)

    if rules.pitches:
        may &= of_pitches(rules.note_on, ~sounding) & of_pitches(rules.note_off, sounding)
    if rules.max_silence:
        steps = ids - rules.shift[0] + 1
        is_shift = (ids >= rules.shift[0]) & (ids <= rules.shift[1])
        short = silent[:, None] + steps <= rules.max_silence
        may &= ~is_shift | any_sounds | short
    if rules.end is not None:
        may &= (ids != rules.end) | ~any_sounds
    return may


def _after(rules: TokenRules, ids, sounding, silent):
    """Returns what sounds, and for how long nothing has, after ids (N,) more."""
    pitches = tf.range(rules.pitches)
    begins = ids[:, None] - rules.note_on[0] == pitches
    ends = ids[:, None] - rules.note_off[0] == pitches
    sounding = (sounding | begins) & ~ends
    is_shift = (ids >= rules.shift[0]) & (ids <= rules.shift[1])
    silent += tf.where(is_shift, ids - rules.shift[0] + 1, 0)
    return sounding, tf.where(tf.reduce_any(sounding, axis=1), 0, silent)


@graph_function(reduce_retracing=True)
def _rules_after(rules: TokenRules, ids):
    """Returns what sounds after ids (T,), bool (P,), and how long nothing has, int32."""
    start = (tf.zeros([1, rules.pitches], tf.bool), tf.zeros([1], tf.int32))
    sounding, silent = tf.foldl(
        lambda state, id: _after(rules, id[None], *state), ids, initializer=start
    )
    return sounding[0], silent[0]

"""Writing tokens one by one: keys and values of all before are kept, the loop is compiled.

The cache of attention is a ring of K slots: position p lies in slot p % K. It grows with the piece,
doubling, up to the reach of the attention; from then on the oldest positions are written over.
Shape letters: N outputs, T tokens, K slots, H heads, D key depth, V value depth.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import tensorflow as tf

from magenta_lite.graphs import inner_graph, replaced_at
from magenta_lite.modeling.sampling import filtered_logits, greedy, sample_categorical

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


def specs() -> tuple[tf.TensorSpec, ...]:
    """Returns what served functions are told of how to write: scalars, as of `sample`."""
    types = {"num_outputs": tf.int32, "num_tokens": tf.int32, "temperature": tf.float32}
    types |= {"top_k": tf.int32, "top_p": tf.float32, "min_p": tf.float32, "seed": tf.int32}
    return tuple(tf.TensorSpec([], dtype, name) for name, dtype in types.items())


def arguments(num_outputs: int, num_tokens: int, temperature: float, seed: int) -> dict[str, Any]:
    """Returns tensors that `specs` describe, for drawing from all tokens."""
    values = (num_outputs, num_tokens, temperature, 0, 1.0, 0.0, seed)
    return {
        spec.name: tf.constant(value, spec.dtype)
        for spec, value in zip(specs(), values, strict=True)
    }


class Writing(NamedTuple):
    """A piece that is being written.

    Attributes:
        position: Int32 scalar t, number of the next token.
        tokens: Int32 (N, T), zeros from t on.
        keys: Float32 (N * H, K, D) of each layer.
        values: (N * H, K, V) of each layer.
        state: What the model's `legality` remembers of the tokens before t, (N, ...) each.
        done: Bool (N,), which pieces have ended.
        score: Float32 (N,), log probability, in nats, of what was drawn.
    """

    position: Any
    tokens: Any
    keys: tuple
    values: tuple
    state: Any
    done: Any
    score: Any


def sample(model, primer, outputs, num_tokens, seed, settings: Settings, inputs=None):
    """Continues a primer, or does what `inputs` ask for, all in one graph.

    Args:
        model: A `MusicTransformer` or `MuseNet`.
        primer: Int32 (P,), P from 0 to the model's `positions`.
        outputs: Int scalar N.
        num_tokens: Int scalar, of a piece, primer included; at most the model's `longest`.
        seed: Int scalar; an output does not depend on how many there are.
        settings: How to draw.
        inputs: What the model's `begin` reads.

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
    whole, told = begin(model, primer, outputs, longest, inputs, size=model.reach)
    for size in sizes(model):
        stop = num_tokens if size == model.reach else tf.minimum(num_tokens, size)

        def stage(whole=whole, size=size, stop=stop):
            part = whole._replace(
                keys=tuple(x[:, :size] for x in whole.keys),
                values=tuple(x[:, :size] for x in whole.values),
            )
            part = write(model, weights, part, told, uniforms, settings, stop)
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
        model: A `MusicTransformer` or `MuseNet`.
        primer: Int32 (P,), P from 0 to `length`.
        outputs: Int scalar N.
        length: Tokens of a piece at most, primer included.
        inputs: What the model's `begin` reads.
        size: Slots of the caches; None for as many as the primer needs, whose length must be
            known then.

    Returns:
        The `Writing` to go on from, with the primer repeated N times; and what the model is told
        at every step.
    """
    primer = tf.convert_to_tensor(primer, tf.int32)
    known, count = primer.shape[0], tf.shape(primer)[0]
    rows = tf.convert_to_tensor(outputs, tf.int32)

    def for_all(x):  # (1, H, K, D) as (N * H, K, D); twice as many if the model reads twice
        return tf.reshape(tf.repeat(x, rows, axis=0), [-1, *x.shape[2:]])

    of_primer, told = model.begin(inputs, rows)
    size = slots_for(model, known) if size is None else size
    longest = max(model.sizes.positions, known or 0)
    lengths = [min(FIRST_SLOTS, longest)]
    while lengths[-1] < (longest if known is None else known):
        lengths.append(min(2 * lengths[-1], longest))
    lengths = lengths if known is None else lengths[-1:]

    def filled_up(n):
        padded = tf.pad(primer[:n], [[0, n - tf.minimum(count, n)]])
        return tf.ensure_shape(padded, [n])

    branches = [
        lambda n=n: _prefilled(model, filled_up(n), count, size, of_primer) for n in lengths
    ]
    chosen = tf.reduce_sum(tf.cast(count > tf.constant(lengths[:-1], tf.int32), tf.int32))
    caches = branches[0]() if len(branches) == 1 else tf.switch_case(chosen, branches)
    state = _state_after(model.legality, primer[:, None])
    buffer = rounded_up(length)
    tokens = tf.ensure_shape(tf.pad(primer, [[0, buffer - count]]), [buffer])

    def repeated(x):
        return tf.repeat(x[None], rows, axis=0)

    writing = Writing(
        position=count,
        tokens=repeated(tokens),
        keys=tuple(for_all(k) for k, _ in caches),
        values=tuple(for_all(v) for _, v in caches),
        state=tf.nest.map_structure(lambda x: tf.repeat(x, rows, axis=0), state),
        done=tf.zeros([rows], tf.bool),
        score=tf.zeros([rows]),
    )
    return writing, told


def rounded_up(tokens: int) -> int:
    """Returns how long a buffer for so many tokens is."""
    return -(-tokens // TOKENS_ROUNDED_TO) * TOKENS_ROUNDED_TO


def sizes(model) -> list[int]:
    """Returns the slots that a cache has as it grows."""
    if not model.grows:
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


@inner_graph
def _prefilled(model, ids, count, size: int, of_primer):
    """Returns pairs of keys and values (1, H, K, .) of the first `count` tokens of `ids` (L,)."""
    last = count - 1
    position = last - (last - tf.range(size)) % size  # of each slot; below 0 if there is none yet
    position = tf.clip_by_value(position, 0, tf.shape(ids)[0] - 1)
    return tuple(
        tuple(tf.cast(tf.gather(x, position, axis=2), tf.float32) for x in pair)
        for pair in model.prefill(ids[None], *of_primer)
    )


def write(model, weights, writing: Writing, told, uniforms, settings: Settings, stop) -> Writing:
    """Writes tokens until position `stop`, or until all pieces have ended.

    Args:
        model: A `MusicTransformer` or `MuseNet`.
        weights: What `model.step_weights()` gives.
        writing: What to go on from.
        told: What the model is told at every step, as of `begin`.
        uniforms: Float32 (T, N) in [0, 1).
        settings: How to draw.
        stop: Int32 scalar; where the cache is full at the latest, unless it is a ring by then.
    """
    run = _compiled(writing.keys[0].shape[1])
    return run(model, weights, writing, told, uniforms, settings, stop)


def _write(model, weights, writing, told, uniforms, settings, stop):
    legality = model.legality

    def goes_on(writing):
        return (writing.position < stop) & ~tf.reduce_all(writing.done)

    def one(writing):
        t, state = writing.position, writing.state
        last = tf.where(t > 0, tf.gather(writing.tokens, tf.maximum(t - 1, 0), axis=1), 0)
        logits, keys, values = model.step(
            weights, last, t, writing.keys, writing.values, told, state
        )
        logits = tf.where(legality.may_follow(state, told), logits, logits.dtype.min)
        scaled = filtered_logits(
            logits / tf.maximum(settings.temperature, 1e-6), *settings[1:3], settings.min_p
        )
        drawn = tf.where(
            settings.temperature > 0, sample_categorical(scaled, uniforms[t]), greedy(logits)
        )
        log_p = tf.gather(tf.nn.log_softmax(scaled), drawn, axis=1, batch_dims=1)
        drawn = tf.where(writing.done, 0, drawn)
        end = model.rules.end
        ends = tf.zeros_like(writing.done) if end is None else drawn == end
        return (
            Writing(
                position=t + 1,
                tokens=replaced_at(writing.tokens, t, drawn),
                keys=keys,
                values=values,
                state=legality.after(state, drawn, told),
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
    return inner_graph(_write, jit_compile=True)


@inner_graph(reduce_retracing=True)
def _state_after(legality, ids):
    """Returns what a `legality` remembers of ids (T, N), (N, ...) each."""
    start = legality.start(tf.shape(ids)[1])
    return tf.foldl(lambda state, row: legality.after(state, row), ids, start)


def slid(model, writing: Writing, told, front: int, keep: int) -> Writing:
    """Returns what is written with less of the past in sight, for models that count positions.

    Args:
        model: A `MuseNet`.
        writing: A piece whose context is full.
        told: What the model is told.
        front: Tokens at the front that stay.
        keep: How many of the last tokens stay behind them.

    Returns:
        The `Writing` to go on from, at position `front + keep`; what is left out is read no more.
    """
    position = int(writing.position)
    window = tf.concat(
        [writing.tokens[:, :front], writing.tokens[:, position - keep : position]], axis=1
    )
    # Turned outside of TensorFlow: oneDNN logs an error when it turns integers.
    of_window = _state_after(model.legality, tf.constant(window.numpy().T))
    state = model.legality.slid(writing.state, of_window)
    pairs = _read_again(model, window, told, writing.state)
    size, room = writing.keys[0].shape[1], writing.tokens.shape[1]

    def in_slots(x):  # (N, H, L, D) as (N * H, K, D)
        flat = tf.reshape(tf.cast(x, tf.float32), [-1, front + keep, x.shape[3]])
        return tf.pad(flat, [[0, 0], [0, size - front - keep], [0, 0]])

    return writing._replace(
        position=tf.constant(front + keep),
        tokens=tf.pad(window, [[0, 0], [0, room - front - keep]]),
        keys=tuple(in_slots(k) for k, _ in pairs),
        values=tuple(in_slots(v) for _, v in pairs),
        state=state,
    )


@inner_graph
def _read_again(model, window, told, state):
    return tuple(model.prefill(window, told, state))

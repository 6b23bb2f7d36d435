"""Sampling and beam search after a primer, in one compiled graph each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from magenta_lite.families.melody_rnn import features
from magenta_lite.families.melody_rnn.attention import State
from magenta_lite.graphs import inner_graph
from magenta_lite.modeling.sampling import Sampler, at_most, step_uniforms, uniforms_of
from magenta_lite.typing import Tensor

if TYPE_CHECKING:
    from magenta_lite.families.melody_rnn.model import MelodyRNN

SMALLEST = 1e-30  # lowest probability whose logarithm is taken
PADDED = 64  # events; sequences are padded to a multiple, so that few shapes are compiled


class Primer(NamedTuple):
    """A padded primer, as the compiled functions read it.

    Attributes:
        ids: Int32 (T,), event ids.
        count: Int32 scalar, number of events without padding.
        chords: Int32, ids of the chords of the primer and of what follows; None without chords.
    """

    ids: Any
    count: Any
    chords: Any

    @classmethod
    def of(cls, ids: Tensor, chords: Tensor | None) -> Primer:
        """Returns the primer of unpadded ids and chords."""
        return cls(_padded(ids), tf.shape(ids)[0], None if chords is None else _padded(chords))


def sample(
    model: MelodyRNN,
    primer: Tensor,
    num_steps: Any,
    seeds: Tensor,
    sampler: Sampler,
    chords: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Continues a primer by sampling.

    Args:
        model: The model.
        primer: Int32 (P,), event ids, at least one.
        num_steps: Int scalar S, number of steps to add, and of events at most; an encoding with
            time shifts needs fewer events than steps.
        seeds: Int32 (N, 2); a row's events depend on its own seed alone.
        sampler: How events are drawn.
        chords: Int32 ids of the chords of all events, primer included; the last one is repeated if
            there are fewer. None for an encoding without chords.

    Returns:
        Int32 (N, P + S), primer and continuation, -1 after the last event; and float32 (N,),
        log-likelihoods of the continuation under the sampling distribution.
    """
    primer = tf.cast(primer, tf.int32)
    num_steps = at_most(num_steps, "num_steps")
    events, scores = _compiled_sample(
        model,
        model.layer_weights(),
        Primer.of(primer, chords),
        _padded(step_uniforms(seeds, num_steps)),  # (S, N) and padding
        num_steps,
        sampler.tensors(),
    )
    return _joined(primer, events[:, :num_steps]), scores


def _padded(x):
    """Returns `x` (T, ...) with its last element repeated up to a multiple of `PADDED`."""
    last = tf.shape(x)[0] - 1
    length = (last // PADDED + 1) * PADDED
    return tf.gather(x, tf.minimum(tf.range(length), last))


def _joined(primer, events):
    """Returns primer (P,) and events (N, S) as int32 (N, P + S)."""
    repeated = tf.repeat(primer[None], tf.shape(events)[0], axis=0)
    return tf.concat([repeated, events], axis=1)


def _read(model, weights, history, states, ids, position, chords):
    """Reads an event (B,) of each row, with the chord of the next; returns the decoding state.

    `chords` are those of all rows, or a pair of those of each row (B, C) and their numbers (B,).
    """
    following = None
    if isinstance(chords, tuple):
        of_rows, lengths = chords
        place = tf.minimum(position + 1, tf.maximum(lengths - 1, 0))
        following = tf.gather(of_rows, place, axis=1, batch_dims=1)
    elif chords is not None:
        last = tf.shape(chords)[0] - 1
        following = tf.fill(tf.shape(ids), chords[tf.minimum(position + 1, last)])
    x, history = features.add_event(model.encoding, history, ids, position, following)
    logits, states = model.step(weights, x, states, position)
    return history, states, logits


def _prefill(model, weights, primer: Primer):
    """Reads a primer once; returns the history, states and logits (1, V) after it."""

    def step(t, history, states, _):
        ids = primer.ids[t, None]
        return t + 1, *_read(model, weights, history, states, ids, t, primer.chords)

    history = features.empty_history(model.encoding, 1)
    start = (0, history, model.zero_states(1), tf.zeros([1, model.encoding.num_classes]))
    _, history, states, logits = tf.while_loop(lambda t, *_: t < primer.count, step, start)
    return history, states, logits


def _sample(model, weights, primer, uniforms, steps, sampler):
    most, rows = tf.unstack(tf.shape(uniforms))
    carried = take_rows(_prefill(model, weights, primer), tf.zeros([rows], tf.int32))

    def is_unfinished(t, carried, scores, left, events):
        return (t < steps) & tf.reduce_any(left > 0)

    def step(t, carried, scores, left, events):
        position = primer.count + t
        ids, carried, log_p = _advance(
            model, weights, carried, uniforms[t], sampler, position, primer.chords
        )
        # Unwritten elements are 0: the numbers are ids plus 1.
        events = events.write(t, tf.where(left > 0, ids + 1, 0))
        scores += tf.where(left > 0, log_p, 0.0)
        return t + 1, carried, scores, left - features.duration(model.encoding, ids), events

    events = tf.TensorArray(tf.int32, size=most, element_shape=[uniforms.shape[1]])
    start = (0, carried, tf.zeros([rows]), tf.fill([rows], steps), events)
    _, _, scores, _, events = tf.while_loop(is_unfinished, step, start)
    return tf.transpose(events.stack()) - 1, scores


_compiled_sample = inner_graph(_sample, jit_compile=True)


def sample_rows(
    model: MelodyRNN,
    primer: Tensor,
    primer_length: Tensor,
    num_steps: Tensor,
    seeds: Tensor,
    sampler: Sampler,
    chords: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Continues a primer of its own in each row, which is what `sample` gives for it.

    Args:
        model: The model.
        primer: Int32 (N, P), event ids, padded.
        primer_length: Int32 (N,); 0 for the start event of a piece without a primer, P at most.
        num_steps: Int32 (N,), as of `sample`.
        seeds: Int32 (N, 2).
        sampler: Settings (N,).
        chords: Int32 (N, C) and their numbers (N,), as of `sample`.

    Returns:
        Int32 (N, P + S), primer and continuation, -1 after the last event of a row.
    """
    primer_length = tf.minimum(primer_length, tf.shape(primer)[1])
    lengths, steps = tf.maximum(primer_length, 1), at_most(num_steps, "num_steps")
    total, most = tf.reduce_max(lengths + steps), tf.reduce_max(steps)
    # Room for the start event, and for all that is new. Shapes are known before compilation.
    given = tf.pad(tf.cast(primer, tf.int32), [[0, 0], [0, 1 + most]])
    first = tf.where(primer_length > 0, given[:, 0], model.encoding.start_id)
    given = tf.concat([first[:, None], given[:, 1:total]], axis=1)
    uniforms = tf.pad(uniforms_of(seeds, [most]), [[0, 0], [0, 1]])
    weights = model.layer_weights()
    of_rows = given, lengths, steps, uniforms, sampler.tensors(), chords
    return _compiled_sample_rows(model, weights, *of_rows)


def _sample_rows(model, weights, primer, lengths, steps, uniforms, sampler, chords):
    rows, most = tf.unstack(tf.shape(primer))
    last = tf.shape(uniforms)[1] - 1

    def is_unfinished(t, carried, left, events):
        return (t < most) & tf.reduce_any((left > 0) | (t < lengths))

    def step(t, carried, left, events):
        history, states, logits = carried
        place = tf.clip_by_value(t - lengths, 0, last)
        uniform = tf.gather(uniforms, place, axis=1, batch_dims=1)
        drawn, _ = draw_events(model, history, logits, uniform, sampler)
        is_given = t < lengths
        ids = tf.where(is_given, primer[:, t], drawn)
        events = events.write(t, tf.where(is_given | (left > 0), ids + 1, 0))
        left -= tf.where(is_given, 0, features.duration(model.encoding, ids))
        return t + 1, _read(model, weights, history, states, ids, t, chords), left, events

    history = features.empty_history(model.encoding, rows)
    logits = tf.zeros([rows, model.encoding.num_classes])
    events = tf.TensorArray(tf.int32, size=most, element_shape=[primer.shape[0]])
    start = (0, (history, model.zero_states(rows), logits), steps, events)
    *_, events = tf.while_loop(is_unfinished, step, start)
    return tf.transpose(events.stack()) - 1


_compiled_sample_rows = inner_graph(_sample_rows, jit_compile=True)


def _advance(model, weights, carried, uniforms, sampler, position, chords):
    """Draws and reads an event of each row; returns ids (B,), the next state and log p (B,)."""
    history, states, logits = carried
    ids, log_p = draw_events(model, history, logits, uniforms, sampler)
    return ids, _read(model, weights, history, states, ids, position, chords), log_p


def draw_events(
    model: MelodyRNN,
    history: features.HistoryState,
    logits: Tensor,
    uniforms: Tensor,
    sampler: Sampler,
) -> tuple[Tensor, Tensor]:
    """Draws an event of each row.

    Note-offs of sounding notes are exempt from the filters of the sampler, as notes would hang.
    Its settings act on classes, or, if the model samples `by_event`, on the
    probabilities of events, each the sum of those of the classes that mean it.

    Args:
        model: The model.
        history: Summary of the events so far.
        logits: Logits of classes, float (B, V).
        uniforms: Float (B,) in [0, 1).
        sampler: Settings.

    Returns:
        Event ids int32 (B,), and the log probabilities float32 (B,), in nats, with which they were
        drawn.
    """
    encoding = model.encoding
    if not (model.by_event and encoding.distances):
        classes, log_p = sampler.draw(logits, uniforms, features.ending(encoding, history))
        return features.event_of(encoding, history, classes), log_p
    probabilities = features.event_probabilities(encoding, history, tf.nn.softmax(logits))
    before = tf.math.log(tf.maximum(probabilities, SMALLEST))
    after = sampler.filtered(before)
    # Classes are drawn, by the share of each in its event, and not events in the order of their
    # ids: at temperature 1 a seed then gives what it gives without the sum over classes.
    shares = logits + features.of_classes(encoding, history, after - before)
    classes, _ = Sampler().draw(shares, uniforms)
    drawn = features.event_of(encoding, history, classes)
    most_probable = tf.argmax(before, axis=1, output_type=tf.int32)
    ids = tf.where(sampler.temperature > 0, drawn, most_probable)
    return ids, tf.gather(tf.nn.log_softmax(after), ids, axis=1, batch_dims=1)


def take_rows(tree: Any, rows: Any) -> Any:
    """Returns the given rows of every tensor of a structure of histories and states."""
    if isinstance(tree, State):  # the batch axis of a ring buffer is the second one
        return State(
            layers=take_rows(tree.layers, rows),
            attended=tf.gather(tree.attended, rows),
            memory=tf.gather(tree.memory, rows, axis=1),
            scored=tf.gather(tree.scored, rows, axis=1),
        )
    if isinstance(tree, tuple):
        parts = [take_rows(part, rows) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return tf.gather(tree, rows)


# Beam search ---------------------------------------------------------------------------------


def stochastic_beam(
    model: MelodyRNN,
    primer: Tensor,
    num_steps: int,
    seeds: Tensor,
    sampler: Sampler,
    chords: Tensor | None = None,
    *,
    beams: int,
    branches: int,
    stride: int,
) -> tuple[Tensor, Tensor]:
    """Continues a primer by the stochastic beam search of the original.

    In every round each beam is copied `branches` times, each copy is continued by `stride` sampled
    events, and the likeliest `beams` are kept. The first round is shorter if `stride` does not
    divide `num_steps`.

    It adds S = `num_steps` events, at least one; the other arguments are those of `sample`.

    Returns:
        Int32 (N, P + S) and float32 (N,), the likeliest final beam of each output and its
        log-likelihood under the sampling distribution.
    """
    primer = tf.cast(primer, tf.int32)
    uniforms = uniforms_of(seeds, [num_steps, beams * branches])
    events, scores = _compiled_stochastic_beam(
        model,
        model.layer_weights(),
        Primer.of(primer, chords),
        tf.transpose(uniforms, [1, 0, 2]),  # (S, N, beams * branches)
        sampler.tensors(),
        beams,
        branches,
        stride,
    )
    return _joined(primer, events), scores


def _stochastic_beam(model, weights, primer, uniforms, sampler, beams, branches, stride):
    steps, outputs, width = uniforms.shape[0], tf.shape(uniforms)[1], beams * branches
    carried = _prefill(model, weights, primer)
    carried = take_rows(carried, tf.zeros([outputs * beams], tf.int32))
    copies = tf.repeat(tf.range(outputs * beams), branches)

    def step(t, carried, scores, events):
        drawn, position = tf.reshape(uniforms[t], [-1]), primer.count + t
        ids, carried, log_p = _advance(
            model, weights, carried, drawn, sampler, position, primer.chords
        )
        return t + 1, carried, scores + log_p, _put_column(events, t, ids)

    def rounds(t, carried, scores, events):
        carried = take_rows(carried, copies)
        scores, events = tf.gather(scores, copies), tf.gather(events, copies)
        length = tf.where(t == 0, (steps - 1) % stride + 1, stride)
        t, carried, scores, events = tf.while_loop(
            lambda now, *_: now < t + length, step, (t, carried, scores, events)
        )
        kept, scores = _best(scores, outputs, width, beams)
        return t, take_rows(carried, kept), scores, tf.gather(events, kept)

    rows = outputs * beams
    start = (0, carried, tf.zeros([rows]), tf.zeros([rows, steps], tf.int32))
    _, _, scores, events = tf.while_loop(lambda t, *_: t < steps, rounds, start)
    kept, scores = _best(scores, outputs, beams, 1)
    return tf.gather(events, kept), scores


_compiled_stochastic_beam = inner_graph(_stochastic_beam, jit_compile=True)


def _best(scores, outputs, width: int, count: int):
    """Returns rows and scores of the `count` best of each output's `width`: (outputs * count,)."""
    values, index = tf.math.top_k(tf.reshape(scores, [outputs, width]), count)
    rows = index + tf.range(outputs)[:, None] * width
    return tf.reshape(rows, [-1]), tf.reshape(values, [-1])


def _put_column(events, t, ids):
    """Returns events (B, S) with `ids` (B,) in column `t`."""
    return tf.where(tf.range(events.shape[1]) == t, ids[:, None], events)


def beam_search(
    model: MelodyRNN, primer: Tensor, num_steps: int, beams: int, chords: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Continues a primer by deterministic beam search.

    The probabilities of classes that mean the same event are added up. It adds S = `num_steps`
    events, at least one; primer and chords are those of `sample`.

    Returns:
        Int32 (K, P + S), the K = `beams` likeliest, and their log-likelihoods float32 (K,).
    """
    primer = tf.cast(primer, tf.int32)
    events, scores = _compiled_beam_search(
        model, model.layer_weights(), Primer.of(primer, chords), num_steps, beams
    )
    return _joined(primer, events), scores


def _beam_search(model, weights, primer, steps: int, beams: int):
    encoding = model.encoding
    carried = take_rows(_prefill(model, weights, primer), tf.zeros([beams], tf.int32))

    def step(t, carried, scores, events):
        history, _, logits = carried
        probabilities = features.event_probabilities(encoding, history, tf.nn.softmax(logits))
        total = scores[:, None] + tf.math.log(tf.maximum(probabilities, SMALLEST))
        scores, index = tf.math.top_k(tf.reshape(total, [-1]), beams)
        rows, ids = index // encoding.num_ids, index % encoding.num_ids
        history, states, _ = take_rows(carried, rows)
        carried = _read(model, weights, history, states, ids, primer.count + t, primer.chords)
        events = _put_column(tf.gather(events, rows), t, ids)
        return t + 1, carried, scores, events

    # The beams are equal at first: all but one are excluded.
    scores = tf.where(tf.range(beams) == 0, 0.0, -1e9)
    start = (0, carried, scores, tf.zeros([beams, steps], tf.int32))
    _, _, scores, events = tf.while_loop(lambda t, *_: t < steps, step, start)
    return events, scores


_compiled_beam_search = inner_graph(_beam_search, jit_compile=True)

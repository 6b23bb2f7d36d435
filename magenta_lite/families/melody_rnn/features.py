"""Input features and labels of event sequences as tensors; `History` of the converters is NumPy."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from magenta_lite.converters.event_sequences.chord_ids import CHORD_VECTORS
from magenta_lite.converters.event_sequences.encodings import (
    MAJOR_KEYS,
    RECENT_PITCHES,
    EventEncoding,
)
from magenta_lite.converters.melody import FIRST_PITCH_ID, NO_EVENT_ID, NOTE_OFF_ID
from magenta_lite.graphs import inner_graph
from magenta_lite.typing import Tensor


class HistoryState(NamedTuple):
    """A summary of the events so far, int32 unless stated; see `History`.

    Attributes:
        recent: (B, R), the last R events in order; -1 before the start.
        counts: (B, 12), number of note-ons of each pitch class.
        last_pitches: (B, 3), the last different pitches, the latest first; -1 for none.
        sounding: (B,), the sounding pitch; -1 for silence.
        attack: (B,), 1 if the last event other than note-offs is a note-on.
        direction: (B,), sign of the last change of pitch.
        held: Bool (B, P), which notes of an encoding with their note-offs sound.
    """

    recent: Any
    counts: Any
    last_pitches: Any
    sounding: Any
    attack: Any
    direction: Any
    held: Any


def empty_history(encoding: EventEncoding, rows: Any) -> HistoryState:
    """Returns the state before the first event of `rows` sequences."""
    zeros = tf.zeros([rows], tf.int32)
    return HistoryState(
        recent=tf.fill([rows, encoding.reach], -1),
        counts=tf.zeros([rows, 12], tf.int32),
        last_pitches=tf.fill([rows, RECENT_PITCHES], -1),
        sounding=zeros - 1,
        attack=zeros,
        direction=zeros,
        held=tf.zeros([rows, encoding.held_notes], tf.bool),
    )


def add_event(
    encoding: EventEncoding,
    state: HistoryState,
    ids: Tensor,
    position: Tensor,
    chords: Tensor | None = None,
) -> tuple[Tensor, HistoryState]:
    """Adds an event, int32 (B,), to each of B sequences of `position` events.

    An encoding with chords needs the ids of the chords of the next events, int32 (B,).

    Returns:
        Inputs of the model, float32 (B, D), and the new state.
    """
    parts, state = _event_parts(encoding, state, ids, position)
    if encoding.chords:
        parts = (_as_float(tf.gather(CHORD_VECTORS[encoding.chords], chords)), *parts)
    return tf.concat(parts, axis=1), state


def _event_parts(encoding: EventEncoding, state: HistoryState, ids, position):
    """Returns the features (B, ...) of an event without chords, and the new state."""
    recent = tf.concat([state.recent[:, 1:], ids[:, None]], axis=1)
    state = _hold_notes(encoding, state._replace(recent=recent), ids)
    repeats = [_as_float(recent[:, -1 - d] == ids)[:, None] for d in encoding.distances]
    counter = _tiled(_counter(encoding, position + 1), ids)
    if not encoding.key_features:
        ahead = [tf.one_hot(repeated(state, d), encoding.num_ids) for d in encoding.distances]
        return (tf.one_hot(ids, encoding.num_ids), *ahead, counter, *repeats), state
    state = _follow_pitch(encoding, state, ids)
    sounds = state.sounding >= 0
    flags = (sounds, ~sounds, state.attack, state.direction)
    bar = _as_float((position + 1) % encoding.steps_per_bar == 0)
    pitches = tf.unstack(state.last_pitches, axis=1)
    recent_counts = sum(_pitch_classes(encoding, pitch) for pitch in pitches)
    parts = (
        tf.one_hot(state.sounding, encoding.num_pitches),
        tf.stack([_as_float(flag) for flag in flags], axis=1),
        *repeats,
        counter,
        _tiled(bar[None], ids),
        _best_keys(state.counts),
        _best_keys(recent_counts),
    )
    return parts, state


def repeated(state: HistoryState, distance: int) -> Tensor:
    """Returns the events (B,) `distance` before the next one; "no event" before the start."""
    return tf.maximum(state.recent[:, -distance], NO_EVENT_ID)


def duration(encoding: EventEncoding, ids: Tensor) -> Tensor:
    """Returns the durations in steps of events `ids` int32 (B,): int32 (B,)."""
    if not encoding.shift_ids:
        return tf.ones_like(ids)
    lowest, highest = encoding.shift_ids
    return tf.where((ids >= lowest) & (ids <= highest), ids - lowest + 1, 0)


def event_of(encoding: EventEncoding, state: HistoryState, classes: Tensor) -> Tensor:
    """Returns the next events that `classes` int32 (B,) mean: int32 (B,)."""
    ids = encoding.own_id(classes)
    for i, distance in enumerate(encoding.distances):
        ids = tf.where(classes == encoding.num_ids + i, repeated(state, distance), ids)
    return ids


def event_probabilities(
    encoding: EventEncoding, state: HistoryState, probabilities: Tensor
) -> Tensor:
    """Adds up the probabilities (B, V) of classes that mean the same event: float32 (B, N)."""
    size = encoding.num_ids
    total = tf.gather(probabilities, encoding.own_class(tf.range(size)), axis=1)
    for i, distance in enumerate(encoding.distances):
        back = tf.one_hot(repeated(state, distance), size)
        total += probabilities[:, size + i, None] * back
    return total


def of_classes(encoding: EventEncoding, state: HistoryState, values: Tensor) -> Tensor:
    """Returns for each class the value of the event that it means: (B, V), of values (B, N)."""
    own = tf.gather(values, encoding.own_id(tf.range(encoding.num_ids)), axis=1)
    back = [
        tf.gather(values, repeated(state, d)[:, None], batch_dims=1) for d in encoding.distances
    ]
    return tf.concat([own, *back], axis=1)


def ending(encoding: EventEncoding, state: HistoryState) -> Tensor | None:
    """Returns the mask bool (B, V) of the note-offs of sounding notes; None without note-offs."""
    if not encoding.note_off_ids:
        return None
    first, last = encoding.note_off_ids
    return tf.pad(state.held, [[0, 0], [first, encoding.num_classes - last - 1]])


def _hold_notes(encoding: EventEncoding, state: HistoryState, ids) -> HistoryState:
    if not encoding.note_off_ids:
        return state
    pitches = tf.range(encoding.held_notes)
    begins = ids[:, None] - encoding.onset_ids[0] == pitches
    ends = ids[:, None] - encoding.note_off_ids[0] == pitches
    return state._replace(held=(state.held | begins) & ~ends)


def _follow_pitch(encoding: EventEncoding, state: HistoryState, ids) -> HistoryState:
    note, pitch = ids >= FIRST_PITCH_ID, ids - FIRST_PITCH_ID
    first, second, third = tf.unstack(state.last_pitches, axis=1)
    changed = note & (pitch != first)
    again = tf.stack([pitch, first, tf.where(pitch == second, third, second)], axis=1)
    silent = tf.where(ids == NOTE_OFF_ID, -1, state.sounding)
    return state._replace(
        sounding=tf.where(note, pitch, silent),
        attack=tf.where(note, 1, tf.where(ids == NOTE_OFF_ID, state.attack, 0)),
        direction=tf.where(changed & (first >= 0), tf.sign(pitch - first), state.direction),
        last_pitches=tf.where(changed[:, None], again, state.last_pitches),
        counts=state.counts + _pitch_classes(encoding, tf.where(note, pitch, -1)),
    )


def _pitch_classes(encoding: EventEncoding, pitches):
    """Returns int32 (B, 12), zeros for negative pitches."""
    classes = tf.where(pitches >= 0, (pitches + encoding.min_pitch) % 12, -1)
    return tf.one_hot(classes, 12, dtype=tf.int32)


def _best_keys(counts):
    fitting = tf.matmul(_as_float(counts), tf.constant(MAJOR_KEYS.T, tf.float32))
    return _as_float(fitting == tf.reduce_max(fitting, axis=1, keepdims=True))


def _counter(encoding: EventEncoding, n):
    bits = n // 2 ** tf.range(encoding.counter_bits) % 2
    return _as_float(2 * bits - 1)


def _tiled(row, like):
    """Returns `row` (N,) for each of the rows of `like`: (B, N)."""
    return tf.repeat(row[None], tf.shape(like)[0], axis=0)


def _as_float(x):
    return tf.cast(x, tf.float32)


# Whole sequences -----------------------------------------------------------------------------


@inner_graph(jit_compile=True)
def read_events(
    encoding: EventEncoding, ids: Tensor, chords: Tensor | None = None
) -> tuple[Tensor, HistoryState]:
    """Returns the model inputs float32 (T, B, D) for ids int32 (T, B), and the state after them.

    An encoding with chords needs the ids of the chords of the next events, int32 (T, B).
    """
    steps, rows = tf.unstack(tf.shape(ids))

    def step(t, state, array):
        chord = None if chords is None else chords[t]
        inputs, state = add_event(encoding, state, ids[t], t, chord)
        return t + 1, state, array.write(t, inputs)

    shape = [ids.shape[1], encoding.input_size]
    array = tf.TensorArray(tf.float32, size=steps, element_shape=shape)
    start = (0, empty_history(encoding, rows), array)
    _, state, array = tf.while_loop(lambda t, *_: t < steps, step, start)
    return array.stack(), state


def repeats(encoding: EventEncoding, ids: Tensor) -> list[Tensor]:
    """Returns which of ids (T, B), except the first ones, repeat the event at each distance.

    They are bool (T - 1, B) for each distance. Before the start there are "no event"s.
    """
    return [tf.equal(_back(ids, distance), ids)[1:] for distance in encoding.distances]


def _back(ids, distance: int):
    """Returns ids (T, B) shifted by `distance` steps, with "no event" in front."""
    steps, rows = tf.unstack(tf.shape(ids))
    silence = tf.fill([tf.minimum(distance, steps), rows], NO_EVENT_ID)
    return tf.concat([silence, ids[:-distance]], axis=0)


def most_probable_events(encoding: EventEncoding, ids: Tensor, logits: Tensor) -> Tensor:
    """Returns the most probable event for each step but the first, int32 (T - 1, B).

    Repeats refer to the true events `ids` int32 (T, B); the logits are float32 (T - 1, B, V).
    """
    size, p = encoding.num_ids, tf.nn.softmax(logits)
    total = tf.gather(p, encoding.own_class(tf.range(size)), axis=2)
    for i, distance in enumerate(encoding.distances):
        total += p[..., size + i, None] * tf.one_hot(_back(ids, distance)[1:], size)
    return tf.argmax(total, axis=-1, output_type=tf.int32)


def labels(encoding: EventEncoding, ids: Tensor) -> Tensor:
    """Returns the target class (T - 1, B) of each event but the first of ids int32 (T, B).

    The longest distance has priority, and is also valid before there is an event to repeat.
    """
    classes = encoding.own_class(ids[1:])
    position = tf.range(1, tf.shape(ids)[0])[:, None]
    last = len(encoding.distances) - 1
    for i, same in enumerate(repeats(encoding, ids)):
        possible = (position >= encoding.distances[i]) | (i == last)
        classes = tf.where(same & possible, encoding.num_ids + i, classes)
    return classes

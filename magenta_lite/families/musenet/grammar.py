"""MuseNet's grammar and the constraints of generated pieces, as TensorFlow operations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from magenta_lite.converters.musenet import codec, vocabulary
from magenta_lite.converters.musenet.codec import Note
from magenta_lite.converters.musenet.places import CHORD_PLACES
from magenta_lite.converters.musenet.rules import SLOTS, MuseNetRules, tables
from magenta_lite.converters.musenet.vocabulary import PITCHES
from magenta_lite.modeling.decoding import state_after
from magenta_lite.typing import Tensor

NEVER = 2**30  # units
FORBIDDEN = -1e9  # logit


class GrammarState(NamedTuple):
    """State of the grammar for N pieces; times are in units of 10 ms.

    Attributes:
        age: Int32 (N, S), duration so far of the note in each slot; -1 for silent slots.
        silent: Int32 (N,), duration of the current silence.
        rank: Int32 (N,), rank of the last note of the moment; -1 before the first.
        units: Int32 (N,), length of the piece.
        waits: Int32 (N,), number of waits.
        notes: Int32 (N,), number of notes of the current moment.
        moment: Int32 (N,), moment of the last token.
        chord: Int32 (N,), position of the last token in its moment.
        given: Int32 (N,), number of given tokens written so far.
    """

    age: Any
    silent: Any
    rank: Any
    units: Any
    waits: Any
    notes: Any
    moment: Any
    chord: Any
    given: Any


class GivenNotes(NamedTuple):
    """Notes that a piece must contain, of instruments that play nothing else.

    Attributes:
        ids: Int32 (M,), their tokens without waits, and a sentinel that is never written.
        times: Int32 (M,), times of the tokens in units; `NEVER` for the sentinel.
        slots: Bool (S,), slots of the notes of these instruments.
    """

    ids: Any
    times: Any
    slots: Any


class Span(NamedTuple):
    """The time of a gap that is filled in after `MIDDLE`; int32 scalars in units.

    Attributes:
        start: Time of the gap in the piece.
        length: Length of the gap.
        shown: Length of all that comes before `MIDDLE`.
    """

    start: Any
    length: Any
    shown: Any


class Constraints(NamedTuple):
    """Constraints on generated pieces.

    Attributes:
        units: Int32 scalar, length in units of 10 ms, 0 for open length; or (N,) for N pieces.
        allowed: Bool (4864,) or (N, 4864), mask of the tokens that may be written.
        guidance: Float scalar, scale of classifier-free guidance by style, instruments and controls
            (Ho and Salimans 2022, https://arxiv.org/abs/2207.12598); None for no guidance.
        given: Notes that other instruments accompany; None without them.
        span: The time of a gap that is filled in; None to go on at the end.
        controls: Int32 scalar, number of `controls` after the prefix; None without.
    """

    units: Any
    allowed: Any
    guidance: Any = None
    given: GivenNotes | None = None
    span: Span | None = None
    controls: Any = None


class MuseNetGrammar:
    """The grammar of `MuseNetRules.valid_next` with constraints; see `decoder_interface.Grammar`.

    A piece of fixed length ends at 95 % of its length or later, and starts no note beyond it. Given
    notes are written at their times, in the order of their moments, and their instruments play
    nothing else. What fills a gap, in which any silence is allowed, has the length of the gap.
    """

    def __init__(self, rules: MuseNetRules):
        self.rules = rules
        self.end_id: int | None = rules.end

    def initial_state(self, rows: Any) -> GrammarState:
        zeros = tf.zeros([rows], tf.int32)
        age = tf.fill([rows, SLOTS], -1)
        return GrammarState(age, zeros, zeros - 1, zeros, zeros, zeros, zeros, zeros, zeros)

    def allowed(self, state: GrammarState, conditioning: Constraints) -> Tensor:
        table, rules, age, given = tables(), self.rules, state.age, conditioning.given
        is_on, is_off, waits = table.on >= 0, table.off >= 0, table.units > 0
        later = (table.rank < 0) | (table.rank > state.rank[:, None])

        allowed = later | (_by_id(age >= rules.max_note) & is_off)
        allowed &= ~is_on | _by_id(age != 0)
        allowed &= ~is_off | _by_id(age > 0)
        sounds = tf.reduce_any(age >= 0, axis=1, keepdims=True)
        # The length of given notes is not limited.
        free = age if given is None else tf.where(given.slots, -1, age)
        oldest = tf.reduce_max(free, axis=1, keepdims=True)
        allowed &= ~waits | (oldest < 0) | (oldest + table.units <= rules.max_note)
        span = conditioning.span
        if given is None and span is None:
            short = state.silent[:, None] + table.units <= rules.max_silence
            allowed &= ~waits | sounds | short
        is_end = np.arange(rules.size) == rules.end
        allowed &= ~is_end | ~sounds
        # Of all pieces, or of each.
        units, length = state.units[:, None], tf.convert_to_tensor(conditioning.units)[..., None]
        soonest = 19 * length
        if span is not None:
            units, length = units - span.shown, span.length
            soonest = 20 * length
            allowed &= ~waits | (units + table.units <= length)
            allowed |= (units >= length) & is_off & _by_id(age > 0)
        # A piece of fixed length: no early end, and only note-offs and the end beyond its length.
        allowed &= ~is_end | (length <= 0) | (20 * units >= soonest)
        over = (length > 0) & (units >= length)
        allowed &= ~over | is_off | is_end | (waits & sounds)
        # Notes of a primer can end even if their instrument is masked; given notes end on time.
        if given is None:
            return allowed & (conditioning.allowed | is_off) & table.written
        allowed &= conditioning.allowed & table.written
        # No wait passes the time of a given token before that is written, in order of rank.
        id = tf.gather(given.ids, state.given)[:, None]
        time = tf.gather(given.times, state.given)[:, None]
        due, rank = time == units, tf.gather(table.rank, id)
        allowed &= (units + table.units <= time) & ~(due & (waits | (table.rank > rank)))
        allowed &= ~is_end | (time == NEVER)
        return allowed | (due & (np.arange(rules.size) == id))

    def ending(self, state: GrammarState) -> Tensor:
        return _by_id(state.age > 0) & (tables().off >= 0)

    def next_state(
        self, state: GrammarState, ids: Tensor, conditioning: Constraints | None = None
    ) -> GrammarState:
        count = state.given
        if conditioning is not None and conditioning.given is not None:
            due = tf.gather(conditioning.given.times, count) == state.units
            count += tf.cast(due & (tf.gather(conditioning.given.ids, count) == ids), tf.int32)
        table, slots = tables(), tf.range(SLOTS)
        begins = tf.gather(table.on, ids)[:, None] == slots
        ends = tf.gather(table.off, ids)[:, None] == slots
        units, rank = tf.gather(table.units, ids), tf.gather(table.rank, ids)
        mark, middle = tf.gather(table.mark, ids), ids == vocabulary.MIDDLE
        age = tf.where(begins, 0, tf.where(ends | middle[:, None], -1, state.age))
        age += tf.where(age >= 0, units[:, None], 0)
        heard = (rank >= 0) | tf.reduce_any(age >= 0, axis=1)
        waits, note = tf.cast(units > 0, tf.int32), tf.cast(rank >= 0, tf.int32)
        return GrammarState(
            age=age,
            silent=tf.where(heard, 0, state.silent + units),
            rank=tf.where(rank >= 0, tf.maximum(state.rank, rank), -1),
            units=state.units + units,
            waits=state.waits + waits,
            notes=tf.where((units > 0) | mark, 0, state.notes + note),
            moment=state.waits,
            chord=tf.minimum(state.notes, CHORD_PLACES - 1) * note,
            given=count,
        )

    def truncated(self, state: GrammarState, window: Tensor) -> GrammarState:
        """Returns the state of pieces whose context was truncated to a window int32 (N, T).

        Moments and places in chords count from its beginning, times and notes from that of the
        piece.
        """
        of_window = state_after(self, window)
        counted = ("waits", "notes", "moment", "chord")
        return state._replace(**{name: getattr(of_window, name) for name in counted})


def possible(ids: Tensor) -> Tensor:
    """Returns the mask bool (B, T, V) of the tokens that the grammar allows at each of ids (B, T).

    It follows from the ids before each one. Notes may have begun before the first token, so that
    any note may end that was not seen to end; limits of duration do not count. The ids themselves
    are always possible.
    """
    table = tables()
    before = tf.pad(ids, [[0, 0], [1, 0]])[:, :-1]
    allowed = (table.rank < 0) | (table.rank > tf.gather(table.rank, before)[:, :, None])
    ended = tf.reshape(_by_id(_ended(before)), [-1, ids.shape[1], vocabulary.SIZE])
    allowed &= table.written & ~(ended & (table.off >= 0))
    return allowed | (tf.range(vocabulary.SIZE) == ids[:, :, None])


def _ended(ids: Tensor) -> Tensor:
    """Returns whether the last token of each slot up to each of ids (B, T) is a note-off.

    Returns:
        Bool (B, T, S).
    """
    table, steps = tables(), ids.shape[1]
    slot = tf.gather(np.maximum(table.on, table.off), ids)
    is_off = tf.cast(tf.gather(table.off >= 0, ids), tf.int8)
    # The change by each token, from what the token before it in its slot was.
    order = tf.argsort(slot * steps + tf.range(steps), axis=1)
    slots = tf.gather(slot, order, batch_dims=1)
    off = tf.gather(is_off, order, batch_dims=1)
    same = tf.pad(slots[:, 1:] == slots[:, :-1], [[0, 0], [1, 0]])
    change = off - tf.where(same, tf.pad(off, [[0, 0], [1, 0]])[:, :-1], 0)
    change = tf.gather(change, tf.argsort(order, axis=1), batch_dims=1)
    changes = tf.where(tf.range(SLOTS) == slot[:, :, None], change[:, :, None], 0)
    return tf.cumsum(tf.cast(changes, tf.int32), axis=1) > 0


def _by_id(values: Tensor) -> Tensor:
    """Returns bool (N, V): of each id the value of its slot, and False for ids without a slot.

    Args:
        values: Bool (..., S), of N states together.
    """
    table = tables()
    # By blocks of ids, which is faster than by id: the instrument of each block.
    players = np.maximum(table.on, table.off)[: vocabulary.FIRST_DRUM : PITCHES] // PITCHES
    blocks = tf.gather(tf.reshape(values, [-1, SLOTS // PITCHES, PITCHES]), players, axis=1)
    flat = tf.reshape(blocks, [-1, vocabulary.FIRST_DRUM])
    return tf.pad(flat, [[0, 0], [0, vocabulary.SIZE - vocabulary.FIRST_DRUM]])


def given_notes(notes: Iterable[Note]) -> GivenNotes:
    """Returns the tokens, times and slots of `codec.Note`s that a piece must contain."""
    pairs = [(time, id) for time, ids in codec.moments(notes) for id in ids]
    slots = np.zeros(SLOTS, bool)
    for note in notes:
        if note.instrument is not vocabulary.DRUMS:
            first = codec.PLACE[note.instrument] * PITCHES
            slots[first : first + PITCHES] = True
    times, ids = zip(*pairs, (NEVER, vocabulary.UNSPECIFIED), strict=True)
    return GivenNotes(np.array(ids, np.int32), np.array(times, np.int32), slots)

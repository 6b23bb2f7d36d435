"""Which tokens may be written next, as graphs: the rules of the converters.

A legality remembers of the tokens before it a state of tensors (N, ...), N pieces being written.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from magenta_lite.converters.musenet import codec, vocabulary
from magenta_lite.converters.musenet.places import CHORD_PLACES
from magenta_lite.converters.musenet.rules import SLOTS, MuseNetRules, tables
from magenta_lite.converters.musenet.vocabulary import PITCHES
from magenta_lite.converters.token_rules import TokenRules

NEVER = 2**30  # units


class NoteLegality:
    """What `TokenRules.valid_next` says.

    The state: which pitches sound, bool (N, P), and for how many steps none has, int32 (N,).

    Args:
        rules: A `TokenRules`.
    """

    def __init__(self, rules: TokenRules):
        self.rules = rules

    def start(self, rows):
        """Returns the state before the first token of N = `rows` pieces."""
        return tf.zeros([rows, self.rules.pitches], tf.bool), tf.zeros([rows], tf.int32)

    def may_follow(self, state, told):
        """Returns which ids may be written next: bool (N, size)."""
        del told
        rules, (sounding, silent) = self.rules, state
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

    def after(self, state, ids, told=None):
        """Returns the state after ids (N,) more."""
        del told
        rules, (sounding, silent) = self.rules, state
        pitches = tf.range(rules.pitches)
        begins = ids[:, None] - rules.note_on[0] == pitches
        ends = ids[:, None] - rules.note_off[0] == pitches
        sounding = (sounding | begins) & ~ends
        is_shift = (ids >= rules.shift[0]) & (ids <= rules.shift[1])
        silent += tf.where(is_shift, ids - rules.shift[0] + 1, 0)
        return sounding, tf.where(tf.reduce_any(sounding, axis=1), 0, silent)


class BandState(NamedTuple):
    """What is remembered of a piece for ten instruments.

    Attributes:
        age: Int32 (N, S), for how long the note of each slot has sounded; -1 if it does not.
        silent: Int32 (N,), for how long nothing has.
        rank: Int32 (N,), of the last note of the moment; -1 before its first.
        units: Int32 (N,), how long the piece is.
        waits: Int32 (N,), how many.
        notes: Int32 (N,), of the moment so far.
        moment: Int32 (N,), of the last token.
        chord: Int32 (N,), place of the last token in its moment.
        given: Int32 (N,), how many of the plan's given ids are written.
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


class Given(NamedTuple):
    """Music that a piece must hold, of instruments that play nothing else.

    Attributes:
        ids: Int32 (M,), without waits, and a last one that is never written.
        times: Int32 (M,), when, in units; the last one never comes.
        slots: Bool (S,), the notes of its instruments.
    """

    ids: Any
    times: Any
    slots: Any


class BandPlan(NamedTuple):
    """What a piece is to be.

    Attributes:
        units: Int32 scalar, how long, in units of 10 ms; 0 for as long as it wants.
        allowed: Bool (4864,), which ids may be written.
        guidance: Float scalar, how much more than by itself the model heeds style and instruments;
            None for by itself.
        given: A `Given`, to which others are written; None for nothing.
    """

    units: Any
    allowed: Any
    guidance: Any = None
    given: Any = None


class BandLegality:
    """What `MuseNetRules.valid_next` says, and a plan.

    A planned piece does not end before 95 % of its length, and begins no note after it. What is
    given is written at its time, in the order of its moment, and nothing else by its instruments.

    Args:
        rules: A `MuseNetRules`.
    """

    def __init__(self, rules: MuseNetRules):
        self.rules = rules

    def start(self, rows):
        """Returns the state before the first token of N = `rows` pieces."""
        zeros = tf.zeros([rows], tf.int32)
        age = tf.fill([rows, SLOTS], -1)
        return BandState(age, zeros, zeros - 1, zeros, zeros, zeros, zeros, zeros, zeros)

    def may_follow(self, state: BandState, told: BandPlan):
        """Returns which ids may be written next: bool (N, 4864)."""
        what, rules, age = tables(), self.rules, state.age
        is_on, is_off, waits = what.on >= 0, what.off >= 0, what.units > 0
        later = (what.rank < 0) | (what.rank > state.rank[:, None])

        players = np.maximum(what.on, what.off)[: vocabulary.FIRST_DRUM : PITCHES] // PITCHES

        def of_slots(values):  # bool (N, S) as (N, 4864), by blocks of ids: faster than by id
            blocks = tf.gather(tf.reshape(values, [-1, SLOTS // PITCHES, PITCHES]), players, axis=1)
            flat = tf.reshape(blocks, [-1, vocabulary.FIRST_DRUM])
            return tf.pad(flat, [[0, 0], [0, rules.size - vocabulary.FIRST_DRUM]])

        may = later | (of_slots(age >= rules.max_note) & is_off)
        may &= ~is_on | of_slots(age != 0)
        may &= ~is_off | of_slots(age > 0)
        sounds = tf.reduce_any(age >= 0, axis=1, keepdims=True)
        # What is given may be as long as it is.
        free = age if told.given is None else tf.where(told.given.slots, -1, age)
        oldest = tf.reduce_max(free, axis=1, keepdims=True)
        may &= ~waits | (oldest < 0) | (oldest + what.units <= rules.max_note)
        if told.given is None:
            short = state.silent[:, None] + what.units <= rules.max_silence
            may &= ~waits | sounds | short
        is_end = np.arange(rules.size) == rules.end
        may &= ~is_end | ~sounds
        units, planned = state.units[:, None], told.units > 0
        # A planned piece: no end before its time, and then nothing but ends.
        may &= ~is_end | ~planned | (20 * units >= 19 * told.units)
        over = planned & (units >= told.units)
        may &= ~over | is_off | is_end | (waits & sounds)
        # What a primer left sounding can end, whoever plays it; what is given ends when it does.
        allowed = told.allowed if told.given is not None else told.allowed | is_off
        may &= allowed & what.written
        if told.given is None:
            return may
        # Time stops where something given begins or ends, until it is written in its order.
        id = tf.gather(told.given.ids, state.given)[:, None]
        time = tf.gather(told.given.times, state.given)[:, None]
        due, rank = time == units, tf.gather(what.rank, id)
        may &= (units + what.units <= time) & ~(due & (waits | (what.rank > rank)))
        may &= ~is_end | (time == NEVER)
        return may | (due & (np.arange(rules.size) == id))

    def after(self, state: BandState, ids, told: BandPlan | None = None):
        """Returns the state after ids (N,) more, written to a plan."""
        given = state.given
        if told is not None and told.given is not None:
            due = tf.gather(told.given.times, given) == state.units
            given += tf.cast(due & (tf.gather(told.given.ids, given) == ids), tf.int32)
        what, slots = tables(), tf.range(SLOTS)
        begins = tf.gather(what.on, ids)[:, None] == slots
        ends = tf.gather(what.off, ids)[:, None] == slots
        units, rank = tf.gather(what.units, ids), tf.gather(what.rank, ids)
        age = tf.where(begins, 0, tf.where(ends, -1, state.age))
        age += tf.where(age >= 0, units[:, None], 0)
        heard = (rank >= 0) | tf.reduce_any(age >= 0, axis=1)
        waits, note = tf.cast(units > 0, tf.int32), tf.cast(rank >= 0, tf.int32)
        return BandState(
            age=age,
            silent=tf.where(heard, 0, state.silent + units),
            rank=tf.where(rank >= 0, tf.maximum(state.rank, rank), -1),
            units=state.units + units,
            waits=state.waits + waits,
            notes=tf.where(units > 0, 0, state.notes + note),
            moment=state.waits,
            chord=tf.minimum(state.notes, CHORD_PLACES - 1) * note,
            given=given,
        )

    def slid(self, state: BandState, of_window: BandState) -> BandState:
        """Returns the state of a piece of which only a window stays in sight.

        Args:
            state: Of the whole piece.
            of_window: After the window alone, in which moments are counted anew.
        """
        counted = ("waits", "notes", "moment", "chord")
        return state._replace(**{name: getattr(of_window, name) for name in counted})


def given_music(notes) -> Given:
    """Returns what a piece must hold: the `codec.Note`s of some instruments."""
    pairs = [(time, id) for time, ids in codec.moments(notes) for id in ids]
    slots = np.zeros(SLOTS, bool)
    for note in notes:
        if note.instrument is not vocabulary.DRUMS:
            first = codec.PLACE[note.instrument] * PITCHES
            slots[first : first + PITCHES] = True
    times, ids = zip(*pairs, (NEVER, vocabulary.NOT_SAID), strict=True)
    return Given(np.array(ids, np.int32), np.array(times, np.int32), slots)

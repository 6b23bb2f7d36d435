"""Which of MuseNet's tokens may follow others, and what a piece is to be, in a graph."""

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
from magenta_lite.typing import Tensor

NEVER = 2**30  # units


class GrammarState(NamedTuple):
    """What the grammar remembers of N pieces; times are in units of 10 ms.

    Attributes:
        age: Int32 (N, S), how long the note of each slot has sounded; -1 if it does not.
        silent: Int32 (N,), how long nothing has sounded.
        rank: Int32 (N,), of the last note of the moment; -1 before its first.
        units: Int32 (N,), length of the piece.
        waits: Int32 (N,), number of waits.
        notes: Int32 (N,), number of notes of the moment so far.
        moment: Int32 (N,), of the last token.
        chord: Int32 (N,), place of the last token in its moment.
        given: Int32 (N,), how many of the given tokens are written.
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
        ids: Int32 (M,), their tokens without waits, and a last one that is never written.
        times: Int32 (M,), of the tokens, in units; the last one never comes.
        slots: Bool (S,), the notes of these instruments.
    """

    ids: Any
    times: Any
    slots: Any


class Constraints(NamedTuple):
    """What a piece is to be.

    Attributes:
        units: Int32 scalar, its length in units of 10 ms; 0 for open.
        allowed: Bool (4864,), which tokens may be written.
        guidance: Float scalar, scale of classifier-free guidance by style and instruments (Ho and
            Salimans 2022, https://arxiv.org/abs/2207.12598); None for none.
        given: Notes that other instruments accompany; None for none.
    """

    units: Any
    allowed: Any
    guidance: Any = None
    given: GivenNotes | None = None


class MuseNetGrammar:
    """The grammar of `MuseNetRules.valid_next`, under constraints; see `decoding.Grammar`.

    A piece of a given length does not end before 95 % of it, and begins no note after it. Given
    notes are written at their times, in the order of their moments, and their instruments write
    nothing else.

    Args:
        rules: The rules.
    """

    def __init__(self, rules: MuseNetRules):
        self.rules = rules
        self.end_id = rules.end

    def initial_state(self, rows: Any) -> GrammarState:
        zeros = tf.zeros([rows], tf.int32)
        age = tf.fill([rows, SLOTS], -1)
        return GrammarState(age, zeros, zeros - 1, zeros, zeros, zeros, zeros, zeros, zeros)

    def allowed(self, state: GrammarState, conditioning: Constraints) -> Tensor:
        what, rules, age, given = tables(), self.rules, state.age, conditioning.given
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
        free = age if given is None else tf.where(given.slots, -1, age)
        oldest = tf.reduce_max(free, axis=1, keepdims=True)
        may &= ~waits | (oldest < 0) | (oldest + what.units <= rules.max_note)
        if given is None:
            short = state.silent[:, None] + what.units <= rules.max_silence
            may &= ~waits | sounds | short
        is_end = np.arange(rules.size) == rules.end
        may &= ~is_end | ~sounds
        units, length = state.units[:, None], conditioning.units
        # A piece of a given length: no end before its time, and then nothing but ends.
        may &= ~is_end | (length <= 0) | (20 * units >= 19 * length)
        over = (length > 0) & (units >= length)
        may &= ~over | is_off | is_end | (waits & sounds)
        # Notes that a primer left sounding can end, whoever plays them; given ones at their time.
        if given is None:
            return may & (conditioning.allowed | is_off) & what.written
        may &= conditioning.allowed & what.written
        # Time stops where a given note begins or ends, until that is written in its order.
        id = tf.gather(given.ids, state.given)[:, None]
        time = tf.gather(given.times, state.given)[:, None]
        due, rank = time == units, tf.gather(what.rank, id)
        may &= (units + what.units <= time) & ~(due & (waits | (what.rank > rank)))
        may &= ~is_end | (time == NEVER)
        return may | (due & (np.arange(rules.size) == id))

    def next_state(
        self, state: GrammarState, ids: Tensor, conditioning: Constraints | None = None
    ) -> GrammarState:
        count = state.given
        if conditioning is not None and conditioning.given is not None:
            due = tf.gather(conditioning.given.times, count) == state.units
            count += tf.cast(due & (tf.gather(conditioning.given.ids, count) == ids), tf.int32)
        what, slots = tables(), tf.range(SLOTS)
        begins = tf.gather(what.on, ids)[:, None] == slots
        ends = tf.gather(what.off, ids)[:, None] == slots
        units, rank = tf.gather(what.units, ids), tf.gather(what.rank, ids)
        age = tf.where(begins, 0, tf.where(ends, -1, state.age))
        age += tf.where(age >= 0, units[:, None], 0)
        heard = (rank >= 0) | tf.reduce_any(age >= 0, axis=1)
        waits, note = tf.cast(units > 0, tf.int32), tf.cast(rank >= 0, tf.int32)
        return GrammarState(
            age=age,
            silent=tf.where(heard, 0, state.silent + units),
            rank=tf.where(rank >= 0, tf.maximum(state.rank, rank), -1),
            units=state.units + units,
            waits=state.waits + waits,
            notes=tf.where(units > 0, 0, state.notes + note),
            moment=state.waits,
            chord=tf.minimum(state.notes, CHORD_PLACES - 1) * note,
            given=count,
        )

    def truncated(self, state: GrammarState, of_window: GrammarState) -> GrammarState:
        """Returns the state of a piece of which only a window stays in the context.

        Args:
            state: Of the whole piece.
            of_window: After the window alone, in which moments are counted anew.
        """
        counted = ("waits", "notes", "moment", "chord")
        return state._replace(**{name: getattr(of_window, name) for name in counted})


def given_notes(notes: Iterable[Note]) -> GivenNotes:
    """Returns the `codec.Note`s of some instruments as a piece must contain them."""
    pairs = [(time, id) for time, ids in codec.moments(notes) for id in ids]
    slots = np.zeros(SLOTS, bool)
    for note in notes:
        if note.instrument is not vocabulary.DRUMS:
            first = codec.PLACE[note.instrument] * PITCHES
            slots[first : first + PITCHES] = True
    times, ids = zip(*pairs, (NEVER, vocabulary.NOT_SAID), strict=True)
    return GivenNotes(np.array(ids, np.int32), np.array(times, np.int32), slots)

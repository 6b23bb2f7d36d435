"""The grammar of performance tokens, as TensorFlow operations."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from magenta_lite.converters.token_rules import TokenRules
from magenta_lite.typing import Tensor


class GrammarState(NamedTuple):
    """State of the grammar for N pieces.

    Attributes:
        sounding: Bool (N, P), the sounding pitches.
        silent: Int32 (N,), duration of the current silence in steps.
        steps: Int32 (N,), duration of the piece, or of what fills a gap, in steps.
    """

    sounding: Any
    silent: Any
    steps: Any


class Conditioning(NamedTuple):
    """What pieces follow besides their grammar.

    Attributes:
        melody: Keys and values of the melody for each layer, and the bias that masks padding;
            empty without a melody.
        gap: Int32 scalar, the length in steps of what fills a gap; None to write a piece.
    """

    melody: Any = ()
    gap: Any = None


class TokenGrammar:
    """The grammar of `TokenRules.valid_next`; see `decoder_interface.Grammar`.

    What fills a gap has the length of the gap, and any silence. All of its notes end in it.
    """

    def __init__(self, rules: TokenRules):
        self.rules = rules
        self.end_id = rules.end if rules.fill_end is None else rules.fill_end

    def initial_state(self, rows: Any) -> GrammarState:
        sounding = tf.zeros([rows, self.rules.pitches], tf.bool)
        return GrammarState(sounding, tf.zeros([rows], tf.int32), tf.zeros([rows], tf.int32))

    def allowed(self, state: GrammarState, conditioning: Conditioning | None = None) -> Tensor:
        rules, (sounding, silent, past) = self.rules, state
        gap = conditioning.gap if conditioning else None
        ids = tf.range(rules.size)
        allowed = tf.reduce_all(ids[:, None] != tf.constant(rules.never or (-1,)), axis=1)[None]
        any_sounds = tf.reduce_any(sounding, axis=1, keepdims=True)
        steps = ids - rules.shift[0] + 1
        is_shift = (ids >= rules.shift[0]) & (ids <= rules.shift[1])

        if rules.pitches:
            allowed &= ~self._of_pitches(rules.note_on, sounding)
            allowed &= ~self._of_pitches(rules.note_off, ~sounding)
        if gap is not None:
            left = (gap - past)[:, None]
            is_off = (ids >= rules.note_off[0]) & (ids <= rules.note_off[1])
            is_end = ids == rules.fill_end
            allowed &= (~is_shift | (steps <= left)) & ((left > 0) | is_off) & ~is_end
            return allowed | is_end & (left <= 0) & ~any_sounds
        if rules.max_silence:
            short = silent[:, None] + steps <= rules.max_silence
            allowed &= ~is_shift | any_sounds | short
        if rules.end is not None:
            allowed &= (ids != rules.end) | ~any_sounds
        return allowed

    def ending(self, state: GrammarState) -> Tensor | None:
        if not self.rules.pitches:
            return None
        return self._of_pitches(self.rules.note_off, state.sounding)

    def _of_pitches(self, ids, pitches):
        """Returns bool (N, V): of a range of ids the values (N, P) of their pitches, else False."""
        first, last = ids
        return tf.pad(pitches, [[0, 0], [first, self.rules.size - last - 1]])

    def next_state(
        self, state: GrammarState, ids: Tensor, conditioning: Any = None
    ) -> GrammarState:
        del conditioning
        rules, (sounding, silent, past) = self.rules, state
        if rules.fill_end is not None:  # what fills a gap begins anew
            begins_gap = ids == rules.marks[1]
            sounding &= ~begins_gap[:, None]
            silent, past = tf.where(begins_gap, 0, silent), tf.where(begins_gap, 0, past)
        pitches = tf.range(rules.pitches)
        begins = ids[:, None] - rules.note_on[0] == pitches
        ends = ids[:, None] - rules.note_off[0] == pitches
        sounding = (sounding | begins) & ~ends
        is_shift = (ids >= rules.shift[0]) & (ids <= rules.shift[1])
        steps = tf.where(is_shift, ids - rules.shift[0] + 1, 0)
        silent = tf.where(tf.reduce_any(sounding, axis=1), 0, silent + steps)
        return GrammarState(sounding, silent, past + steps)

    def truncated(self, state: GrammarState, window: Tensor) -> GrammarState:
        del window
        return state

"""The grammar of performance tokens, as TensorFlow operations."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from magenta_lite.converters.token_rules import TokenRules
from magenta_lite.typing import Tensor


class TokenGrammar:
    """The grammar of `TokenRules.valid_next`; see `decoding.Grammar`.

    The state is a pair: the sounding pitches, bool (N, P), and the duration of the current silence
    in steps, int32 (N,).
    """

    def __init__(self, rules: TokenRules):
        self.rules = rules
        self.end_id = rules.end

    def initial_state(self, rows: Any) -> Tensor:
        return tf.zeros([rows, self.rules.pitches], tf.bool), tf.zeros([rows], tf.int32)

    def allowed(self, state: Any, conditioning: Any = None) -> Tensor:
        del conditioning
        rules, (sounding, silent) = self.rules, state
        ids = tf.range(rules.size)
        allowed = tf.reduce_all(ids[:, None] != tf.constant(rules.never or (-1,)), axis=1)[None]
        any_sounds = tf.reduce_any(sounding, axis=1, keepdims=True)

        if rules.pitches:
            allowed &= ~self._of_pitches(rules.note_on, sounding)
            allowed &= ~self._of_pitches(rules.note_off, ~sounding)
        if rules.max_silence:
            steps = ids - rules.shift[0] + 1
            is_shift = (ids >= rules.shift[0]) & (ids <= rules.shift[1])
            short = silent[:, None] + steps <= rules.max_silence
            allowed &= ~is_shift | any_sounds | short
        if rules.end is not None:
            allowed &= (ids != rules.end) | ~any_sounds
        return allowed

    def ending(self, state: Any) -> Tensor | None:
        return self._of_pitches(self.rules.note_off, state[0]) if self.rules.pitches else None

    def _of_pitches(self, ids, pitches):
        """Returns bool (N, V): of a range of ids the values (N, P) of their pitches, else False."""
        first, last = ids
        return tf.pad(pitches, [[0, 0], [first, self.rules.size - last - 1]])

    def next_state(self, state: Any, ids: Tensor, conditioning: Any = None) -> Tensor:
        del conditioning
        rules, (sounding, silent) = self.rules, state
        pitches = tf.range(rules.pitches)
        begins = ids[:, None] - rules.note_on[0] == pitches
        ends = ids[:, None] - rules.note_off[0] == pitches
        sounding = (sounding | begins) & ~ends
        is_shift = (ids >= rules.shift[0]) & (ids <= rules.shift[1])
        silent += tf.where(is_shift, ids - rules.shift[0] + 1, 0)
        return sounding, tf.where(tf.reduce_any(sounding, axis=1), 0, silent)

    def truncated(self, state: Any, window: Tensor) -> Tensor:
        del window
        return state

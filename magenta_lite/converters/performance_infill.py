"""Tokens of performances in the order of `gap_layout`.

The middle consists of the notes that begin in a span of time. The order is: `GAP`, what stays in
the span (the ends of earlier notes) with all of its time, `GAP_END`, the music after; `BEFORE`, the
music before; `MIDDLE`, the middle, `END`. Notes of the middle end at the latest at the end of the
span. Each part names the velocity of its first note. Times are in steps.
"""

from __future__ import annotations

import collections
from typing import NamedTuple

import numpy as np

from magenta_lite.converters.gap_layout import Layout
from magenta_lite.converters.performance_codec import NONE, PerformanceCodec
from magenta_lite.converters.token_rules import TokenRules
from magenta_lite.typing import Events

MARKS = 4  # `GAP`, `GAP_END`, `BEFORE` and `MIDDLE`


class Changes(NamedTuple):
    """The note-ons, note-offs and the end of a performance or of a part of it, int (E,) each.

    Attributes:
        time: Steps from the beginning, in ascending order.
        token: Ids.
        velocity: Ids of the velocities of note-ons; `NONE` for other tokens, and where a note
            precedes the first velocity of a part.
        other: Index of the note-off of a note-on, and the other way round; `NONE` without one.
    """

    time: np.ndarray
    token: np.ndarray
    velocity: np.ndarray
    other: np.ndarray


class GapCodec:
    """Arranges the tokens of performances around gaps.

    Attributes:
        rules: Rules with marks.
        codec: Codec of the tokens.
        gap, gap_end, before, middle: Ids of the marks.
        end: The id that ends the middle, and a performance.

    Args:
        rules: See the attribute.
    """

    def __init__(self, rules: TokenRules):
        assert rules.fill_end is not None
        (first, last), self.end, self.rules = rules.shift, rules.fill_end, rules
        self.gap, self.gap_end, self.before, self.middle = range(rules.marks[0], rules.marks[1] + 1)
        self.codec = PerformanceCodec(
            max_pitch=rules.pitches - 1,
            velocity_bins=self.gap - last - 1,
            max_shift=last - first + 1,
            first_id=rules.note_on[0],
        )

    def changes(self, ids: Events) -> Changes:
        """Returns the changes of ids (T,); a note-off ends the oldest note of its pitch."""
        codec, ids = self.codec, np.asarray(ids, int)
        time = np.cumsum(self.rules.steps_of(ids))
        latest = np.maximum.accumulate(np.where(ids >= codec.velocity_id, np.arange(len(ids)), -1))
        velocity = np.where(latest >= 0, ids[latest], NONE)
        is_on = self._is_on(ids)
        kept = np.flatnonzero(is_on | self._is_off(ids) | (ids == self.end))
        token, other = ids[kept], np.full(len(kept), NONE)
        sounding = collections.defaultdict(collections.deque)
        for index, id in enumerate(token.tolist()):
            if codec.note_on[0] <= id <= codec.note_on[1]:
                sounding[id - codec.note_on[0]].append(index)
            elif id >= codec.note_off[0] and sounding[id - codec.note_off[0]]:
                began = sounding[id - codec.note_off[0]].popleft()
                other[index], other[began] = began, index
        return Changes(time[kept], token, np.where(is_on, velocity, NONE)[kept], other)

    def begins(self, changes: Changes, start: int, end: int) -> np.ndarray:
        """Returns the mask bool (E,) of the note-ons from `start` to before `end`."""
        there = (changes.time >= start) & (changes.time < end)
        return there & self._is_on(changes.token)

    def layout(self, changes: Changes, start: int, end: int) -> Layout:
        """Returns the tokens of a performance with a gap from `start` to `end`."""
        time = changes.time
        begins = self.begins(changes, start, end)
        ends = (changes.other != NONE) & begins[changes.other]
        stays = ~begins & ~ends
        before = self._written(changes, stays & (time < start), 0, start)
        within = self._written(changes, stays & (time >= start) & (time < end), start, end)
        after = self._written(changes, stays & (time >= end), end)
        middle = self._written(self._alone(changes, begins, end), None, start, end)
        return Layout(
            gap=np.concatenate([[self.gap], within, [self.gap_end]]),
            after=after,
            before=np.append(self.before, before),
            middle=np.concatenate([[self.middle], middle, [self.end]]),
        )

    def rearranged(self, ids: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
        """Returns an example of training with a gap between two random moments.

        The end of the music after the gap is cut off to make room.

        Args:
            ids: Int (T,), a crop of a performance.
            most: Largest length of the example.
            rng: Draws the gap.

        Returns:
            Int (T',); the crop itself if it has no two moments.
        """
        changes = self.changes(ids)
        moments = np.unique(changes.time)
        if len(moments) < 2:
            return ids
        start, end = sorted(rng.choice(moments, 2, replace=False).tolist())
        parts = self.layout(changes, start, end)
        room = most - sum(map(len, parts)) + len(parts.after)
        if room < 0:  # so much shorter, and with another gap
            return self.rearranged(ids[:room], most, rng)
        return np.concatenate([parts.gap, parts.after[:room], parts.before, parts.middle])

    def both_ways(
        self, ids: np.ndarray, most: int, start: int, end: int
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Returns a span of a performance as the end of what fills a gap, and of what goes on.

        Notes that sound at the start of the span end right before it, so that both end with the
        same tokens. Each has as much music around the span, or before it, as fits.

        Args:
            ids: Int (T,), a performance or a part of it.
            most: Context length in tokens.
            start: Start of the span, at least 1.
            end: End of the span.

        Returns:
            Int (T',) and (T'',), and the number of tokens of the span.

        Raises:
            ValueError: If the span does not fit into the context.
        """
        changes = self.changes(ids)
        began = np.where(changes.other == NONE, -1, changes.time[changes.other])
        lasts = self._is_off(changes.token) & (changes.time >= start) & (began < start)
        moved = changes._replace(time=np.where(lasts, start - 1, changes.time))
        parts = self.layout(_in_order(moved), start, end)
        middle = parts.middle[1:-1]
        room = most - len(parts.gap) - 2 - len(middle)
        if room < 0:
            raise ValueError(f"{len(middle)} tokens do not fit into {most}")
        later, before = parts.around(room)
        filled = np.concatenate([later, [self.before], before, [self.middle], middle])
        earlier = parts.before[1:][-(most - len(middle)) :]
        return filled, np.append(earlier, middle), len(middle)

    def _is_on(self, tokens):
        return (tokens >= self.codec.note_on[0]) & (tokens <= self.codec.note_on[1])

    def _is_off(self, tokens):
        return (tokens >= self.codec.note_off[0]) & (tokens <= self.codec.note_off[1])

    def _alone(self, changes: Changes, begins: np.ndarray, end: int) -> Changes:
        """Returns the notes of a mask, which end at the latest at `end`, without other changes."""
        began = np.flatnonzero(begins)
        other = changes.other[began]
        stop = np.where(other == NONE, end, np.minimum(changes.time[other], end))
        token = changes.token[began]
        offs = token - self.codec.note_on[0] + self.codec.note_off[0]
        both = Changes(
            time=np.append(changes.time[began], stop),
            token=np.append(token, offs),
            velocity=np.append(changes.velocity[began], np.full(len(began), NONE)),
            other=np.full(2 * len(began), NONE),  # not needed to write them
        )
        place = np.concatenate([began, np.where(other == NONE, len(begins) + began, other)])
        order = np.lexsort((place, both.time))
        return Changes(*(column[order] for column in both))

    def _written(self, changes, mask, start: int, end: int | None = None) -> np.ndarray:
        """Returns the ids of the changes of a mask from `start` on, with time up to `end`."""
        if mask is not None:
            changes = Changes(*(column[mask] for column in changes))
        velocity, on = changes.velocity.copy(), np.flatnonzero(self._is_on(changes.token))
        same = np.diff(velocity[on], prepend=NONE) == 0
        velocity[on[same]] = NONE
        time, token = changes.time, changes.token
        if end is not None:
            time, token, velocity = (
                np.append(column, last)
                for column, last in ((time, end), (token, NONE), (velocity, NONE))
            )
        return self.codec.joined(np.diff(time, prepend=start), velocity, token)[0]


def _in_order(changes: Changes) -> Changes:
    """Returns changes in order of time."""
    order = np.argsort(changes.time, kind="stable")
    place = np.append(np.argsort(order), NONE)  # the last one for `NONE`
    sorted_ = Changes(*(column[order] for column in changes))
    return sorted_._replace(other=place[sorted_.other])

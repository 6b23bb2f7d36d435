"""MuseNet's tokens in the order of `gap_layout`.

The middle consists of the notes that begin in a span of time, of all instruments or of some. The
order is: `GAP`, what stays in the span with all of its time, `GAP_END`, the music after;
`BEFORE`, the music before; then `MIDDLE`, the instrument set of the middle, the middle, and `END`.
Notes of the middle end at the latest at the end of the span. Times are in units of 10 ms.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np

from magenta_lite.converters.gap_layout import Layout
from magenta_lite.converters.musenet import codec, vocabulary
from magenta_lite.converters.musenet.codec import PLACE, NoteColumns
from magenta_lite.converters.musenet.rules import tables
from magenta_lite.converters.musenet.vocabulary import (
    BEFORE,
    DRUMS,
    END,
    FIRST_DRUM,
    FIRST_WAIT,
    GAP,
    GAP_END,
    INSTRUMENTS,
    MIDDLE,
    PITCHES,
)
from magenta_lite.typing import Events

EARLIER, LATER = -1, 2**30  # times of what is not among the tokens: starts before, ends after them
SOME = 0.5  # share of gaps in which only some of the instruments are missing


def layout(
    notes: NoteColumns,
    moved: np.ndarray,
    start: int,
    end: int,
    families: Iterable[str],
    last: int | None = None,
) -> Layout:
    """Returns the tokens of a piece with a gap.

    Args:
        notes: The notes. Starts and ends at `EARLIER` and `LATER` are left out.
        moved: Mask bool (N,) of the notes of the middle.
        start: Start of the span.
        end: End of the span.
        families: Families of the instruments of the middle.
        last: Time of the token that ends the piece; None for a piece that goes on.
    """
    times, tokens = codec.events(notes.at(np.flatnonzero(~moved)))
    there = (times > EARLIER) & (times < LATER)
    times, tokens = times[there], tokens[there]
    if last is not None:
        times, tokens = np.append(times, last), np.append(tokens, END)
    borders = np.searchsorted(times, [start, end])
    times = np.insert(times, borders, [start, end])
    kept = codec.with_waits(times, np.insert(tokens, borders, [GAP, GAP_END]))
    first, after = np.flatnonzero(kept == GAP)[0], np.flatnonzero(kept == GAP_END)[0] + 1
    middle = notes.at(np.flatnonzero(moved))
    times, tokens = codec.events(middle._replace(end=np.minimum(middle.end, end)))
    played = codec.with_waits(np.append(times, end), np.append(tokens, END), start)
    front = [MIDDLE, vocabulary.instrument_set_id(families) or vocabulary.UNSPECIFIED]
    before = np.append(BEFORE, kept[:first])
    return Layout(kept[first:after], kept[after:], before, np.append(front, played))


def notes_in(ids: Events) -> NoteColumns:
    """Returns the notes of ids int (T,), which may be a part of a piece, in any order.

    Notes that began before the ids start at `EARLIER`, and those that sound after them end at
    `LATER`. Other note-offs without a note are ignored.
    """
    ids, table = np.asarray(ids, int), tables()
    now = np.cumsum(table.units[ids])
    slot = np.maximum(table.on, table.off)[ids]
    heard = np.flatnonzero(slot >= 0)
    heard = heard[np.argsort(slot[heard], kind="stable")]
    slot, is_on, time = slot[heard], table.on[ids[heard]] >= 0, now[heard]
    end = np.where(np.diff(slot, append=-1) != 0, LATER, np.roll(time, -1))
    is_first = np.diff(slot, prepend=-1) != 0
    melodic = NoteColumns(
        start=np.where(is_on, time, EARLIER),
        end=np.where(is_on, end, time),
        pitch=slot % PITCHES,
        velocity=_volumes()[ids[heard]],
        place=slot // PITCHES,
    ).at(is_on | is_first)
    hit = np.flatnonzero((ids >= FIRST_DRUM) & (ids < FIRST_WAIT))
    drums = np.full(len(hit), PLACE[DRUMS])
    hits = NoteColumns(now[hit], now[hit] + 1, ids[hit] - FIRST_DRUM, _volumes()[ids[hit]], drums)
    return NoteColumns(*map(np.concatenate, zip(melodic, hits, strict=True)))


def rearranged(events: np.ndarray, prefix: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """Returns an example of training with a middle, chosen at random.

    The span lies between two random moments. In half of the examples the middle are the notes of
    all instruments, else of some. Tokens keep part and countdown of their times. The end of the
    music after the middle is cut off to make room.

    Args:
        events: Int (T, 3), a crop of a piece: ids, parts and countdowns.
        prefix: Length of the prefix, in tokens.
        most: Largest length of the example.
        rng: Draws the span and the instruments.

    Returns:
        Int (T', 3); the crop itself if it has no two moments.
    """
    front, body = np.split(events, [prefix])
    ids = body[:, 0].astype(int)
    units = np.cumsum(tables().units[ids])
    moments = np.unique(units[ids < FIRST_WAIT])
    if len(moments) < 2:
        return events
    start, end = sorted(rng.choice(moments, 2, replace=False).tolist())
    notes = notes_in(ids)
    moved = (notes.start >= start) & (notes.start < end)
    players = np.unique(notes.place)
    if len(players) > 1 and rng.random() < SOME:
        players = rng.choice(players, rng.integers(1, len(players)), replace=False)
        moved &= np.isin(notes.place, players)
    last = int(units[-1]) if ids[-1] == END else None
    families = {INSTRUMENTS[place].family for place in players}
    parts = layout(notes, moved, start, end, families, last)
    room = most - prefix - sum(map(len, parts)) + len(parts.after)
    if room < 0:  # so much shorter, and with another span
        return rearranged(events[:room], prefix, most, rng)
    later = np.append(parts.gap, parts.after[:room])
    return np.concatenate([front, _placed(body, later, start, np.append(*parts[2:]), 0)])


def both_ways(
    events: np.ndarray, prefix: int, most: int, start: int, end: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns a span of a piece as the end of what fills a gap, and of what goes on.

    Notes that sound at the start of the span end right before it, so that both end with the same
    tokens. Each has as much music around the span, or before it, as fits into the context.

    Args:
        events: Int (T, 3), a piece or a part of it, with a prefix.
        prefix: Length of the prefix, in tokens.
        most: Context length in tokens.
        start: Start of the span.
        end: End of the span.

    Returns:
        Int (T', 3) and (T'', 3), and the number of tokens of the span.

    Raises:
        ValueError: If the span does not fit into the context.
    """
    front, body = np.split(events, [prefix])
    notes = notes_in(body[:, 0])
    moved = (notes.start >= start) & (notes.start < end)
    sounding = (notes.start < start) & (notes.end >= start)
    notes = notes._replace(end=np.where(sounding, start - 1, notes.end))
    lasting = notes.start < notes.end
    players = np.unique(notes.place)
    families = {INSTRUMENTS[place].family for place in players}
    parts = layout(notes.at(lasting), moved[lasting], start, end, families)
    marks, middle = np.split(parts.middle[:-1], [2])
    room = most - prefix - len(parts.gap) - 1 - len(marks) - len(middle)
    if room < 0:
        raise ValueError(f"{len(middle)} tokens do not fit into {most}")
    later, before = parts.around(room)
    earlier = parts.before[1:][-(most - prefix - len(middle)) :]
    made = []
    for first, left, ids in (
        (later, before, np.concatenate([[BEFORE], before, marks, middle])),
        (later[:0], earlier, np.append(earlier, middle)),
    ):
        since = start - int(tables().units[left].sum())
        rows = _placed(body, first, start, ids, since)
        front = np.concatenate([front[:, :1], np.repeat(rows[:1, 1:], prefix, axis=0)], axis=1)
        made.append(np.concatenate([front, rows]))
    return made[0], made[1], len(middle)


def _placed(
    body: np.ndarray, later: np.ndarray, start: int, ids: np.ndarray, since: int
) -> np.ndarray:
    """Returns ids with the part and the countdown of their times: int (T, 3).

    Args:
        body: Int (T, 3), a part of a piece with its places.
        later: Ids from the time `start` in `body` on.
        start: A time.
        ids: Ids that follow, from the time `since` in `body` on.
        since: A time.
    """
    units = tables().units
    times = np.append(start + np.cumsum(units[later]), since + np.cumsum(units[ids]))
    where = np.searchsorted(np.cumsum(units[body[:, 0]]), times, side="right") - 1
    rows = body[np.maximum(where, 0)]
    rows[:, 0] = np.append(later, ids)
    return rows


@functools.cache
def _volumes() -> Any:
    """Returns the volume of each id of a note, int (3968,)."""
    return np.array([vocabulary.token(id).volume for id in range(FIRST_WAIT)])

"""Controls: tokens between the prefix and the music that tell how instruments play.

For each instrument that something is told of there are its marker and its levels, in the order of
`ATTRIBUTES`: `drums`, `density high`, `piano`, `polyphony low`, `note length short`. They describe
all of the music after them; if it has a gap, the notes that fill the gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from magenta_lite.converters.musenet.codec import PLACE
from magenta_lite.converters.musenet.infill import EARLIER, LATER, notes_in
from magenta_lite.converters.musenet.rules import tables
from magenta_lite.converters.musenet.vocabulary import (
    BY_NAME,
    DRUMS,
    FIRST_CONTROL,
    GAP,
    INSTRUMENTS,
    MIDDLE,
    UNITS_PER_SECOND,
    UNSPECIFIED,
    Instrument,
)
from magenta_lite.errors import UserError, unknown_name
from magenta_lite.typing import Events


class Attribute(NamedTuple):
    """A property of what an instrument plays.

    Attributes:
        name: Name of the option of `generate`.
        levels: Names of the three levels.
        borders: Greatest values of the first and of the second level.
        of_drums: The same for drums; None if drums lack the attribute.
    """

    name: str
    levels: tuple[str, str, str]
    borders: tuple[float, float]
    of_drums: tuple[float, float] | None = None


# The borders are near the terciles of the songs of Freedoom, in crops of 512 tokens.
ATTRIBUTES = (
    # Notes that begin in a second of the music, rests included.
    Attribute("density", ("low", "medium", "high"), (3, 6), (6, 10)),
    # Mean number of notes that sound together, while any sounds; of drums, that are struck.
    Attribute("polyphony", ("low", "medium", "high"), (1.2, 2), (1.4, 1.75)),
    # Semitones from the lowest to the highest note.
    Attribute("pitch_range", ("narrow", "medium", "wide"), (12, 20)),
    # Median duration in seconds.
    Attribute("note_length", ("short", "medium", "long"), (0.18, 0.3)),
)
LEVELS = 3
SHARE = 0.5  # of instruments, and of the attributes of each of them, that an example tells
MASKED = 0.1  # share of examples with controls that hide them; guidance compares with these
SHAPE = (len(INSTRUMENTS), len(ATTRIBUTES))
NONE = -1  # level of what is not told
_BORDERS = np.array(
    [
        [(a.of_drums if i is DRUMS else a.borders) or (np.nan, np.nan) for a in ATTRIBUTES]
        for i in INSTRUMENTS
    ]
)


def measured(ids: Events) -> np.ndarray:
    """Returns the attributes of each instrument in ids int (T,): float (10, 4).

    They are NaN for instruments of which no note begins, and where there is nothing to measure.
    """
    found = np.full(SHAPE, np.nan)
    notes = notes_in(ids)
    total = int(tables().units[ids].sum())
    for place in np.unique(notes.place[notes.start > EARLIER]).tolist():
        own = notes.at(notes.place == place)
        begun = own.at(own.start > EARLIER)
        if total:
            found[place, 0] = UNITS_PER_SECOND * len(begun.start) / total
        found[place, 1] = _polyphony(np.maximum(own.start, 0), np.minimum(own.end, total + 1))
        if place == PLACE[DRUMS]:
            continue
        found[place, 2] = np.ptp(begun.pitch)
        lengths = (begun.end - begun.start)[begun.end < LATER]
        if len(lengths):
            found[place, 3] = np.median(lengths) / UNITS_PER_SECOND
    return found


def _polyphony(start: np.ndarray, end: np.ndarray) -> float:
    """Returns the mean number of notes, from `start` to `end` each (N,), while any sounds."""
    order = np.argsort(start)
    start, end = start[order], end[order]
    heard = np.append(0, np.maximum.accumulate(end)[:-1])
    return (end - start).sum() / np.maximum(end - np.maximum(start, heard), 0).sum()


def levels_of(ids: Events) -> np.ndarray:
    """Returns the level of each attribute of each instrument in ids int (T,): int (10, 4).

    It is `NONE` where `measured` is NaN.
    """
    values = measured(ids)
    level = (values[..., None] > _BORDERS).sum(axis=-1)
    return np.where(np.isnan(values), NONE, level)


def ids_of(levels: np.ndarray) -> np.ndarray:
    """Returns the tokens, int (T,), that tell levels int (10, 4); none for levels of `NONE`."""
    firsts = FIRST_CONTROL + len(INSTRUMENTS) + LEVELS * np.arange(len(ATTRIBUTES))
    told = levels != NONE
    markers = FIRST_CONTROL + np.arange(len(INSTRUMENTS))
    rows = np.concatenate([markers[:, None], firsts + levels], axis=1)
    return rows[np.concatenate([told.any(axis=1, keepdims=True), told], axis=1)]


def is_control(ids: Any) -> Any:
    """Returns which of ids, an array or a tensor of any shape, are controls."""
    return (ids >= FIRST_CONTROL) & (ids < GAP)


def chosen(ids: Events, most: int, rng: np.random.Generator) -> np.ndarray:
    """Returns what an example of training tells of ids int (T,): the mask bool (10, 4).

    It takes at most `most` tokens, or nothing is told.
    """
    instruments, attributes = rng.random((SHAPE[0], 1)), rng.random(SHAPE)
    wanted = (instruments < SHARE) & (attributes < SHARE) & (levels_of(ids) != NONE)
    return wanted & (length(wanted) <= most)


def length(wanted: np.ndarray) -> int:
    """Returns the greatest number of tokens that tell what the mask bool (10, 4) selects."""
    return int(wanted.any(axis=1).sum() + wanted.sum())


def inserted(
    events: np.ndarray, prefix: int, wanted: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Returns an example int (T, 3) with its controls after the prefix.

    They have part and countdown of the token after them, and at random all are `UNSPECIFIED`.

    Args:
        events: Int (T, 3), ids, parts and countdowns.
        prefix: Length of the prefix, in tokens.
        wanted: Mask bool (10, 4) of what is told.
        rng: Makes random choices.
    """
    front, body = np.split(events, [prefix])
    middle = np.flatnonzero(body[:, 0] == MIDDLE)
    described = body[middle[0] :] if len(middle) else body
    tokens = ids_of(np.where(wanted, levels_of(described[:, 0].astype(int)), NONE))
    if rng.random() < MASKED:
        tokens[:] = UNSPECIFIED
    rows = np.repeat(body[:1], len(tokens), axis=0)
    rows[:, 0] = tokens
    return np.concatenate([front, rows, body])


def pairs(given: Mapping[str, str] | Iterable[str] | str) -> tuple[str, ...]:
    """Returns the value of an option as texts `INSTRUMENT:LEVEL`.

    Args:
        given: Levels by the names of instruments, the texts themselves, or these with commas.
    """
    if isinstance(given, Mapping):
        return tuple(f"{instrument}:{level}" for instrument, level in given.items())
    return tuple(given.split(",")) if isinstance(given, str) else tuple(given)


def asked(options: Mapping[str, Iterable[str]]) -> np.ndarray:
    """Returns the levels, int (10, 4), that the options of `generate` ask for.

    Args:
        options: Texts `INSTRUMENT:LEVEL` by the name of an attribute.

    Raises:
        UserError: If a text has another form, or an unknown instrument or level.
    """
    levels = np.full(SHAPE, NONE)
    for column, attribute in enumerate(ATTRIBUTES):
        name = attribute.name
        for text in options[name]:
            player, colon, level = (part.strip() for part in text.partition(":"))
            if not colon:
                example = f"--{name}=piano:{attribute.levels[-1]}"
                raise UserError(f"--{name}={text} must be INSTRUMENT:LEVEL, e.g. {example}")
            if player not in BY_NAME:
                raise unknown_name("instrument", player, BY_NAME)
            if level not in attribute.levels:
                raise unknown_name(name, level, attribute.levels)
            instrument = BY_NAME[player]
            if instrument is DRUMS and attribute.of_drums is None:
                known = " and ".join(f"--{a.name}" for a in ATTRIBUTES if a.of_drums)
                raise UserError(f"--{name}={text}: drums have {known} only; leave it out")
            if levels[PLACE[instrument], column] != NONE:
                raise UserError(f"--{name} has two levels of {player}; leave one out")
            levels[PLACE[instrument], column] = attribute.levels.index(level)
    return levels


def players(levels: np.ndarray) -> list[Instrument]:
    """Returns the instruments of which levels int (10, 4) tell something."""
    return [INSTRUMENTS[place] for place in np.flatnonzero((levels != NONE).any(axis=1))]

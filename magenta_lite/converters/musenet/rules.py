"""The grammar of MuseNet's tokens."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from magenta_lite.converters.musenet import codec, vocabulary
from magenta_lite.converters.musenet.vocabulary import (
    BY_NAME,
    FIRST_WAIT,
    INSTRUMENTS,
    PITCHES,
    SIZE,
    START,
)
from magenta_lite.errors import UserError
from magenta_lite.typing import Events

LEAST = 0.1  # seconds, of each limit
SLOTS = (len(INSTRUMENTS) - 1) * PITCHES  # pitches of all instruments except drums


@dataclasses.dataclass(frozen=True)
class Tables:
    """Properties of every id: int or bool (4864,) each.

    Attributes:
        on: Slot of the note that a note-on begins; -1 for other ids.
        off: Slot of the note that a note-off ends; -1 for other ids.
        units: Duration of a wait; 0 for other ids.
        rank: Position in the order of a moment; -1 for ids other than notes and drum hits.
        written: Whether a model can write the id.
        mark: Whether the id is a mark of `infill.layout`.
        told: Whether the id is never predicted after the prefix: marks, instrument sets and what
            `controls` use.
    """

    on: np.ndarray
    off: np.ndarray
    units: np.ndarray
    rank: np.ndarray
    written: np.ndarray
    mark: np.ndarray
    told: np.ndarray


@functools.cache
def tables() -> Tables:
    """Returns the properties of every id."""
    on, off, units, rank = (np.full(SIZE, value, np.int32) for value in (-1, -1, 0, -1))
    written = np.zeros(SIZE, bool)
    in_order = sorted(range(FIRST_WAIT), key=codec.order)
    rank[in_order] = np.arange(FIRST_WAIT)
    for id in range(START):
        meaning = vocabulary.token(id)
        units[id] = meaning.units or 0
        written[id] = meaning.instrument != "piano" or meaning.pitch != 0
        if meaning.kind in ("note_on", "note_off"):
            slot = INSTRUMENTS.index(BY_NAME[meaning.instrument]) * PITCHES + meaning.pitch
            (on if meaning.kind == "note_on" else off)[id] = slot
    written[vocabulary.END] = True
    ids = np.arange(SIZE)
    mark = (ids >= vocabulary.GAP) & (ids <= vocabulary.MIDDLE)
    told = (ids > vocabulary.NO_FAMILIES) & (ids < vocabulary.FIRST_STYLE)
    told |= ids > vocabulary.LAST_STYLE
    return Tables(on, off, units, rank, written, mark, told)


@dataclasses.dataclass(frozen=True)
class MuseNetRules:
    """The grammar of MuseNet's ids. Times are in units of 10 ms.

    Within a moment, ids are in the order of `codec.moments`. Only sounding notes can end, and a
    note can neither end nor be struck again in the moment in which it began. No wait extends a note
    beyond `max_note`; a note of that duration can end regardless of the order. A piece cannot end
    while notes sound.

    Attributes:
        max_note: Maximum duration of a note.
        max_silence: Maximum duration of silence.
    """

    max_note: int = 1000
    max_silence: int = 400

    size = SIZE

    @classmethod
    def in_seconds(cls, max_note: float, max_silence: float) -> MuseNetRules:
        """Returns rules with limits in seconds. Raises: UserError if one is below 0.1."""
        for name, value in (("max_note", max_note), ("max_silence", max_silence)):
            if not value >= LEAST:
                raise UserError(f"generate.{name}={value} must be at least {LEAST} for a MuseNet")
        rate = vocabulary.UNITS_PER_SECOND
        return cls(round(max_note * rate), round(max_silence * rate))

    @property
    def end(self) -> int:
        """The id that ends a piece."""
        return vocabulary.END

    @property
    def steps_per_second(self) -> int:
        """Units per second."""
        return vocabulary.UNITS_PER_SECOND

    def valid_next(self, ids: Events) -> np.ndarray:
        """Returns the mask bool (4864,) of valid next ids after `ids` (T,)."""
        table = tables()
        age, silent, last = np.full(SLOTS, -1), 0, -1
        for id in ids:
            if table.on[id] >= 0:
                age[table.on[id]] = 0
            if table.off[id] >= 0:
                age[table.off[id]] = -1
            age[age >= 0] += table.units[id]
            silent = 0 if (age >= 0).any() or table.rank[id] >= 0 else silent + table.units[id]
            last = max(last, table.rank[id]) if table.rank[id] >= 0 else -1
        valid = table.written & ((table.rank < 0) | (table.rank > last))
        overdue = (table.off >= 0) & (age[table.off] >= self.max_note)
        valid |= table.written & overdue
        valid &= (table.on < 0) | (age[table.on] != 0)
        valid &= (table.off < 0) | (age[table.off] > 0)
        waits = table.units > 0
        valid &= ~waits | (age.max() + table.units <= self.max_note) | (age.max() < 0)
        if (age < 0).all():
            valid &= ~waits | (silent + table.units <= self.max_silence)
        valid[self.end] = (age < 0).all()
        return valid

"""What MuseNet's tokens mean to a model that writes them: which may follow which."""

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
from magenta_lite.typing import Events

SLOTS = (len(INSTRUMENTS) - 1) * PITCHES  # notes that can sound: of all instruments but drums


@dataclasses.dataclass(frozen=True)
class Tables:
    """What every id does: int or bool (4864,) each.

    Attributes:
        on: Slot of the note that it begins; -1 for none.
        off: Slot of the note that it ends; -1.
        units: How long it waits.
        rank: Its place in the order of a moment; -1 for what is no note and no drum hit.
        written: Whether a model writes it at all.
    """

    on: np.ndarray
    off: np.ndarray
    units: np.ndarray
    rank: np.ndarray
    written: np.ndarray


@functools.cache
def tables() -> Tables:
    """Returns what every id does."""
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
    return Tables(on, off, units, rank, written)


@dataclasses.dataclass(frozen=True)
class MuseNetRules:
    """Which of MuseNet's ids may follow others. Times are units of 10 ms.

    Within a moment ids come in the order of `codec.moments`. Only what sounds can end, or be struck
    again, and not in the moment in which it began. Time goes on as long as no note is longer than
    `max_note`; one that is must end, whatever the order. A piece ends when nothing sounds.

    Attributes:
        max_note: Longest note.
        max_silence: Longest silence.
    """

    max_note: int = 1000
    max_silence: int = 400

    size = SIZE

    @property
    def end(self) -> int:
        """The id that ends a piece."""
        return vocabulary.END

    @property
    def steps_per_second(self) -> int:
        """Units of a second."""
        return vocabulary.UNITS_PER_SECOND

    def valid_next(self, ids: Events) -> np.ndarray:
        """Returns which ids may follow `ids` (T,): bool (4864,)."""
        what = tables()
        age, silent, last = np.full(SLOTS, -1), 0, -1
        for id in ids:
            if what.on[id] >= 0:
                age[what.on[id]] = 0
            if what.off[id] >= 0:
                age[what.off[id]] = -1
            age[age >= 0] += what.units[id]
            silent = 0 if (age >= 0).any() or what.rank[id] >= 0 else silent + what.units[id]
            last = max(last, what.rank[id]) if what.rank[id] >= 0 else -1
        valid = what.written & ((what.rank < 0) | (what.rank > last))
        overdue = (what.off >= 0) & (age[what.off] >= self.max_note)
        valid |= what.written & overdue
        valid &= (what.on < 0) | (age[what.on] != 0)
        valid &= (what.off < 0) | (age[what.off] > 0)
        waits = what.units > 0
        valid &= ~waits | (age.max() + what.units <= self.max_note) | (age.max() < 0)
        if (age < 0).all():
            valid &= ~waits | (silent + what.units <= self.max_silence)
        valid[self.end] = (age < 0).all()
        return valid

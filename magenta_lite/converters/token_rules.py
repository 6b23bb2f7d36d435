"""What tokens mean to a model that writes them: which may follow, and how time goes on."""

from __future__ import annotations

import dataclasses

import numpy as np

from magenta_lite.typing import Events

NO_IDS = (0, -1)


@dataclasses.dataclass(frozen=True)
class TokenRules:
    """Ids of a vocabulary by what they do. Ranges are (first, last), `NO_IDS` for none.

    Attributes:
        size: Number of ids. Id 0 fills up and is never written.
        inputs: Number of ids of the melody that a model accompanies; 0 without one.
        input_steps: Ids of the melody in an example, in front of the others; they count from `size`
            there.
        note_on: Begins the notes of neighbouring pitches.
        note_off: Ends them, in the same order.
        shift: Lets 1, 2, ... steps pass.
        end: Ends the piece; None if no piece ends.
        steps_per_second: Of the steps that shifts let pass; 0 if tokens do not tell time.
        max_silence: Longest silence that may be written, in steps; 0 for any.
        never: Ids that are never written.
    """

    size: int
    inputs: int = 0
    input_steps: int = 0
    note_on: tuple[int, int] = NO_IDS
    note_off: tuple[int, int] = NO_IDS
    shift: tuple[int, int] = NO_IDS
    end: int | None = None
    steps_per_second: int = 0
    max_silence: int = 0
    never: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        for name in ("note_on", "note_off", "shift", "never"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def pitches(self) -> int:
        """How many pitches have notes that begin and end; 0 if tokens do not say."""
        return self.note_on[1] - self.note_on[0] + 1

    def valid_next(self, ids: Events) -> np.ndarray:
        """Returns which ids may follow `ids` (T,): bool (size,).

        Only notes that sound can end, only notes that do not can begin; a silence does not grow
        beyond `max_silence`; a piece ends when nothing sounds.
        """
        sounding, silent = np.zeros(self.pitches, bool), 0
        for id in ids:
            sounding, silent = self._after(int(id), sounding, silent)
        valid = np.ones(self.size, bool)
        valid[list(self.never)] = False
        valid[self.note_on[0] : self.note_on[1] + 1] = ~sounding
        valid[self.note_off[0] : self.note_off[1] + 1] = sounding
        if self.max_silence and not sounding.any():
            steps = np.arange(1, self.shift[1] - self.shift[0] + 2)
            valid[self.shift[0] : self.shift[1] + 1] = silent + steps <= self.max_silence
        if self.end is not None:
            valid[self.end] = not sounding.any()
        return valid

    def _after(self, id: int, sounding: np.ndarray, silent: int) -> tuple[np.ndarray, int]:
        for begins, (first, last) in ((True, self.note_on), (False, self.note_off)):
            if first <= id <= last:
                sounding = sounding.copy()
                sounding[id - first] = begins
        if self.shift[0] <= id <= self.shift[1]:
            silent += id - self.shift[0] + 1
        return sounding, 0 if sounding.any() else silent

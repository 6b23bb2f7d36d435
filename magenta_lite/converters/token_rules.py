"""The grammar of tokens: roles of ids, valid next ids, and time shifts."""

from __future__ import annotations

import dataclasses

import numpy as np

from magenta_lite.typing import Events

NO_IDS = (0, -1)


@dataclasses.dataclass(frozen=True)
class TokenRules:
    """The roles of the ids of a vocabulary. Ranges are (first, last), or `NO_IDS`.

    Attributes:
        size: Vocabulary size. Id 0 is padding and is never written.
        inputs: Vocabulary size of input melodies; 0 without them.
        input_steps: Length of the melody that precedes the tokens of an example, whose ids are
            offset by `size`.
        note_on: Note-ons of consecutive pitches.
        note_off: Note-offs of the same pitches.
        pitch: Notes of consecutive pitches that last a step, without note-offs.
        shift: Time shifts by 1, 2, ... steps.
        end: The end token; None without it.
        steps_per_second: Resolution of time shifts; 0 if tokens do not encode time.
        max_silence: Maximum silence in steps; 0 for any.
        never: Ids that are never written.
        marks: Marks of a gap in a piece (see `gap_layout`), given and never predicted; the
            last one precedes what fills the gap.
        fill_end: The id that ends what fills a gap; None for tokens without gaps.
    """

    size: int
    inputs: int = 0
    input_steps: int = 0
    note_on: tuple[int, int] = NO_IDS
    note_off: tuple[int, int] = NO_IDS
    pitch: tuple[int, int] = NO_IDS
    shift: tuple[int, int] = NO_IDS
    end: int | None = None
    steps_per_second: int = 0
    max_silence: int = 0
    never: tuple[int, ...] = (0,)
    marks: tuple[int, int] = NO_IDS
    fill_end: int | None = None

    def __post_init__(self) -> None:
        for name in ("note_on", "note_off", "pitch", "shift", "never", "marks"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def pitches(self) -> int:
        """Number of pitches with note-ons and note-offs; 0 without them."""
        return self.note_on[1] - self.note_on[0] + 1

    def pitch_numbers(self) -> np.ndarray:
        """Returns the numbers of the pitches of ids, int32 (size,), from 1 on; 0 for none."""
        numbers = np.zeros(self.size, np.int32)
        for first, last in (self.note_on, self.note_off, self.pitch):
            numbers[first : last + 1] = np.arange(1, last - first + 2)
        return numbers

    def steps_of(self, ids: np.ndarray) -> np.ndarray:
        """Returns the steps of the time shifts among `ids`, int (...); 0 for other ids."""
        first, last = self.shift
        return np.where((ids >= first) & (ids <= last), ids - first + 1, 0)

    def with_max_silence(self, seconds: float) -> TokenRules:
        """Returns these rules with a maximum silence in seconds; 0 for any."""
        return dataclasses.replace(self, max_silence=round(seconds * self.steps_per_second))

    def valid_next(self, ids: Events) -> np.ndarray:
        """Returns the mask bool (size,) of valid next ids after `ids` (T,).

        Only sounding notes can end, and only silent pitches can begin; no silence exceeds
        `max_silence`; a piece cannot end while notes sound.
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

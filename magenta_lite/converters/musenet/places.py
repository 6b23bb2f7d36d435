"""Where in a piece each token stands: what MuseNet's extra embeddings tell the model.

The makers named them (https://openai.com/research/musenet) and left open how they count; where they
did, the choice here is: by tokens, those behind the prefix only.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from magenta_lite.converters.musenet.vocabulary import FIRST_WAIT, START

CHORD_PLACES = 32
PARTS = 128  # of a piece, for `part` and `countdown`


class Places(NamedTuple):
    """Int (T,) each, for T tokens.

    Attributes:
        moment: Waits before the token; a wait belongs to the moment that it ends.
        chord: Number of the note, on or off, in its moment, at most 31; 0 for all but notes.
        part: In which 128th of the piece, from 0.
        countdown: How many 128ths of the piece are still to come after it, rounded down; 0 at the
            last token.
    """

    moment: np.ndarray
    chord: np.ndarray
    part: np.ndarray
    countdown: np.ndarray


def places(
    tokens: ArrayLike, prefix: int = 0, offset: int = 0, length: int | None = None
) -> Places:
    """Returns where tokens stand.

    Args:
        tokens: Int (T,).
        prefix: How many of them, at the front, tell of the piece and are not of it.
        offset: Number in the piece of the first token behind the prefix.
        length: Tokens of the piece, without prefix; None if it ends with the last of these.
    """
    tokens = np.asarray(tokens, int)
    behind = np.maximum(np.arange(len(tokens)) - prefix, 0)
    number = offset + behind
    length = int(number[-1]) + 1 if length is None else length
    waits = (tokens >= FIRST_WAIT) & (tokens < START)
    notes = tokens < FIRST_WAIT
    moment = np.cumsum(waits) - waits
    seen = np.cumsum(notes) - notes
    first = np.maximum.accumulate(np.where(waits, seen, 0))
    return Places(
        moment=moment,
        chord=np.where(notes, np.minimum(seen - first, CHORD_PLACES - 1), 0),
        part=part(number, length),
        countdown=countdown(number, length),
    )


def part(number: Any, length: int) -> np.ndarray:
    """Returns the 128th of a piece of `length` tokens in which its tokens `number` (T,) are."""
    return np.clip(PARTS * number // length, 0, PARTS - 1)


def countdown(number: Any, length: int) -> np.ndarray:
    """Returns the 128ths of a piece of `length` tokens after its tokens `number` (T,)."""
    return np.clip(PARTS * (length - 1 - number) // length, 0, PARTS - 1)

"""Positions of tokens in a piece, for the additional embeddings of MuseNet.

The published description (https://openai.com/research/musenet) names the embeddings without
defining their units. Here part and countdown count tokens after the prefix, or time.
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
        moment: Number of waits before the token; a wait belongs to the moment that it ends.
        chord: Number of the note-on or note-off in its moment, at most 31; 0 for other tokens.
        part: The 128th of the piece that contains the token, from 0.
        countdown: Number of 128ths of the piece after the token, rounded down; 0 at the last
            token.
    """

    moment: np.ndarray
    chord: np.ndarray
    part: np.ndarray
    countdown: np.ndarray


def places(
    tokens: ArrayLike, prefix: int = 0, offset: int = 0, length: int | None = None
) -> Places:
    """Returns the positions of tokens in their piece.

    Args:
        tokens: Int (T,).
        prefix: Length of the prefix in tokens.
        offset: Position in the piece of the first token after the prefix.
        length: Length of the piece in tokens, without prefix; None if it ends with `tokens`.
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
    """Returns the 128th of a piece of `length` tokens that contains its tokens `number` (T,)."""
    return np.clip(PARTS * number // length, 0, PARTS - 1)


def countdown(number: Any, length: int) -> np.ndarray:
    """Returns the number of 128ths of a piece of `length` tokens after its tokens `number` (T,)."""
    return np.clip(PARTS * (length - 1 - number) // length, 0, PARTS - 1)


def in_time(units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns part and countdown of tokens by time, int (T,) each.

    Args:
        units: Int (T,), the time after each token of a whole piece, in units of 10 ms.
    """
    parts = part(units, max(int(units[-1]), 1))
    return parts, PARTS - 1 - parts

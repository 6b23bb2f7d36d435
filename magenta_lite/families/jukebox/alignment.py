"""Alignment of lyrics and codes by the attention weights of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from magenta_lite.errors import UserError
from magenta_lite.families.jukebox.labels import PieceLabels
from magenta_lite.families.jukebox.windows import window_starts

if TYPE_CHECKING:
    from magenta_lite.families.jukebox.model import JukeboxPrior


def align(
    model: JukeboxPrior, codes: ArrayLike, pieces: Sequence[PieceLabels], hop: int
) -> list[np.ndarray]:
    """Returns the attention weights of the codes of some pieces to the characters of their lyrics.

    Where windows overlap, the weights of the earlier one are kept.

    Args:
        model: A `JukeboxPrior` with an `alignment_layer`.
        codes: Int (B, N), N at least the context length of the model.
        pieces: Labels of each row.
        hop: Hop length between windows in codes.

    Returns:
        For each row float32 (N, characters).

    Raises:
        UserError: If the pieces are shorter than a context.
    """
    sizes, codes = model.sizes, np.asarray(codes, np.int32)
    rows, total = codes.shape
    if total < sizes.context:
        raise UserError(f"{total} codes are fewer than a context of {sizes.context}")
    # The index of padding, -1, writes to an extra last column, which is removed.
    maps = [np.zeros((total, len(piece.characters) + 1), np.float32) for piece in pieces]
    for start in reversed(window_starts(total, sizes.context, hop)):
        stop = start + sizes.context
        labels = np.stack([piece.vector(sizes, start) for piece in pieces])
        batch = {"events": tf.constant(codes[:, start:stop]), "labels": tf.constant(labels)}
        weights = model.lyric_attention(batch)[:, sizes.alignment_head].numpy()
        for row in range(rows):
            maps[row][start:stop] = 0
            maps[row][start:stop, pieces[row].window(sizes, start)] = weights[row]
    return [of_row[:, :-1] for of_row in maps]

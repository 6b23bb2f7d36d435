"""Pieces as `splitting.assign` takes them, with the hashes of their windows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from magenta_lite.data import related, splitting
from magenta_lite.data.splitting import EncodedPiece, Outline


class Piece(NamedTuple):
    """The outline of a piece, and hashes of its windows, uint64 (N,)."""

    outline: Outline
    windows: np.ndarray

    @property
    def content(self) -> bytes:
        return self.outline.content


def made_up(name: str, windows: Iterable[int], passages=related.NONE, content: str = "") -> Piece:
    """Returns a piece with windows of these numbers."""
    hashes = splitting.piece_hash(f"order of {name}"), splitting.piece_hash(name)
    outline = Outline((content or name).encode(), hashes, "", passages)
    return Piece(outline, np.array(list(windows), np.uint64))


def encoded(piece: EncodedPiece) -> Piece:
    """Returns an encoded piece."""
    numbers = [int.from_bytes(key[:8], "big") for key in piece.keys]
    return Piece(splitting.outline(piece), np.array(numbers, np.uint64))


def assign(pieces: Sequence[Piece], by_folder: bool = False) -> dict[bytes, str]:
    """Returns the split of each content."""
    owners = np.repeat(np.arange(len(pieces)), [len(piece.windows) for piece in pieces])
    hashes = np.concatenate([np.zeros(0, np.uint64), *(piece.windows for piece in pieces)])
    parts = [(np.stack([hashes, hashes], axis=1), owners)]
    return splitting.assign([piece.outline for piece in pieces], parts, by_folder)

"""Embeddings of MuseNet's tokens, which are also the weights of its output layer."""

from __future__ import annotations

import functools
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from magenta_lite.converters.musenet import vocabulary
from magenta_lite.converters.musenet.vocabulary import FIRST_WAIT, PITCHES
from magenta_lite.layers.weights import embedding_table
from magenta_lite.typing import Tensor

OCTAVE = 12


class Groups(NamedTuple):
    """What tokens have in common: int (4864,) each, and -1 for ids that have none.

    Attributes:
        block: Block of 128 ids: an instrument, with its note-ons of one volume or its note-offs.
        pitch: MIDI pitch of a note, whichever its instrument.
        pitch_class: Pitch class of a note, numbered separately for the note-ons and the note-offs
            of each instrument.
    """

    block: np.ndarray
    pitch: np.ndarray
    pitch_class: np.ndarray


@functools.cache
def groups() -> Groups:
    """Returns the groups of every id."""
    ids = np.arange(vocabulary.SIZE)
    pitch, pitch_class = np.full((2, vocabulary.SIZE), -1)
    kinds: dict[tuple, int] = {}
    for id in range(FIRST_WAIT):
        meaning = vocabulary.token(id)
        if meaning.instrument == "drums":
            continue  # their numbers are keys, not pitches
        kind = kinds.setdefault((meaning.instrument, meaning.kind), len(kinds))
        pitch[id], pitch_class[id] = meaning.pitch, OCTAVE * kind + meaning.pitch % OCTAVE
    return Groups(ids // PITCHES, pitch, pitch_class)


class TokenEmbedding:
    """The embedding of each token: that of its id, and those of the `groups` that it belongs to.

    Tokens that share an instrument or a pitch thus learn from each other.

    Args:
        model: The model, to which the weights are added.
        width: C, the size of an embedding.
        deviation: Standard deviation of the initial embeddings.
        factored: Whether the groups have embeddings, too.
    """

    def __init__(self, model: keras.Model, width: int, deviation: float, factored: bool):
        shared = groups() if factored else ()
        sizes = [vocabulary.SIZE, *(1 + int(group.max()) for group in shared)]
        names = ["embedding", *(f"embedding_{name}" for name in Groups._fields)]
        deviation *= len(sizes) ** -0.5
        self._tables = [
            embedding_table(model, name, rows, width, deviation)
            for name, rows in zip(names, sizes, strict=False)
        ]

    def table(self) -> Tensor:
        """Returns the embeddings of all tokens, float (4864, C)."""
        ids, *shared = self._tables
        table = tf.convert_to_tensor(ids)
        for group, rows in zip(groups(), shared, strict=False):
            # Ids without a group have an index beyond the table, whose embedding is 0.
            padded = tf.pad(tf.convert_to_tensor(rows), [[0, 1], [0, 0]])
            table += tf.gather(padded, np.where(group < 0, rows.shape[0], group))
        return table

"""Writing tokens for `generate`: in parts, with lines of progress, of any length."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from magenta_lite.modeling import decoding

CHUNK = 256  # tokens between two looks at the clock
SECONDS = 2.0  # between two lines of progress
PRIMER_SECONDS = 20.0  # as in Magenta's notebooks


def written(
    model,
    primer: list[int],
    options,
    total: int,
    inputs: Any = None,
    shown: Callable[[Any], str] | None = None,
) -> np.ndarray:
    """Returns int (N, T), primer and what follows it, T at most `total`.

    A model whose positions are learned (`front` > 0) cannot go on beyond its context; it reads the
    front and the last half of it again, and so loses sight of what is farther back.

    Args:
        model: A trained `MusicTransformer` or `MuseNet`.
        primer: Tokens to go on from.
        options: How many to write, and how.
        total: Tokens of each, primer included.
        inputs: What the model's `begin` reads.
        shown: How far a `Writing` is, for lines of progress; None for its share of `total`.
    """
    outputs, reach, front = options.num_outputs, model.reach, model.front
    settings = decoding.Settings(
        options.temperature, options.top_k, options.top_p, options.min_p
    ).tensors()
    room = min(total, reach) if front else total
    writing, told = decoding.begin(model, np.array(primer, np.int32), outputs, room, inputs)
    uniforms = decoding.draws(options.seed, outputs, decoding.rounded_up(total))
    weights = model.step_weights()
    began = told_at = time.monotonic()
    # Positions count what is in sight; of the piece, `past` tokens (`gone`) are not any more.
    position, past, gone = len(primer), 0, []
    while past + position < total and not bool(np.all(writing.done)):
        if front and position == reach:
            keep = reach // 2
            gone.append(writing.tokens[:, front : position - keep].numpy())
            writing = decoding.slid(model, writing, told, front, keep)
            left = position - int(writing.position)
            uniforms, past = tf.roll(uniforms, -left, axis=0), past + left
            position -= left
        size = decoding.slots_for(model, position)
        stop = min(total - past, position - position % CHUNK + CHUNK)
        stop = stop if size == reach and not front else min(stop, size)
        writing = decoding.grown(writing, size)
        writing = decoding.write(model, weights, writing, told, uniforms, settings, stop)
        position = int(writing.position)
        if time.monotonic() - told_at > SECONDS or past + position == total:
            told_at = time.monotonic()
            speed = outputs * (past + position - len(primer)) / (told_at - began)
            far = shown(writing) if shown else f"{past + position:,} of {total:,} tokens"
            print(f"{far}, {speed:,.0f} tokens a second", file=sys.stderr)
    tokens = writing.tokens.numpy()[:, :position]
    return np.concatenate([tokens[:, :front], *gone, tokens[:, front:]], axis=1)


def first_seconds(name: str, piece, options):
    """Returns the beginning of a piece, that a transformer goes on from, and says how much.

    Its end would be the end: models learn that pieces end. (So the originals do, too.)

    Args:
        name: Of the piece.
        piece: A NoteSequence.
        options: A `GenerateOptions`.
    """
    from note_seq import sequences_lib

    seconds = PRIMER_SECONDS if options.primer_seconds is None else options.primer_seconds
    if piece.total_time <= seconds:
        if piece.notes:
            print(f"Primer: {name}, {piece.total_time:.1f} s")
        return piece
    print(
        f"Primer: the first {seconds:g} of {piece.total_time:.1f} s of {name}; --primer_seconds "
        "takes more or less"
    )
    return sequences_lib.extract_subsequence(piece, 0, seconds)

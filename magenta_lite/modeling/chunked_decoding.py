"""Decoding for `generate`: in chunks, with lines of progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from magenta_lite.modeling import decoding
from magenta_lite.modeling.decoding import CachedDecoder, DecodeState
from magenta_lite.modeling.sampling import Sampler
from magenta_lite.typing import NoteSequence

CHUNK = 256  # tokens between two looks at the clock
SECONDS = 2.0  # between two lines of progress
PRIMER_SECONDS = 20.0  # as in Magenta's notebooks


def generate_tokens(
    model: CachedDecoder, primer: list[int], options: Any, total: int, inputs: Any = None
) -> np.ndarray:
    """Returns int32 (N, T), a primer and its continuation, T at most `total`.

    Args:
        model: A trained model whose cache is a ring.
        primer: Tokens to continue.
        options: Has `num_outputs`, `seed` and the settings of a `Sampler`.
        total: Tokens of each output, primer included.
        inputs: What the model's `condition` reads.
    """
    ids, outputs = np.array(primer, np.int32), options.num_outputs
    state, conditioning = decoding.begin(model, ids, outputs, total, inputs)
    uniforms = decoding.token_uniforms(options.seed, outputs, decoding.buffer_length(total))
    progress = Progress(outputs, len(primer), total)
    sampler = Sampler.of(options)
    state = decode_until(model, state, conditioning, uniforms, sampler, total, progress)
    return state.tokens.numpy()[:, : int(state.position)]


class Progress:
    """Prints how far the decoding of some pieces is, every few seconds.

    Args:
        num_outputs: How many pieces.
        start: Tokens of each that are there.
        total: Tokens of each at the end.
        describe: Returns how far a `DecodeState` is; None for its share of `total`.

    Attributes:
        removed: Tokens of each that were removed from its front.
    """

    def __init__(
        self,
        num_outputs: int,
        start: int,
        total: int,
        describe: Callable[[DecodeState], str] | None = None,
    ):
        self._outputs, self._start, self._total = num_outputs, start, total
        self._describe = describe
        self._began = self._printed = time.monotonic()
        self.removed = 0

    def update(self, state: DecodeState) -> None:
        """Prints a line if it is time, or the last token is drawn."""
        done, now = self.removed + int(state.position), time.monotonic()
        if now - self._printed <= SECONDS and done < self._total:
            return
        self._printed = now
        speed = self._outputs * (done - self._start) / (now - self._began)
        share = f"{done:,} of {self._total:,} tokens"
        far = self._describe(state) if self._describe else share
        print(f"{far}, {speed:,.0f} tokens a second", file=sys.stderr)


def decode_until(
    model: CachedDecoder,
    state: DecodeState,
    conditioning: Any,
    uniforms: Any,
    sampler: Sampler,
    stop: int,
    progress: Progress,
) -> DecodeState:
    """Draws tokens until position `stop`, or until all pieces have ended.

    Args:
        model: The model.
        state: To go on from.
        conditioning: Of every step, as of `decoding.begin`.
        uniforms: Float32 (T, N) in [0, 1).
        sampler: How tokens are drawn.
        stop: At most the model's `attention_span`, unless its cache may be a ring.
        progress: Is updated after each chunk.
    """
    weights, sampler = model.step_weights(), sampler.tensors()
    position = int(state.position)
    while position < stop and not bool(np.all(state.done)):
        slots = decoding.slots_for(model, position)
        end = min(stop, position - position % CHUNK + CHUNK)
        end = end if slots == model.attention_span else min(end, slots)
        state = decoding.with_slots(state, slots)
        state = decoding.decode(model, weights, state, conditioning, uniforms, sampler, end)
        position = int(state.position)
        progress.update(state)
    return state


def first_seconds(name: str, piece: NoteSequence, options: Any) -> NoteSequence:
    """Returns the beginning of a piece, which a transformer continues, and prints its length.

    Its end would be the end: models learn that pieces end, as the originals do.

    Args:
        name: Of the piece.
        piece: A NoteSequence.
        options: Of the family, with `primer_seconds`.
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

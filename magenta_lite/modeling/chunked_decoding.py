"""Decoding in chunks for `generate`, with printed progress."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from magenta_lite.modeling import decoding
from magenta_lite.modeling.decoder_interface import CachedDecoder
from magenta_lite.modeling.decoding import DecodeState
from magenta_lite.modeling.limits import check_memory
from magenta_lite.modeling.sampling import Sampler, seeds_of, step_uniforms
from magenta_lite.typing import NoteSequence

CHUNK = 256  # tokens between two checks of the clock
SECONDS = 2.0  # minimum time between two lines of progress
PRIMER_SECONDS = 20.0  # as in Magenta's notebooks


def generate_tokens(
    model: CachedDecoder,
    primer: list[int],
    options: Any,
    total: int,
    inputs: Any = None,
    describe: Callable[[DecodeState], str] | None = None,
) -> np.ndarray:
    """Returns a primer and its continuations, int32 (N, T), T at most `total` tokens.

    `inputs` are those of `model.condition`, `describe` is that of `Progress`.

    Raises:
        UserError: If the caches need more memory than the machine has.
    """
    ids, outputs = np.array(primer, np.int32), options.num_outputs
    check_memory(outputs, 4 * outputs * model.slot_size * decoding.slots_for(model, total - 1))
    state, conditioning = decoding.begin(model, ids, outputs, total, inputs)
    uniforms = step_uniforms(seeds_of(options), decoding.buffer_length(total))
    progress = Progress(outputs, len(primer), total, describe)
    sampler = Sampler.of(options)
    state = decode_until(model, state, conditioning, uniforms, sampler, total, progress)
    return state.tokens.numpy()[:, : int(state.position)]


class Progress:
    """Prints the progress of decoding every few seconds.

    Args:
        num_outputs: Number of pieces.
        start: Initial length of each piece in tokens.
        total: Final length of each piece in tokens.
        describe: Returns the progress of a `DecodeState` in words; None for its share of `total`.
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

    def update(self, state: DecodeState) -> None:
        """Prints a line if `SECONDS` have passed, or after the last token."""
        done, now = int(state.position), time.monotonic()
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
    forced: Any = None,
) -> DecodeState:
    """Does the same as `decoding.decode`, in chunks, and beyond the cache and the context."""
    weights, sampler = model.step_weights(), sampler.tensors()
    position, full = int(state.position), model.context_length
    while position < stop and not bool(np.all(state.done)):
        if model.slides and position - int(state.left_out) >= full:
            state = decoding.slid(model, state, conditioning)
        left_out = int(state.left_out)
        slots = decoding.slots_for(model, position - left_out)
        end = min(stop, position - position % CHUNK + CHUNK)
        end = end if slots == model.attention_span else min(end, slots)
        end = min(end, left_out + full) if model.slides else end
        state = decoding.with_slots(state, slots)
        state = decoding.decode(model, weights, state, conditioning, uniforms, sampler, end, forced)
        position = int(state.position)
        progress.update(state)
    return state


def first_seconds(name: str, piece: NoteSequence, options: Any) -> NoteSequence:
    """Returns the first `options.primer_seconds` of a piece as a primer, and prints their length.

    After a whole piece models would predict its end, as they have learned.
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

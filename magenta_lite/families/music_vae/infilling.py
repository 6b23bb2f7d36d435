"""Bars of a piece rewritten by a MusicVAE, in windows whose other bars stay.

A window with bars to keep is decoded from many candidates in latent space, of which the one is
taken that makes the kept bars most probable. The bars that are rewritten are not encoded: a copy of
the nearest kept bar is, in their place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow as tf

from magenta_lite.converters.musenet.vocabulary import instrument_of
from magenta_lite.families.music_vae.encoders import swap_axes
from magenta_lite.families.music_vae.latent_space import slerp
from magenta_lite.families.music_vae.latents import as_batch, padded
from magenta_lite.graphs import inner_graph
from magenta_lite.modeling.gaps import Gap, NewNote
from magenta_lite.modeling.sampling import Sampler
from magenta_lite.typing import NoteSequence, Tensor

if TYPE_CHECKING:
    from magenta_lite.families.music_vae.model import MusicVAE
    from magenta_lite.families.music_vae.options import MusicVAEOptions

CANDIDATES = 256  # for each output; one half from the posterior, one half from the prior
QPM, BAR = 120.0, 2.0  # tempo of decoded windows, and their seconds a bar
EARLY = 1e-6  # bars


class Window(NamedTuple):
    """A window that overlaps the bars to rewrite.

    Attributes:
        bar: Its first bar, from 0.
        events: The input's events, (T, *event_shape); silence where the input has none.
        chords: Chord classes int (T,); None for a model without chords.
        kept: Bool (T,), the steps of kept bars.
    """

    bar: int
    events: np.ndarray
    chords: np.ndarray | None
    kept: np.ndarray


def first_bars(gap: Gap, bars: int) -> list[int]:
    """Returns the first bars, from 0, of windows of `bars` bars that cover a gap.

    They lie so that at least one bar on each side of the gap is in a window, if the piece has one.
    """
    first, count = gap.first - 1, gap.last - gap.first + 1
    windows = -(-(count + 2) // bars)
    start = max(first - (windows * bars - count) // 2, 0)
    start = max(min(start, len(gap.lines) - 1 - windows * bars), 0)
    starts = range(start, start + windows * bars, bars)
    return [bar for bar in starts if bar + bars > first and bar < gap.last]


def with_copies(events: np.ndarray, kept: np.ndarray, steps: int) -> np.ndarray:
    """Returns events (T, ...) whose bars that are not kept are copies of the nearest kept ones.

    Args:
        events: Events of a window.
        kept: Bool (T,), at least one bar.
        steps: Length of a bar in steps.
    """
    bars = events.reshape(-1, steps, *events.shape[1:])
    there = np.flatnonzero(kept[::steps])
    nearest = [there[np.argmin(np.abs(there - bar))] for bar in range(len(bars))]
    return bars[nearest].reshape(events.shape)


class Filler:
    """Fills windows with a model.

    Args:
        model: The model.
        options: Settings of sampling.
        steps: Length of a bar in steps.
    """

    def __init__(self, model: MusicVAE, options: MusicVAEOptions, steps: int):
        self._model, self._sampler, self._steps = model, Sampler.of(options).tensors(), steps
        self._graph = inner_graph(self._decoded)

    def filled(self, windows: list[Window], seed: int) -> list[np.ndarray]:
        """Returns the events (T, ...) of the windows of one output; kept bars are as they were.

        The latent vectors of windows without kept bars lie on arcs between their neighbours'.
        """
        best = {i: self.best(w, seed + i) for i, w in enumerate(windows) if w.kept.any()}
        known = {i: z for i, (z, _) in best.items()}
        if not known:
            known[0] = self._model.latents(self._model.noise(1, seed))[0]
        events = {i: of_window for i, (_, of_window) in best.items()}
        for i, window in enumerate(windows):
            if i not in events:
                decoded, _ = self.decoded(_on_arc(known, i)[None], window, seed + i)
                events[i] = decoded[0]
        return [events[i].numpy() for i in range(len(windows))]

    def best(self, window: Window, seed: int) -> tuple[Tensor, Tensor]:
        """Returns latent vector (Z,) and events (T, ...) of the candidate that fits best.

        It is the one that makes the kept bars of the window most probable.
        """
        model = self._model
        copied = with_copies(window.events, window.kept, self._steps)
        chords = None if window.chords is None else [window.chords]
        posterior = model.encode(**as_batch(model, [copied], chords))
        near, far = tf.split(model.noise(CANDIDATES, seed), 2)
        near = posterior.mean() + posterior.stddev() * near
        z = tf.concat([near, model.latents(far)], axis=0)
        events, score = self.decoded(z, window, seed)
        best = int(tf.argmax(score))
        return z[best], events[best]

    def decoded(self, z: Tensor, window: Window, seed: int) -> tuple[Tensor, Tensor]:
        """Decodes latent vectors (B, Z) around the kept bars of a window.

        Returns:
            Events (B, T, ...), with the window's own where it is kept; and float32 (B,), the log
            probability of these in nats.
        """
        model = self._model
        given = tf.cast(padded([window.events], model.length)[0], model.head.event_dtype)
        chords = None if window.chords is None else tf.constant(window.chords, tf.int32)
        return self._graph(z, given, tf.constant(window.kept), tf.constant(seed), chords)

    def _decoded(self, z, given, kept, seed, controls):
        model, rows = self._model, tf.shape(z)[0]
        draw = model.decoder.choose_with(model.uniforms(rows, seed), self._sampler)
        given = tf.repeat(given[:, None], rows, axis=1)

        def choose(t, k, parameters):
            return tf.where(kept[t], model.decoder.part(given[t], k), draw(t, k, parameters))

        events, logits = model.decoder.decode(z, choose, model.repeated(controls, rows))
        nll = model.head.nll(logits, given)
        return swap_axes(events), -tf.reduce_sum(tf.where(kept[:, None], nll, 0.0), axis=0)


def _on_arc(known: dict[int, Tensor], place: int) -> Tensor:
    """Returns the vector (Z,) at a place between known ones, or the nearest one beyond them."""
    before = max((i for i in known if i <= place), default=min(known))
    after = min((i for i in known if i >= place), default=before)
    if not before < place < after:
        return known[before]
    return slerp(known[before], known[after], after - before + 1)[place - before]


def new_notes(gap: Gap, bar: int, decoded: NoteSequence) -> list[NewNote]:
    """Returns the notes of a decoded window at `QPM` that begin in the gap.

    Args:
        gap: The gap.
        bar: First bar of the window, from 0.
        decoded: The window.
    """
    found, lines = [], np.arange(len(gap.lines))
    for note in decoded.notes:
        start, end = (bar + time / BAR for time in (note.start_time, note.end_time))
        if gap.first - 1 - EARLY <= start < gap.last - EARLY:
            player = _part(note.program, note.is_drum)
            fitting = [t for t in gap.tracks if _part(*t.key[1:]) == player]
            if player == "melody":  # whatever plays it
                fitting = fitting or [track for track in gap.tracks if not track.key[2]]
            if not fitting:  # the piece lacks this part
                continue
            track = min(fitting, key=lambda track: abs(track.pitch - note.pitch))
            start, end = np.interp([start, end], lines, gap.lines).tolist()
            found.append(NewNote(note.pitch, track.velocity, start, end, track.key))
    return found


def _part(program: int, is_drum: bool) -> str:
    """Returns the part of a trio that a program plays."""
    name = instrument_of(program, is_drum).name
    return name if name in ("drums", "bass") else "melody"

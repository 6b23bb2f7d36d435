"""Bars of a chorale rewritten by a Music Transformer, by sequential Monte Carlo.

The bars before, and voices that stay, are given as the model writes; the bars after decide between
its versions. See `particles`.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from magenta_lite.converters.base import Report
from magenta_lite.converters.chorale import FIRST_PITCH, FREE, SILENT, VOICES, grid_of
from magenta_lite.converters.grid import seconds_at, steps_at, tempo_map, to_steps
from magenta_lite.converters.score import Score
from magenta_lite.errors import UserError
from magenta_lite.modeling.gaps import EARLY, LEAST_SEEN, Gap, NewNote, Track
from magenta_lite.modeling.particles import complete

if TYPE_CHECKING:
    from magenta_lite.converters.chorale import ChoraleConverter
    from magenta_lite.families.music_transformer.model import MusicTransformer
    from magenta_lite.families.music_transformer.options import MusicTransformerOptions


class Rewritten(NamedTuple):
    """What is rewritten of a chorale.

    Attributes:
        gap: The bars; no note of its tracks lasts beyond them.
        tracks: The track of each rewritten voice, by the number of the voice.
        ids: Int (T, 4), the ids of all steps; `FREE` where the model writes.
        start: First step of the bars.
        end: The step after the bars.
        tempos: The `tempo_map` of steps.
    """

    gap: Gap
    tracks: dict[int, Track]
    ids: np.ndarray
    start: int
    end: int
    tempos: list[tuple[float, float, float]]


def filled(
    model: MusicTransformer,
    gap: Gap,
    options: MusicTransformerOptions,
    converter: ChoraleConverter,
) -> list[Any]:
    """Returns NoteSequences with a gap of a chorale filled in, `options.num_outputs`.

    Raises:
        UserError: If the piece is no chorale, or has not the voices, or the gap leaves no room for
            the music around it.
    """
    what = rewritten(gap, converter, options.tracks)
    first, last = in_sight(what, model.context_length)
    given = what.ids[first:last].ravel()
    pieces = complete(model, given, options, options.particles, VOICES)
    return [what.gap.filled(new_notes(what, piece, first, converter)) for piece in pieces]


def rewritten(gap: Gap, converter: ChoraleConverter, names: tuple[str, ...]) -> Rewritten:
    """Returns what is rewritten of the voices `names`, of all if there are none."""
    report, score = Report(), Score.of(gap.sequence)
    voices = converter.voices(score, report)
    tempos = tempo_map(score, converter.config.steps_per_quarter)
    if voices is None or tempos is None:
        raise UserError(f"{gap.name} has no voices to rewrite: {report.main_reason()}")
    numbers = converter.numbers_of(names) or range(len(voices))
    if max(numbers) >= len(voices):
        raise UserError(
            f"{gap.name} has {len(voices)} voices, the highest first; --tracks={','.join(names)} "
            "names others"
        )

    number_of = {int(voices[number].instrument[0]): number for number in numbers}
    playing = [t for t in gap.tracks if t.key[0] in number_of and not t.key[2]]
    gap = _without_ties(dataclasses.replace(gap, tracks=tuple(playing)))
    tracks = {
        number: next(t for t in playing if t.key[0] == instrument)
        for instrument, number in number_of.items()
    }
    start, end = to_steps(steps_at(tempos, np.array([gap.start, gap.end])), 1).tolist()
    grid = grid_of(voices, range(len(voices)))
    ids = np.full((max(len(grid), end), VOICES), SILENT)
    ids[: len(grid)] = np.reshape(converter.ids_of_grid(grid)[: grid.size], grid.shape)
    free = np.zeros(ids.shape, bool)
    free[start:end, list(numbers)] = True
    for note in gap.part(~gap.removed()).notes:  # those that sound into the bars stay
        if note.instrument in number_of and not note.is_drum:
            times = np.array([note.start_time, note.end_time])
            begin, stop = to_steps(steps_at(tempos, times), 1)
            free[begin:stop, number_of[note.instrument]] = False
    ids[free] = FREE
    return Rewritten(gap, tracks, ids, start, end, tempos)


def in_sight(what: Rewritten, context: int) -> tuple[int, int]:
    """Returns the first step, and the one after the last, that the model reads and writes.

    There are as many before the bars as after them if there are enough on both sides.

    Raises:
        UserError: If the gap leaves no room for the music around it.
    """
    room = context // VOICES - (what.end - what.start)
    if room < context // VOICES * LEAST_SEEN:
        tokens = VOICES * (what.end - what.start)
        raise UserError(
            f"{what.gap.name}: {what.gap.bars} are {tokens} tokens, and the model sees {context}; "
            "rewrite fewer bars"
        )
    after = min(len(what.ids) - what.end, max(room // 2, room - what.start))
    return max(what.start - (room - after), 0), what.end + after


def new_notes(
    what: Rewritten, piece: np.ndarray, first: int, converter: ChoraleConverter
) -> list[NewNote]:
    """Returns the notes that tokens (T * 4,) from step `first` on write; equal pitches are one."""
    column = np.pad(piece, (0, -len(piece) % VOICES)).reshape(-1, VOICES)[what.start - first :]
    times = {what.start: what.gap.start, what.end: what.gap.end}
    found = []
    for number, track in what.tracks.items():
        free = what.ids[what.start : what.end, number] == FREE
        written = np.where(free, column[: len(free), number], SILENT)
        edges = np.flatnonzero(np.diff(written, prepend=-1, append=-1))
        for begin, stop in itertools.pairwise(edges.tolist()):
            if written[begin] < FIRST_PITCH:
                continue
            pitch = int(written[begin]) - FIRST_PITCH + converter.config.min_pitch
            start, end = (
                times.get(step, seconds_at(what.tempos, step))
                for step in (what.start + begin, what.start + stop)
            )
            found.append(NewNote(pitch, track.velocity, start, end, track.key))
    return found


def _without_ties(gap: Gap) -> Gap:
    """Returns the gap of a piece whose notes that last beyond it are two, of which one stays."""
    whole = type(gap.sequence)()
    whole.CopyFrom(gap.sequence)
    for note, is_removed in zip(gap.sequence.notes, gap.removed(), strict=True):
        if is_removed and note.end_time > gap.end + EARLY:
            rest = whole.notes.add()
            rest.CopyFrom(note)
            rest.start_time = gap.end
    return dataclasses.replace(gap, sequence=whole)

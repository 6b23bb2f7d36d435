"""Bars of a performance rewritten by a Music Transformer, which sees the music before and after."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING, Any

from magenta_lite.converters.base import Report
from magenta_lite.converters.pedal import without_pedal
from magenta_lite.errors import UserError
from magenta_lite.modeling.chunked_decoding import generate_tokens
from magenta_lite.modeling.gaps import Gap, NewNote

if TYPE_CHECKING:
    from magenta_lite.converters.performance import PerformanceConverter
    from magenta_lite.families.music_transformer.model import MusicTransformer
    from magenta_lite.families.music_transformer.options import MusicTransformerOptions


def filled(
    model: MusicTransformer,
    gap: Gap,
    options: MusicTransformerOptions,
    converter: PerformanceConverter,
) -> list[Any]:
    """Returns NoteSequences with a gap of a performance filled in, `options.num_outputs`.

    All instruments except drums are rewritten together, as the model plays them as one piano. The
    pedal is not pressed in the gap, since the ends of new notes include it.

    Raises:
        UserError: If only drums play, or the gap leaves no room for the music around it.
    """
    melodic = tuple(track for track in gap.tracks if not track.key[2])
    if not melodic:
        raise UserError(f"{gap.name} has no notes but drums, which this model does not write")
    gap = dataclasses.replace(gap, tracks=melodic)
    length = model.training_length
    primer = primer_of(gap, converter, length)
    rows = generate_tokens(model, primer, options, length, _steps(gap, converter))
    pieces = [gap.filled(new_notes(gap, row[len(primer) :], converter)) for row in rows]
    return [without_pedal(piece, gap.start, gap.end) for piece in pieces]


def primer_of(gap: Gap, converter: PerformanceConverter, context: int) -> list[int]:
    """Returns the tokens before the new notes of a gap.

    Of the music around the gap, what does not fit into the context beside new notes is left out.

    Raises:
        UserError: If the gap leaves no room for the music around it.
    """
    gaps, rate = converter.gaps, converter.codec.steps_per_second
    ids = converter.ids_of_notes(converter.notes_of(gap.sequence, Report()), 1.0)
    start, steps = round(gap.start * rate), _steps(gap, converter)
    parts = gaps.layout(gaps.changes(ids), start, start + steps)
    mean = len(ids) * steps / max(converter.codec.steps(ids.tolist()), 1)
    _, room = gap.tokens(len(parts.middle) - 2, mean, len(parts.gap) + 2, context)
    later, before = parts.around(room)
    return [*later.tolist(), gaps.before, *before.tolist(), gaps.middle]


def new_notes(gap: Gap, ids: Any, converter: PerformanceConverter) -> list[NewNote]:
    """Returns the notes of ids int (T,) that fill a gap; each plays in the track nearest to it."""
    codec, end = converter.codec, converter.gaps.end
    ids = [int(id) for id in ids if id != end]
    missing = _steps(gap, converter) - codec.steps(ids)
    if missing > 0:
        seconds = missing / codec.steps_per_second
        print(f"{gap.bars}: no tokens were left for the last {seconds:.1f} s", file=sys.stderr)
    found = []
    for note in codec.decoded(ids):
        track = min(gap.tracks, key=lambda track: abs(track.pitch - note.pitch))
        begin, stop = (gap.start + time / codec.steps_per_second for time in (note.start, note.end))
        found.append(NewNote(note.pitch, note.velocity, begin, stop, track.key))
    return found


def _steps(gap: Gap, converter: PerformanceConverter) -> int:
    """Returns the length of a gap in steps."""
    rate = converter.codec.steps_per_second
    return round(gap.end * rate) - round(gap.start * rate)

"""Bars of a piece rewritten by a MuseNet, which sees the music before and after them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from magenta_lite.converters.musenet import codec, vocabulary
from magenta_lite.converters.musenet.codec import NoteColumns
from magenta_lite.converters.musenet.converter import families_of
from magenta_lite.converters.musenet.infill import layout
from magenta_lite.converters.musenet.rules import tables
from magenta_lite.families.musenet.grammar import Constraints, Span
from magenta_lite.modeling.gaps import Gap, NewNote

if TYPE_CHECKING:
    from magenta_lite.converters.musenet.converter import MuseNetConverter
    from magenta_lite.families.musenet.options import MuseNetOptions

RATE = vocabulary.UNITS_PER_SECOND


def primer_of(
    gap: Gap, options: MuseNetOptions, converter: MuseNetConverter, context: int
) -> tuple[list[int], int, Constraints]:
    """Returns the tokens before the new notes of a gap.

    Of the music around the gap, what does not fit into the context is left out.

    Args:
        gap: What is rewritten.
        options: Style, controls and guidance.
        converter: Converter of the piece.
        context: Context length in tokens.

    Returns:
        The tokens, the largest number of tokens with the new notes, and their constraints.

    Raises:
        UserError: If the gap leaves no room for the music around it.
    """
    kept = NoteColumns.of(converter.notes_of(gap.part(~gap.removed())))
    notes = converter.notes_of(gap.sequence)
    playing = {vocabulary.instrument_of(*track.key[1:]) for track in gap.tracks}
    own = NoteColumns.of(note for note in notes if note.instrument in playing)
    start, end = _span(gap)
    last = max([end, *(note.end for note in notes)])
    families = {player.family for player in playing}
    parts = layout(kept, np.zeros(len(kept.start), bool), start, end, families, last)

    there = own.at((own.start >= start) & (own.start < end))
    as_before = len(codec.with_waits(*codec.events(there), start))
    usual = len(codec.ids_of(own)) * (end - start) / last
    front = converter.prefix(options.style or converter.style_of(gap.sequence), families_of(notes))
    told = options.control_ids()
    front += told
    marks = parts.middle[:2]
    fixed = len(front) + len(parts.gap) + 1 + len(marks)
    new, room = gap.tokens(as_before, usual, fixed, context)
    later, before = parts.around(room)
    seen = [*later.tolist(), vocabulary.BEFORE, *before.tolist()]
    constraints = Constraints(
        units=last,
        allowed=vocabulary.played_by(player.name for player in playing),
        guidance=None if options.guidance == 1 else options.guidance,
        span=Span(start, end - start, int(tables().units[seen].sum())),
        controls=len(told) or None,
    )
    primer = [*front, *seen, *marks.tolist()]
    return primer, len(primer) + new, constraints


def new_notes(gap: Gap, ids: np.ndarray) -> list[NewNote]:
    """Returns the notes of the ids int (T,) that fill a gap, and may lack an end."""
    decoded, (start, end) = codec.decode(ids), _span(gap)
    if decoded.units < end - start:
        missing = (end - start - decoded.units) / RATE
        print(f"{gap.bars}: no tokens were left for the last {missing:.1f} s", file=sys.stderr)
    found = []
    for note in codec.repaired(decoded.notes):
        is_drum = note.instrument is vocabulary.DRUMS
        track = gap.track_for(note.instrument.program, is_drum, note.pitch)
        begin, stop = (gap.start + time / RATE for time in (note.start, note.end))
        has_volumes = note.instrument is vocabulary.PIANO
        velocity = note.velocity if has_volumes else track.velocity
        found.append(NewNote(note.pitch, velocity, begin, stop, track.key))
    return found


def _span(gap: Gap) -> tuple[int, int]:
    """Returns start and end of a gap in units."""
    return round(gap.start * RATE), round(gap.end * RATE)

"""Selection of the instrument that plays the melody of a piece."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, NamedTuple

from magenta_lite.typing import NoteSequence

MELODY_NAMES = re.compile(r"melod|lead(?!er)|vocal|voice|vox|sing|solo|tune|cantus|soprano", re.I)
OTHER_NAMES = re.compile(
    r"bass|drum|perc|pad\b|chord|rhythm|comp\b|accomp|harmon(y|ies)|left|\blh\b|tenor|alto", re.I
)
BASS_PROGRAMS = range(32, 40)
LOWEST_MELODY = 48.0  # mean MIDI pitch; lower tracks are basses
MIDDLE_C, TWO_OCTAVES = 60, 24


class Track(NamedTuple):
    """A melodic instrument of a piece.

    Attributes:
        instrument: Number of the instrument in the NoteSequence.
        name: Display name with a number from 1, e.g. "track 2 'Lead'".
        notes: Notes of the instrument, in the order of the NoteSequence.
    """

    instrument: int
    name: str
    notes: list[Any]

    def alone(self, sequence: NoteSequence) -> NoteSequence:
        """Returns `sequence` with the notes of this track only."""
        only = type(sequence)()
        only.CopyFrom(sequence)
        del only.notes[:]
        only.notes.extend(self.notes)
        return only


def melodic_tracks(sequence: NoteSequence) -> list[Track]:
    """Returns the melodic instruments of a NoteSequence, the likeliest melody first.

    The ranking considers name, monophony, number of notes, pitch, and whether it is a bass.
    """
    names = {info.instrument: info.name for info in sequence.instrument_infos}
    parts = {info.part: info.name for info in sequence.part_infos}  # of a score
    by_instrument: dict[int, list] = {}
    for note in sequence.notes:
        if not note.is_drum and note.velocity > 0:
            by_instrument.setdefault(note.instrument, []).append(note)
    most = max(map(len, by_instrument.values()), default=0)
    ranked = []
    for instrument, notes in sorted(by_instrument.items()):
        label = (names.get(instrument) or parts.get(notes[0].part, "")).strip()
        track = Track(instrument, _display_name(instrument, label, notes), notes)
        ranked.append((_score(label, notes, most), track))
    return [track for _, track in sorted(ranked, key=lambda pair: -pair[0])]


def _score(name: str, notes: list, most: int) -> float:
    starts = Counter(note.start_time for note in notes)
    alone = sum(count == 1 for count in starts.values()) / len(starts)
    pitch = sum(note.pitch for note in notes) / len(notes)
    program = Counter(note.program for note in notes).most_common(1)[0][0]
    is_bass = program in BASS_PROGRAMS or pitch < LOWEST_MELODY
    named = bool(MELODY_NAMES.search(name)) - bool(OTHER_NAMES.search(name))
    busy = min(2 * len(notes) / most, 1.0)
    return 4 * named - 3 * is_bass + 2 * alone + busy + (pitch - MIDDLE_C) / TWO_OCTAVES


def _display_name(instrument: int, name: str, notes: list) -> str:
    import pretty_midi

    label = f"'{name}'"
    if not name:
        program = notes[0].program
        known = pretty_midi.program_to_instrument_name(program) if 0 <= program <= 127 else program
        label = f"({known})"
    return f"track {instrument + 1} {label}"

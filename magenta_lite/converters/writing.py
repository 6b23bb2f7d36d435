"""Helpers that write decoded events to a NoteSequence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from magenta_lite.converters.grid import QUARTERS_PER_BAR
from magenta_lite.converters.melody_extraction import NO_EVENT, NOTE_OFF
from magenta_lite.typing import NoteSequence

VELOCITY = 80
DRUM_INSTRUMENT = 9


def new_sequence(qpm: float, metrical: bool = True) -> NoteSequence:
    """Returns a NoteSequence without notes.

    Args:
        qpm: Quarter notes a minute.
        metrical: Whether notes are aligned to beats in 4/4. A performance without a meaningful
            tempo has no time signature, and is plotted in seconds.
    """
    from note_seq import constants
    from note_seq.protobuf import music_pb2

    sequence = music_pb2.NoteSequence(ticks_per_quarter=constants.STANDARD_PPQ)
    sequence.tempos.add(qpm=qpm)
    if metrical:
        sequence.time_signatures.add(numerator=QUARTERS_PER_BAR, denominator=4)
    return sequence


def add_marker(sequence: NoteSequence, text: str, seconds: float) -> None:
    """Adds a labelled marker, which is written to MIDI files and drawn in plots."""
    sequence.text_annotations.add(text=text, time=seconds)


def markers(sequence: NoteSequence) -> list[tuple[float, str]]:
    """Returns the times in seconds and the labels of the markers of a NoteSequence."""
    unknown = sequence.TextAnnotation.UNKNOWN  # neither a chord symbol nor a beat
    return [(a.time, a.text) for a in sequence.text_annotations if a.annotation_type == unknown]


def add_melody(
    sequence: NoteSequence,
    events: Iterable[int],
    seconds: float,
    program: int,
    instrument: int = 0,
    name: str = "Melody",
) -> None:
    """Adds the notes of melody events.

    Args:
        sequence: NoteSequence to add to.
        events: `NO_EVENT`, `NOTE_OFF` or a MIDI pitch for each step.
        seconds: Length of a step.
        program: General MIDI program.
        instrument: Number of the instrument in the NoteSequence.
        name: Name of the track.
    """
    sequence.instrument_infos.add(instrument=instrument, name=name)
    note = None
    for step, event in enumerate([*events, NOTE_OFF]):
        if event == NO_EVENT:
            continue
        if note is not None:
            note.end_time = step * seconds
            sequence.total_time = max(sequence.total_time, note.end_time)
            note = None
        if event != NOTE_OFF:
            note = sequence.notes.add(
                pitch=event,
                velocity=VELOCITY,
                start_time=step * seconds,
                program=program,
                instrument=instrument,
            )


def add_drums(
    sequence: NoteSequence, hits: Iterable[Iterable[int]], pitches: Sequence[int], seconds: float
) -> None:
    """Adds drum notes of one step each.

    Args:
        sequence: NoteSequence to add to.
        hits: Classes hit at each step.
        pitches: MIDI pitch of each class.
        seconds: Length of a step.
    """
    for step, classes in enumerate(hits):
        for drum in classes:
            sequence.notes.add(
                pitch=pitches[drum],
                velocity=VELOCITY,
                start_time=step * seconds,
                end_time=(step + 1) * seconds,
                instrument=DRUM_INSTRUMENT,
                is_drum=True,
            )
            sequence.total_time = max(sequence.total_time, (step + 1) * seconds)

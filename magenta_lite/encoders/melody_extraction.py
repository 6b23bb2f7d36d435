"""Finding the melodies in a NoteSequence, by the rules that Magenta's models were trained with.

A melody is a list of events, one per step: `NO_EVENT` (a note goes on, or silence does),
`NOTE_OFF`, or a MIDI pitch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from magenta_lite.encoders.base import Report

NO_EVENT = -2
NOTE_OFF = -1

DEFAULT_QPM = 120.0


class StepNote(NamedTuple):
    """A note on the grid; the order of its fields is the order melodies are read in."""

    start: int
    falling_pitch: int  # minus the MIDI pitch: the highest of several notes comes first
    end: int


@dataclasses.dataclass
class Stretch:
    """A part of a piece with one tempo and one time signature.

    Attributes:
        notes: NoteSequence notes; drums too.
        qpm: Quarter notes a minute.
        numerator: Of the time signature.
        denominator: Of the time signature.
    """

    notes: Iterable
    qpm: float
    numerator: int
    denominator: int

    def steps_per_bar(self, steps_per_quarter: int) -> float:
        """Returns the length of a bar in steps, which need not be whole; 0 if it has none."""
        if self.denominator == 0:
            return 0.0
        return 4 * steps_per_quarter * self.numerator / self.denominator


def stretches(sequence) -> list[Stretch]:
    """Cuts a NoteSequence where tempo or time signature change.

    A piece starts in 4/4 at 120 quarter notes a minute unless it says otherwise. Notes over a cut
    end there, and time starts again at 0 behind it.
    """
    qpms = {tempo.qpm for tempo in sequence.tempos}
    meters = {(meter.numerator, meter.denominator) for meter in sequence.time_signatures}
    late = [change.time > 0 for change in (*sequence.tempos[:1], *sequence.time_signatures[:1])]
    parts = [sequence]
    if len(qpms) > 1 or len(meters) > 1 or any(late):
        from note_seq import sequences_lib

        parts = sequences_lib.split_note_sequence_on_time_changes(sequence)
    return [_stretch(part) for part in parts]


def _stretch(sequence) -> Stretch:
    qpm = sequence.tempos[0].qpm if sequence.tempos else DEFAULT_QPM
    numerator, denominator = 4, 4
    if sequence.time_signatures:
        meter = sequence.time_signatures[0]
        numerator, denominator = meter.numerator, meter.denominator
    return Stretch(sequence.notes, qpm, numerator, denominator)


def quantize(stretch: Stretch, steps_per_quarter: int) -> Iterator[tuple[int, int, object]]:
    """Yields (start, end, note) in steps for each note; a note lasts at least one step."""
    steps_per_second = steps_per_quarter * stretch.qpm / 60
    for note in stretch.notes:
        start = math.floor(note.start_time * steps_per_second + 0.5)
        end = math.floor(note.end_time * steps_per_second + 0.5)
        yield start, max(end, start + 1), note


def extract_melodies(
    notes: list[StepNote],
    *,
    steps_per_bar: int,
    gap_bars: float,
    max_bars: int,
    skip_polyphony: bool,
    leading_bars: int,
    report: Report,
) -> list[list[int]]:
    """Returns the melodies of one instrument, each starting and ending on a bar line.

    - A melody starts with the bar of its first note, and ends before `gap_bars` of silence.
    - Of several notes that start together the highest counts.
    - A note that starts while another sounds ends it, and with it whatever was to come.
    - The last bar is filled up with silence.

    Args:
        notes: Of one instrument.
        steps_per_bar: Length of a bar.
        gap_bars: Bars of silence after which a new melody begins.
        max_bars: Longer melodies are cut.
        skip_polyphony: Give up at the first two notes that start together.
        leading_bars: How many silent bars before the first melody to keep.
        report: Counts what is left out.
    """
    notes = sorted(notes)
    melodies = []
    search_from = 0
    while True:
        notes = [note for note in notes if note.start >= search_from]
        if not notes:
            return melodies
        start = notes[0].start // steps_per_bar * steps_per_bar
        if not melodies:
            start = max(0, start - leading_bars * steps_per_bar)
        events = _one_melody(notes, start, gap_bars * steps_per_bar, skip_polyphony, report)
        if events is None:
            return melodies
        if len(events) % steps_per_bar == 1:
            events.pop()  # a note-off on the bar line after the end
        events += [NO_EVENT] * (-len(events) % steps_per_bar)
        search_from = start + len(events)
        if len(events) > max_bars * steps_per_bar:
            report.drop(f"melody longer than {max_bars} bars is cut")
            events = events[: max_bars * steps_per_bar]
        melodies.append(events)


def _one_melody(notes, origin, gap_steps, skip_polyphony, report) -> list[int] | None:
    """Returns the events of the first melody in sorted `notes`; None to give the instrument up."""
    events: list[int] = []
    last_start = last_end = None
    for note in notes:
        start, end = note.start - origin, note.end - origin
        if last_start is not None:
            if start == last_start and skip_polyphony:
                report.drop("instrument with notes that start together")
                return None
            if start == last_start:
                report.drop("lower note of several that start together")
                continue
            if start - last_end >= gap_steps:
                break
        del events[start:]
        events += [NO_EVENT] * (start - len(events))
        events += [-note.falling_pitch, *[NO_EVENT] * (end - start - 1), NOTE_OFF]
        last_start, last_end = start, end
    return events


def as_fresh_melody(events: list[int]) -> list[int]:
    """Returns a cut-out part as a melody of its own: no note-off before its first note."""
    first = next((i for i, event in enumerate(events) if event >= 0), len(events))
    return [NO_EVENT] * first + events[first:]

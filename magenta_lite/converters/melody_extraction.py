"""Extraction of the melodies of an instrument, by the rules of Magenta's training data.

A melody is a list of events, one per step: `NO_EVENT` (a note or a rest continues), `NOTE_OFF`, or
a MIDI pitch.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from magenta_lite.converters.base import Reason, Report, pitch_outside
from magenta_lite.converters.grid import Stretch, quantize

NO_EVENT = -2
NOTE_OFF = -1
TOGETHER = 0.001  # seconds; largest difference between onsets that are the same


class StepNote(NamedTuple):
    """A quantized note; its fields define the order in which melodies are extracted.

    Attributes:
        start: Step of the onset.
        falling_pitch: Minus the MIDI pitch, so that higher notes come first.
        end: Step of the end.
        onset: Time of the onset in seconds, before quantization.
    """

    start: int
    falling_pitch: int
    end: int
    onset: float


class Melody(NamedTuple):
    """Events from the step `start`; both ends are on bar lines."""

    start: int
    events: list[int]


def notes_by_instrument(
    stretch: Stretch,
    steps_per_quarter: int,
    pitches: tuple[int, int],
    report: Report,
    programs: tuple[int, int] | None = None,
) -> list[tuple[int, list[StepNote]]]:
    """Returns the melodic notes of each instrument, in the order of the instruments' numbers.

    Notes outside the lowest and highest MIDI pitch `pitches` and General MIDI program `programs`
    (None for all) are dropped.
    """
    by_instrument: dict[int, list[StepNote]] = {}
    for start, end, note in quantize(stretch, steps_per_quarter):
        if note.is_drum:
            report.drop("drum note")
        elif programs and not programs[0] <= note.program <= programs[1]:
            reason = Reason.with_setting(
                f"note of a program outside {programs[0]}-{programs[1]}",
                "--set converter.programs=null reads the notes of every program",
            )
            report.drop(reason)
        elif not pitches[0] <= note.pitch <= pitches[1]:
            report.drop(pitch_outside(*pitches))
        elif note.velocity <= 0:
            report.drop("note of velocity 0")
        else:
            notes = by_instrument.setdefault(note.instrument, [])
            notes.append(StepNote(start, -note.pitch, end, note.start_time))
    return sorted(by_instrument.items())


def extract_melodies(
    notes: list[StepNote],
    *,
    steps_per_bar: int,
    gap_bars: float = math.inf,
    max_bars: float = math.inf,
    skip_polyphony: bool = False,
    leading_bars: int = 0,
    steps_per_quarter: int = 4,
    report: Report,
) -> list[Melody]:
    """Returns the melodies of one instrument, each starting and ending on a bar line.

    - A melody starts with the bar of its first note, and ends before `gap_bars` of silence.
    - Of several notes that start together only the highest is kept.
    - A note ends the previous note if that still sounds.
    - The last bar is padded with silence.

    Args:
        notes: Notes of one instrument.
        steps_per_bar: Length of a bar.
        gap_bars: Bars of silence after which a new melody begins; infinity for one melody.
        max_bars: Maximum length; longer melodies are truncated.
        skip_polyphony: Stop at the first two notes that start together.
        leading_bars: Maximum number of silent bars to keep before the first melody.
        steps_per_quarter: Grid resolution, for the reasons.
        report: Collects the counts of dropped items.
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
        step = f"{4 * steps_per_quarter}th"
        events = _one_melody(notes, start, gap_bars * steps_per_bar, skip_polyphony, step, report)
        if events is None:
            return melodies
        if len(events) % steps_per_bar == 1:
            events.pop()  # a note-off on the bar line after the end
        events += [NO_EVENT] * (-len(events) % steps_per_bar)
        search_from = start + len(events)
        if len(events) > max_bars * steps_per_bar:
            report.drop(f"melody longer than {max_bars} bars is cut")
            events = events[: int(max_bars * steps_per_bar)]
        melodies.append(Melody(start, events))


def _one_melody(notes, origin, gap_steps, skip_polyphony, step, report) -> list[int] | None:
    """Returns the events of the first melody in sorted `notes`; None to stop the extraction."""
    events: list[int] = []
    last_start = last_end = last_onset = None
    for note in notes:
        start, end = note.start - origin, note.end - origin
        if last_start is not None:
            if start == last_start:
                together = abs(note.onset - last_onset) < TOGETHER
                where = "that start together" if together else f"on the same {step}"
                if skip_polyphony:
                    report.drop(_polyphony(where))
                    return None
                report.drop(f"lower note of several {where}")
                continue
            if start - last_end >= gap_steps:
                break
        del events[start:]
        events += [NO_EVENT] * (start - len(events))
        events += [-note.falling_pitch, *[NO_EVENT] * (end - start - 1), NOTE_OFF]
        last_start, last_end, last_onset = start, end, note.onset
    return events


def _polyphony(where: str) -> Reason:
    return Reason.with_setting(
        f"instrument with notes {where}",
        "--set converter.skip_polyphony=false takes the highest of several notes",
    )


def as_fresh_melody(events: list[int]) -> list[int]:
    """Returns an excerpt as a separate melody, without note-offs before its first note."""
    first = next((i for i, event in enumerate(events) if event >= 0), len(events))
    return [NO_EVENT] * first + events[first:]


def padded(events: list[int], steps: int) -> list[int]:
    """Returns a melody that ends on a bar line padded with silence to `steps`."""
    if len(events) >= steps:
        return events
    sounding = next((event for event in reversed(events) if event != NO_EVENT), NOTE_OFF)
    silence = NO_EVENT if sounding == NOTE_OFF else NOTE_OFF
    return [*events, silence, *[NO_EVENT] * (steps - len(events) - 1)]

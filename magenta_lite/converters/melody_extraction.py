"""Extraction of the melodies of an instrument, by the rules of Magenta's training data.

A melody has one event per step: `NO_EVENT` (a note or a rest continues), `NOTE_OFF`, or
a MIDI pitch.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from magenta_lite.converters.base import Reason, Report, pitch_outside
from magenta_lite.converters.grid import Stretch, steps_of_notes
from magenta_lite.converters.score import NoteArrays, without

NO_EVENT = -2
NOTE_OFF = -1
TOGETHER = 0.001  # seconds; largest difference between onsets that are the same


class StepNotes(NamedTuple):
    """Quantized notes, int (N,) except `onset`, in the order in which melodies are extracted.

    That is the order of the fields, with higher pitches first.

    Attributes:
        start: Steps of the onsets.
        pitch: MIDI pitches.
        end: Steps of the ends.
        onset: Times of the onsets in seconds, before quantization, float.
    """

    start: np.ndarray
    pitch: np.ndarray
    end: np.ndarray
    onset: np.ndarray

    @classmethod
    def of(cls, start: np.ndarray, end: np.ndarray, notes: NoteArrays) -> StepNotes:
        """Returns sorted notes with the steps `start` and `end`."""
        order = np.lexsort((notes.start, end, -notes.pitch, start))
        return cls(start[order], notes.pitch[order], end[order], notes.start[order])


class Melody(NamedTuple):
    """Events from the step `start`; both ends are on bar lines."""

    start: int
    events: np.ndarray


def notes_by_instrument(
    stretch: Stretch,
    steps_per_quarter: int,
    pitches: tuple[int, int],
    report: Report,
    programs: tuple[int, int] | None = None,
) -> list[tuple[int, StepNotes]]:
    """Returns the melodic notes of each instrument, in the order of the instruments' numbers.

    Notes outside the lowest and highest MIDI pitch `pitches` and General MIDI program `programs`
    (None for all) are dropped.
    """
    starts, ends = steps_of_notes(stretch, steps_per_quarter)
    notes = stretch.notes
    cases: list[tuple[Reason | str, np.ndarray]] = [("drum note", notes.is_drum)]
    if programs:
        reason = Reason.with_setting(
            f"note of a program outside {programs[0]}-{programs[1]}",
            "--set converter.programs=null reads the notes of every program",
        )
        cases.append((reason, (notes.program < programs[0]) | (notes.program > programs[1])))
    outside = (notes.pitch < pitches[0]) | (notes.pitch > pitches[1])
    cases += [(pitch_outside(*pitches), outside), ("note of velocity 0", notes.velocity <= 0)]
    kept = without(report, *cases)
    found = []
    for instrument in np.unique(notes.instrument[kept]).tolist():
        own = kept & (notes.instrument == instrument)
        found.append((instrument, StepNotes.of(starts[own], ends[own], notes[own])))
    return found


def extract_melodies(
    notes: StepNotes,
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
    step = f"{4 * steps_per_quarter}th"
    heard = np.flatnonzero(np.diff(notes.start, prepend=-1))  # the first note of each step
    starts, ends, pitches = notes.start[heard], notes.end[heard], notes.pitch[heard]
    gaps = np.flatnonzero(starts[1:] - ends[:-1] >= gap_bars * steps_per_bar) + 1
    stops = [*gaps.tolist(), len(starts)]
    bounds = np.append(heard, len(notes.start)).tolist()
    lower, together = _lower(notes)
    melodies: list[Melody] = []
    search_from = 0
    while (first := int(np.searchsorted(starts, search_from))) < len(starts):
        stop = stops[np.searchsorted(gaps, first, side="right")]
        span = slice(bounds[first], bounds[stop])
        dropped = together[span][lower[span]]
        if len(dropped) and skip_polyphony:
            report.drop(_polyphony(_where(dropped[0], step)))
            return melodies
        for kind in dict.fromkeys(dropped.tolist()):
            text = f"lower note of several {_where(kind, step)}"
            report.drop(text, n=int((dropped == kind).sum()))
        start = int(starts[first]) // steps_per_bar * steps_per_bar
        if not melodies:
            start = max(0, start - leading_bars * steps_per_bar)
        part = slice(first, stop)
        events = _events(starts[part] - start, ends[part] - start, pitches[part], steps_per_bar)
        search_from = start + len(events)
        if len(events) > max_bars * steps_per_bar:
            report.drop(f"melody longer than {max_bars} bars is cut")
            events = events[: int(max_bars * steps_per_bar)]
        melodies.append(Melody(start, events))
    return melodies


def _lower(notes: StepNotes) -> tuple[np.ndarray, np.ndarray]:
    """Returns which notes are below another of their step, and which begin together with it."""
    lower = np.diff(notes.start, prepend=-1) == 0
    highest = np.maximum.accumulate(np.where(lower, 0, np.arange(len(lower))))
    return lower, np.abs(notes.onset - notes.onset[highest]) < TOGETHER


def _where(together: bool, step: str) -> str:
    return "that start together" if together else f"on the same {step}"


def _events(starts: np.ndarray, ends: np.ndarray, pitches: np.ndarray, bar: int) -> np.ndarray:
    """Returns the events of successive notes, each of which ends the one before, in whole bars."""
    length = int(ends[-1]) + 1
    whole = length - 1 if length % bar == 1 else length + -length % bar
    events = np.full(max(length, whole), NO_EVENT)
    events[ends[np.append(ends[:-1] < starts[1:], True)]] = NOTE_OFF
    events[starts] = pitches
    return events[:whole]  # without the last note-off, if it is on a bar line


def _polyphony(where: str) -> Reason:
    return Reason.with_setting(
        f"instrument with notes {where}",
        "--set converter.skip_polyphony=false takes the highest of several notes",
    )


def as_fresh_melody(events: list[int]) -> list[int]:
    """Returns an excerpt as a separate melody, without note-offs before its first note."""
    first = next((i for i, event in enumerate(events) if event >= 0), len(events))
    return [NO_EVENT] * first + events[first:]


def padded(events: np.ndarray, steps: int) -> np.ndarray:
    """Returns a melody (T,) that ends on a bar line padded with silence to `steps`."""
    if len(events) >= steps:
        return events
    silence = np.full(steps - len(events), NO_EVENT)
    heard = events[events != NO_EVENT]
    if len(heard) and heard[-1] != NOTE_OFF:
        silence[0] = NOTE_OFF
    return np.concatenate([events, silence])

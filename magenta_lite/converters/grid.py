"""Quantization: stretches of constant tempo and meter, and the steps of their notes."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from magenta_lite.converters.base import Reason, Report
from magenta_lite.typing import NoteSequence

_Events = TypeVar("_Events", list[int], np.ndarray)

QUARTERS_PER_BAR = 4
DEFAULT_QPM = 120.0
MAX_STEPS = 1_000_000  # 35 hours of 16ths at 120 quarter notes a minute


@dataclasses.dataclass
class Stretch:
    """A part of a piece with one tempo and one time signature.

    Attributes:
        sequence: A NoteSequence that starts at time 0.
        qpm: Quarter notes a minute.
        numerator: Numerator of the time signature.
        denominator: Denominator of the time signature.
    """

    sequence: Any
    qpm: float
    numerator: int
    denominator: int

    def steps_per_bar(self, steps_per_quarter: int) -> float:
        """Returns the length of a bar in steps, possibly fractional; 0 for an invalid meter."""
        if self.denominator == 0:
            return 0.0
        return 4 * steps_per_quarter * self.numerator / self.denominator

    def steps_per_second(self, steps_per_quarter: int) -> float:
        """Returns the number of steps a second."""
        return steps_per_quarter * self.qpm / 60


def stretches(sequence: NoteSequence) -> list[Stretch]:
    """Splits a NoteSequence at changes of tempo or time signature.

    A piece starts in 4/4 at 120 quarter notes a minute by default. Notes end at the splits, and the
    time of each stretch starts at 0.
    """
    qpms = {tempo.qpm for tempo in sequence.tempos}
    meters = {(meter.numerator, meter.denominator) for meter in sequence.time_signatures}
    late = [change.time > 0 for change in (*sequence.tempos[:1], *sequence.time_signatures[:1])]
    parts = [sequence]
    if len(qpms) > 1 or len(meters) > 1 or any(late):
        from note_seq import sequences_lib

        parts = sequences_lib.split_note_sequence_on_time_changes(_with_full_length(sequence))
    return [_stretch(part) for part in parts]


def _with_full_length(sequence):
    """Returns `sequence` with a total time that includes all notes; later changes are ignored."""
    last = max((note.end_time for note in sequence.notes), default=0.0)
    if sequence.total_time >= last:
        return sequence
    whole = type(sequence)()
    whole.CopyFrom(sequence)
    whole.total_time = last
    return whole


def _stretch(sequence) -> Stretch:
    qpm = sequence.tempos[0].qpm if sequence.tempos else DEFAULT_QPM
    numerator, denominator = 4, 4
    if sequence.time_signatures:
        meter = sequence.time_signatures[0]
        numerator, denominator = meter.numerator, meter.denominator
    return Stretch(sequence, qpm, numerator, denominator)


def is_playable(sequence: NoteSequence, report: Report) -> bool:
    """Returns whether a NoteSequence has notes, all at valid times, or reports why not."""
    if not sequence.notes:
        report.drop("no notes")
        return False
    # This form of the comparison is false for NaN.
    if all(0 <= note.start_time <= note.end_time < math.inf for note in sequence.notes):
        return True
    report.drop("a note has negative time or ends before it starts")
    return False


def stretches_with_notes(sequence: NoteSequence, report: Report) -> list[Stretch]:
    """Returns the `stretches` of a playable piece that have notes; reports unplayable pieces."""
    if not is_playable(sequence, report):
        return []
    parts = [part for part in stretches(sequence) if part.sequence.notes]
    lost = len(sequence.notes) - sum(len(part.sequence.notes) for part in parts)
    report.drop("note of no length at the end of a stretch of one tempo and meter", n=max(lost, 0))
    return parts


def is_common_time(stretch: Stretch, steps_per_quarter: int, report: Report) -> bool:
    """Returns whether a stretch has bars of four quarters and a valid tempo, or reports why not."""
    bar = stretch.steps_per_bar(steps_per_quarter)
    if bar != QUARTERS_PER_BAR * steps_per_quarter:
        reason = Reason(
            f"time signature {stretch.numerator}/{stretch.denominator} is not 4/4",
            "Only music in 4/4 or 2/2 has bars that fit these windows; no setting changes that",
        )
        report.drop(reason)
        return False
    if not 0 < stretch.qpm < math.inf:
        report.drop("tempo that is not a positive number")
        return False
    last = max(note.end_time for note in stretch.sequence.notes)
    if last * stretch.steps_per_second(steps_per_quarter) > MAX_STEPS:
        report.drop(f"music longer than {MAX_STEPS:,} steps")
        return False
    return True


def common_time_stretches(
    sequence: NoteSequence, steps_per_quarter: int, report: Report
) -> list[Stretch]:
    """Returns the stretches of a piece with four quarters a bar; reports the others."""
    parts = stretches_with_notes(sequence, report)
    return [part for part in parts if is_common_time(part, steps_per_quarter, report)]


def tempo_map(
    sequence: NoteSequence, steps_per_quarter: int
) -> list[tuple[float, float, float]] | None:
    """Returns (time in seconds, its step, steps a second from then on) of each tempo, in order.

    Returns None if a tempo is invalid.
    """
    tempos = sorted(((tempo.time, tempo.qpm) for tempo in sequence.tempos), key=lambda t: t[0])
    if not all(0 <= time < math.inf and 0 < qpm < math.inf for time, qpm in tempos):
        return None
    changes = [(0.0, 0.0, steps_per_quarter * DEFAULT_QPM / 60)]
    for time, qpm in tempos:
        changes.append((time, step_at(changes, time), steps_per_quarter * qpm / 60))
    return changes


def step_at(tempos: Sequence[tuple[float, float, float]], seconds: float) -> float:
    """Returns the fractional step of a time under a `tempo_map`."""
    start, steps, rate = tempos[bisect.bisect_right(tempos, seconds, key=lambda t: t[0]) - 1]
    return steps + (seconds - start) * rate


def seconds_at(tempos: Sequence[tuple[float, float, float]], step: float) -> float:
    """Returns the time of a step under a `tempo_map`: the inverse of `step_at`."""
    start, steps, rate = tempos[bisect.bisect_right(tempos, step, key=lambda t: t[1]) - 1]
    return start + (step - steps) / rate


def at_one_tempo(sequence: NoteSequence) -> NoteSequence:
    """Returns a NoteSequence at one tempo, with the positions of all notes in quarters unchanged.

    The tempo is that which lasts longest. Otherwise a ritardando would split a song.
    """
    tempos = tempo_map(sequence, 1)
    if tempos is None:
        return sequence
    end = max((note.end_time for note in sequence.notes), default=0.0)
    held: dict[float, float] = {}
    for (start, _, rate), (stop, _, _) in itertools.pairwise([*tempos, (end, 0.0, 0.0)]):
        if start < min(stop, end):
            held[rate] = held.get(rate, 0.0) + min(stop, end) - start
    if len(held) < 2:
        return sequence
    rate = max(held, key=held.__getitem__)  # quarters a second
    even = type(sequence)()
    even.CopyFrom(sequence)
    del even.tempos[:]
    even.tempos.add(qpm=60 * rate)
    even.total_time = step_at(tempos, sequence.total_time) / rate
    for note in even.notes:
        note.start_time = step_at(tempos, note.start_time) / rate
        note.end_time = step_at(tempos, note.end_time) / rate
    for change in (*even.time_signatures, *even.key_signatures, *even.text_annotations):
        change.time = step_at(tempos, change.time) / rate
    return even


def to_step(seconds: float, steps_per_second: float) -> int:
    """Returns the nearest step; ties go to the later one."""
    return math.floor(seconds * steps_per_second + 0.5)


def quantize(stretch: Stretch, steps_per_quarter: int) -> Iterator[tuple[int, int, Any]]:
    """Yields (start step, end step, note) of each note; notes last at least one step."""
    steps_per_second = stretch.steps_per_second(steps_per_quarter)
    for note in stretch.sequence.notes:
        start = to_step(note.start_time, steps_per_second)
        end = to_step(note.end_time, steps_per_second)
        yield start, max(end, start + 1), note


def bar_windows(events: _Events, steps: int, steps_per_bar: int) -> Iterator[tuple[int, _Events]]:
    """Yields (start, events) of each complete window of `steps` that starts on a bar."""
    for start in range(0, len(events) - steps + 1, steps_per_bar):
        yield start, events[start : start + steps]

"""Quantization: stretches of constant tempo and meter, and the steps of their notes."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

from magenta_lite.converters.base import Reason, Report
from magenta_lite.converters.score import NO_CONTROLS, NoteArrays, Score
from magenta_lite.typing import Music

_Events = TypeVar("_Events", list[int], np.ndarray)

QUARTERS_PER_BAR = 4
DEFAULT_QPM = 120.0
MAX_STEPS = 1_000_000  # 35 hours of 16ths at 120 quarter notes a minute
GRID_TOLERANCE = 1 / 16  # quarters that a time signature may be off a bar line


@dataclasses.dataclass(frozen=True)
class GridConfig:
    """Settings of converters whose grid is metrical.

    Attributes:
        steps_per_quarter: Grid resolution; 4 is 16th notes.
        split_on_time_changes: Split pieces at every change of tempo or time signature, and count
            bars from there, as Magenta does.
    """

    steps_per_quarter: int = 4
    split_on_time_changes: bool = False


@dataclasses.dataclass
class Stretch:
    """A part of a piece with one tempo and one time signature.

    Attributes:
        score: The part, which starts at time 0; it may lack its control changes.
        qpm: Quarter notes a minute.
        numerator: Numerator of the time signature.
        denominator: Denominator of the time signature.
    """

    score: Score
    qpm: float
    numerator: int
    denominator: int

    @property
    def notes(self) -> NoteArrays:
        """The notes of the score."""
        return self.score.notes

    def steps_per_bar(self, steps_per_quarter: int) -> float:
        """Returns the length of a bar in steps, possibly fractional; 0 for an invalid meter."""
        if self.denominator == 0:
            return 0.0
        return 4 * steps_per_quarter * self.numerator / self.denominator

    def steps_per_second(self, steps_per_quarter: int) -> float:
        """Returns the number of steps a second."""
        return steps_per_quarter * self.qpm / 60


def stretches(music: Music) -> list[Stretch]:
    """Splits a piece where its meter changes, and brings it to one tempo.

    A piece starts in 4/4 at 120 quarter notes a minute by default. Changes of tempo do not split,
    see `at_one_tempo`. A bar line is at each time signature, and at every bar after it. What is
    shorter than a bar of the following meter is a pickup to it. Each stretch starts at time 0, with
    a bar line; notes end at the splits.
    """
    even, qpm = _even(Score.of(music))
    parts = _metrical_parts(even, qpm)
    seconds = 60 / qpm if qpm else 0.0  # a quarter
    scores = [even]
    if len(parts) > 1:
        scores = even.split([part.start * seconds for part in parts[1:]])
    return [
        Stretch(each.later(part.rest * seconds), qpm, part.numerator, part.denominator)
        for each, part in zip(scores, parts, strict=True)
    ]


def split_on_time_changes(music: Music) -> list[Stretch]:
    """Splits a piece at changes of tempo or time signature, as Magenta does.

    Bars are counted from each split.
    """
    score = Score.of(music)
    qpms = {tempo.qpm for tempo in score.tempos}
    meters = {(meter.numerator, meter.denominator) for meter in score.time_signatures}
    late = [change.time > 0 for change in (*score.tempos[:1], *score.time_signatures[:1])]
    parts = [score]
    if len(qpms) > 1 or len(meters) > 1 or any(late):
        parts = score.split_on_time_changes()
    return [_stretch(part) for part in parts]


def _stretch(score: Score) -> Stretch:
    qpm = score.tempos[0].qpm if score.tempos else DEFAULT_QPM
    numerator, denominator = 4, 4
    if score.time_signatures:
        meter = score.time_signatures[0]
        numerator, denominator = meter.numerator, meter.denominator
    return Stretch(score, qpm, numerator, denominator)


def as_one_stretch(music: Music) -> tuple[Stretch, int]:
    """Returns a whole piece as one stretch with the bar lines of its last meter.

    Returns:
        The stretch; and the number of bars of the piece less those of the stretch in front of the
        last meter, by which the numbers of its bars differ.
    """
    even, qpm = _even(Score.of(music))
    parts = _metrical_parts(even, qpm)
    last = parts[-1]
    before = last.start - last.rest  # quarters in front of the last meter
    shown = _bars(before, last.bar)
    bars = sum(
        _bars(later.start - part.start + part.rest, part.bar)
        for part, later in itertools.pairwise(parts)
    )
    seconds = 60 / qpm if qpm else 0.0  # a quarter
    whole = even.later((shown * last.bar - before) * seconds)
    return Stretch(whole, qpm, last.numerator, last.denominator), bars - shown


def bar_lines(music: Music) -> np.ndarray:
    """Returns the times of the bar lines of a piece, in seconds: float (M + 1,) for M bars.

    The first bar begins with the piece, and the last one has its last note. A pickup counts as a
    bar. None are returned for an invalid tempo or meter.
    """
    score = Score.of(music)
    tempos, (even, qpm) = tempo_map(score, 1), _even(score)
    parts = _metrical_parts(even, qpm) if tempos else []
    if not tempos or not all(part.bar for part in parts):
        return np.zeros(0)
    lines = []
    for part, stop in zip(parts, [*(p.start for p in parts[1:]), even.end * qpm / 60], strict=True):
        pickup = [part.start] if part.rest else []
        count = max(math.ceil((stop - GRID_TOLERANCE - part.bar_line) / part.bar), 0)
        lines += pickup + [part.bar_line + bar * part.bar for bar in range(count)]
        last = part.bar_line + count * part.bar
    return np.array([seconds_at(tempos, line) for line in [*lines, last]])


def _bars(quarters: float, bar: float) -> int:
    """Returns a number of bars, rounded up."""
    return math.ceil((quarters - GRID_TOLERANCE) / bar) if bar else 0


@dataclasses.dataclass
class _MetricalPart:
    """A part of a piece in one meter.

    Attributes:
        start: Its start in quarters.
        bar_line: Its first bar line after a pickup, in quarters.
        numerator: Numerator of the time signature.
        denominator: Denominator of the time signature.
    """

    start: float
    bar_line: float
    numerator: int
    denominator: int

    @property
    def bar(self) -> float:
        """Length of a bar in quarters; 0 for an invalid meter."""
        return 4 * self.numerator / self.denominator if self.denominator else 0.0

    @property
    def rest(self) -> float:
        """Quarters from a bar line to the start, if there is a pickup."""
        pickup = self.bar_line - self.start
        return self.bar - pickup if pickup > GRID_TOLERANCE else 0.0

    def continues(self, earlier: _MetricalPart) -> bool:
        """Returns whether an earlier part has the same meter and bar lines."""
        if (self.numerator, self.denominator) != (earlier.numerator, earlier.denominator):
            return False
        bars = (self.bar_line - earlier.bar_line) / self.bar if self.bar else 0.0
        return abs(bars - round(bars)) * self.bar <= GRID_TOLERANCE


def _metrical_parts(score: Score, qpm: float) -> list[_MetricalPart]:
    """Returns the parts, at least one, of a piece at one tempo, up to its last note."""
    end = score.end
    meters: dict[float, tuple[int, int]] = {0.0: (4, 4)}
    for meter in sorted(score.time_signatures, key=lambda meter: meter.time):
        if not meter.time > 0 or meter.time < end:
            meters[max(0.0, meter.time * qpm / 60)] = meter.numerator, meter.denominator
    parts: list[_MetricalPart] = []  # the last one first
    for start, (numerator, denominator) in sorted(meters.items(), reverse=True):
        later = parts[-1] if parts else None
        missing = later.bar - (later.bar_line - start) if later else 0.0  # quarters of a bar
        if later and missing > (-GRID_TOLERANCE if later.rest else GRID_TOLERANCE):
            later.start = start  # a pickup, or what completes a bar with one
        else:
            parts.append(_MetricalPart(start, start, numerator, denominator))
    joined = [parts.pop()]
    while parts:
        if not parts[-1].continues(joined[-1]):
            joined.append(parts[-1])
        parts.pop()
    return joined


def _even(score: Score) -> tuple[Score, float]:
    """Returns a score `at_one_tempo`, and its tempo; 0 if a tempo is invalid."""
    if tempo_map(score, 1) is None:
        return score, 0.0
    even = at_one_tempo(score)
    return even, even.tempos[0].qpm if even.tempos else DEFAULT_QPM


def is_playable(music: Music, report: Report) -> bool:
    """Returns whether a piece has notes, all at valid times, or reports why not."""
    return are_playable(NoteArrays.of(music), report)


def are_playable(notes: NoteArrays, report: Report) -> bool:
    """Returns whether there are notes, all at valid times, or reports why not."""
    if not len(notes):
        report.drop("no notes")
        return False
    # This form of the comparison is false for NaN.
    valid = (notes.start >= 0) & (notes.start <= notes.end) & (notes.end < math.inf)
    if not valid.all():
        report.drop("a note has negative time or ends before it starts")
    return bool(valid.all())


def stretches_with_notes(music: Music, config: GridConfig, report: Report) -> list[Stretch]:
    """Returns the `stretches` of a playable piece that have notes; reports unplayable pieces."""
    score = Score.of(music)
    if not are_playable(score.notes, report):
        return []
    split = split_on_time_changes if config.split_on_time_changes else stretches
    parts = [part for part in split(score) if len(part.notes)]
    lost = len(score.notes) - sum(len(part.notes) for part in parts)
    report.drop("note of no length where the meter changes", n=max(lost, 0))
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
    if stretch.notes.end.max() * stretch.steps_per_second(steps_per_quarter) > MAX_STEPS:
        report.drop(f"music longer than {MAX_STEPS:,} steps")
        return False
    return True


def common_time_stretches(music: Music, config: GridConfig, report: Report) -> list[Stretch]:
    """Returns the stretches of a piece with four quarters a bar; reports the others."""
    parts = stretches_with_notes(music, config, report)
    return [part for part in parts if is_common_time(part, config.steps_per_quarter, report)]


def tempo_map(music: Music, steps_per_quarter: int) -> list[tuple[float, float, float]] | None:
    """Returns (time in seconds, its step, steps a second from then on) of each tempo, in order.

    Returns None if a tempo is invalid.
    """
    tempos = sorted(((tempo.time, tempo.qpm) for tempo in music.tempos), key=lambda t: t[0])
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


def steps_at(tempos: Sequence[tuple[float, float, float]], seconds: np.ndarray) -> np.ndarray:
    """Returns `step_at` of each of `seconds`, float (N,)."""
    starts, steps, rates = np.array(tempos).T
    change = np.searchsorted(starts, seconds, side="right") - 1
    return steps[change] + (seconds - starts[change]) * rates[change]


def seconds_at(tempos: Sequence[tuple[float, float, float]], step: float) -> float:
    """Returns the time of a step under a `tempo_map`: the inverse of `step_at`."""
    start, steps, rate = tempos[bisect.bisect_right(tempos, step, key=lambda t: t[1]) - 1]
    return start + (step - steps) / rate


def at_one_tempo(score: Score) -> Score:
    """Returns a score at one tempo, with the positions of all events in quarters unchanged.

    The tempo is that which lasts longest. Otherwise a ritardando would split a song. A score with
    an invalid tempo is returned as it is. Control changes are left out.
    """
    tempos = tempo_map(score, 1)
    if tempos is None or len(score.tempos) == 0:
        return score
    if len(score.tempos) == 1 and score.tempos[0].time <= 0:
        return score
    held: dict[float, float] = {}
    end = score.end
    for (start, _, rate), (stop, _, _) in itertools.pairwise([*tempos, (end, 0.0, 0.0)]):
        held[rate] = held.get(rate, 0.0) + max(min(stop, end) - start, 0.0)
    rate = max(held, key=held.__getitem__)  # quarters a second
    header = type(score.header)()
    header.CopyFrom(score.header)
    del header.tempos[:]
    header.tempos.add(qpm=60 * rate)
    for changes in (
        header.time_signatures,
        header.key_signatures,
        header.text_annotations,
        header.section_annotations,
        header.pitch_bends,
    ):
        for change in changes:
            change.time = step_at(tempos, change.time) / rate
    starts, ends = (
        steps_at(tempos, times) / rate for times in (score.notes.start, score.notes.end)
    )
    total_time = step_at(tempos, score.total_time) / rate
    even = score.retimed(starts, ends)
    return dataclasses.replace(even, header=header, controls=NO_CONTROLS, total_time=total_time)


def to_step(seconds: float, steps_per_second: float) -> int:
    """Returns the nearest step; ties go to the later one."""
    return math.floor(seconds * steps_per_second + 0.5)


def to_steps(seconds: np.ndarray, steps_per_second: float) -> np.ndarray:
    """Returns `to_step` of each of `seconds`, int (N,)."""
    return np.floor(seconds * steps_per_second + 0.5).astype(int)


def steps_of_notes(stretch: Stretch, steps_per_quarter: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the start and end steps of the notes, int (N,); notes last at least one step."""
    steps_per_second = stretch.steps_per_second(steps_per_quarter)
    starts = to_steps(stretch.notes.start, steps_per_second)
    return starts, np.maximum(to_steps(stretch.notes.end, steps_per_second), starts + 1)


def bar_windows(events: _Events, steps: int, steps_per_bar: int) -> Iterator[tuple[int, _Events]]:
    """Yields (start, events) of each complete window of `steps` that starts on a bar."""
    for start in range(0, len(events) - steps + 1, steps_per_bar):
        yield start, events[start : start + steps]

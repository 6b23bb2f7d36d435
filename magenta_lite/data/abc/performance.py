"""Plays a written tune: NoteSequences with repeats, endings and parts in their order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import Any

from magenta_lite.data.abc import fields
from magenta_lite.data.abc.fields import AbcError
from magenta_lite.data.abc.interpreter import MAX_NOTES, Interpreter
from magenta_lite.data.abc.score import BarLine, Note, Score, Voice
from magenta_lite.data.abc.unfolding import played_stretches
from magenta_lite.typing import NoteSequence

DEFAULT_QPM = 120.0
VELOCITY = 90

Stretches = list[tuple[int, int]]  # (start, end) in written ticks, in the order of play


def read_tune(text: str) -> NoteSequence:
    """Returns the NoteSequence of one tune.

    Each voice is an instrument, and each overlay another behind them. Times are in seconds at the
    tune's tempos, by default 120 quarter notes per minute.

    Raises:
        AbcError: If the tune has no key or no notes, or something that cannot be played.
    """
    from note_seq.protobuf import music_pb2

    score = Interpreter().read(text)
    stretches = _stretches(score)
    leader = _leader(score)
    orders = stretches[score.voices.index(leader)]
    pickup = _pickup(leader, score)
    voices = score.voices[::-1]  # of changes at the same time, those of the first voice count
    tempos = _played_changes([v.tempos for v in voices], orders, pickup, DEFAULT_QPM)
    seconds = _clock(tempos)
    sequence = music_pb2.NoteSequence(ticks_per_quarter=220)
    sequence.sequence_metadata.title = score.title
    for tick, qpm in tempos:
        sequence.tempos.add(time=seconds(tick), qpm=qpm)
    for tick, meter in _played_changes([v.meters for v in voices], orders, pickup, None):
        if meter:
            sequence.time_signatures.add(
                time=seconds(tick), numerator=meter[0], denominator=meter[1]
            )
    chords = dict(pair for voice in voices for pair in voice.chord_symbols)
    for tick, symbol in _played_events(chords, orders, pickup):
        sequence.text_annotations.add(time=seconds(tick), text=symbol, annotation_type=1)
    lines = [(voice.lines[0], order) for voice, order in zip(score.voices, stretches, strict=True)]
    for voice, order in zip(score.voices, stretches, strict=True):
        lines += [(overlay, order) for overlay in voice.lines[1:]]
    for instrument, (line, order) in enumerate(lines):
        _play(sequence, line, order, pickup, seconds, instrument)
    if not sequence.notes:
        raise AbcError("no notes")
    sequence.total_time = max(note.end_time for note in sequence.notes)
    return sequence


def _leader(score: Score) -> Voice:
    """Returns the first voice that has bar lines."""
    return next((voice for voice in score.voices if voice.bar_times), score.voices[0])


def _stretches(score: Score) -> list[Stretches]:
    """Returns the order of play of each voice.

    The marks of all voices hold for all of them, but for a voice whose marks are not at the bar
    lines of the first, because some of its bars are too short or too long: it follows its own.
    """
    leader = _leader(score)
    bar_times = {0, *leader.bar_times, *leader.marks}
    together = [voice for voice in score.voices if voice.marks.keys() <= bar_times]
    marks: dict[int, BarLine] = {}
    for voice in together:
        for time, mark in voice.marks.items():
            marks[time] = marks.get(time, BarLine()).merged(mark)
    end = max(voice.end for voice in together)
    shared = played_stretches(marks, end, score.parts)
    return [
        shared if voice in together else played_stretches(voice.marks, voice.end, score.parts)
        for voice in score.voices
    ]


def _pickup(leader: Voice, score: Score) -> int:
    """Returns the ticks by which a pickup moves to the end of its bar; rests are not a pickup."""
    meter = dict(leader.meters)[0]
    first = leader.bar_times[0] if leader.bar_times else leader.end
    full = fields.WHOLE * meter[0] // meter[1] if meter else 0
    lines = [line for voice in score.voices for line in voice.lines]
    sounds = any(line and line[0].start < first for line in lines)
    return full - first if sounds and first < full else 0


def _placed(order: Stretches, pickup: int) -> Iterator[tuple[int, int, int]]:
    """Yields (start, end, ticks from written to played time) of each stretch."""
    now = pickup
    for start, end in order:
        yield start, end, now - start
        now += end - start


def _played_changes(
    streams: Iterable[list[tuple[int, Any]]], order: Stretches, pickup: int, default: Any
) -> list[tuple[int, Any]]:
    """Returns (tick, value) of each change of what lasts until its next change.

    Args:
        streams: Written changes; of those at the same time the last one counts.
        order: Order of play.
        pickup: Ticks before the first stretch.
        default: Value before the first change.
    """
    written = {0: default}
    for stream in streams:
        written.update(stream)
    times = sorted(written)
    played: list[tuple[int, Any]] = []
    for start, end, shift in _placed(order, pickup):
        for time in times[bisect_right(times, start) - 1 : bisect_left(times, end)]:
            value = written[time]
            if not played:
                played.append((0, value))
            elif value != played[-1][1]:
                played.append((max(time, start) + shift, value))
    return played or [(0, default)]


def _played_events(
    written: dict[int, Any], order: Stretches, pickup: int
) -> Iterator[tuple[int, Any]]:
    times = sorted(written)
    for start, end, shift in _placed(order, pickup):
        for time in times[bisect_left(times, start) : bisect_left(times, end)]:
            yield time + shift, written[time]


def _clock(tempos: list[tuple[int, float]]) -> Callable[[int], float]:
    """Returns a function from ticks to seconds."""
    ticks = [tick for tick, _ in tempos]
    wholes = [240 / qpm for _, qpm in tempos]  # seconds of a whole note
    times = [0.0]
    for i in range(1, len(ticks)):
        times.append(times[-1] + (ticks[i] - ticks[i - 1]) / fields.WHOLE * wholes[i - 1])

    def seconds(tick: int) -> float:
        i = bisect_right(ticks, tick) - 1
        return times[i] + (tick - ticks[i]) / fields.WHOLE * wholes[i]

    return seconds


def _play(
    sequence: NoteSequence,
    notes: list[Note],
    order: Stretches,
    pickup: int,
    seconds: Callable[[int], float],
    instrument: int,
) -> None:
    """Adds the notes of a line; ties join what sounds on, but do not go back with a repeat."""
    notes = sorted(notes, key=attrgetter("start"))
    starts = [note.start for note in notes]
    tied: dict[int, tuple[int, Any]] = {}  # pitch: (end, note)
    before = 0
    for start, end, shift in _placed(order, pickup):
        if start < before:
            tied = {}
        before = end
        for note in notes[bisect_left(starts, start) : bisect_left(starts, end)]:
            stop = min(note.end, end) + shift
            until, played = tied.pop(note.pitch, (-1, None))
            if until != note.start + shift:
                played = sequence.notes.add(
                    pitch=note.pitch,
                    velocity=VELOCITY,
                    start_time=seconds(note.start + shift),
                    instrument=instrument,
                    program=note.program,
                    is_drum=note.is_drum,
                )
            played.end_time = seconds(stop)
            if note.tied:
                tied[note.pitch] = stop, played
        if len(sequence.notes) > MAX_NOTES:
            raise AbcError(f"more than {MAX_NOTES:,} notes")

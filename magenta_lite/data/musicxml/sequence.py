"""Makes NoteSequences of MusicXML scores, with repeats played and ties joined."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from magenta_lite.converters.grid import DEFAULT_QPM, seconds_at
from magenta_lite.data.musicxml.document import MusicXMLError
from magenta_lite.data.musicxml.playing_order import playing_order
from magenta_lite.data.musicxml.score import Measure, Note, Score, read_score
from magenta_lite.typing import NoteSequence

MAX_EVENTS = 200_000
TOLERANCE = 1 / 64  # quarter notes between tied notes, and between a bar line and the grid
MAX_OPEN_TIES = 16  # of a pitch
TICKS = 220


class Sounding(NamedTuple):
    """Tied notes as one, in quarter notes from the start of the piece."""

    start: float
    end: float
    note: Note


class Played(NamedTuple):
    """A measure as it is played.

    Attributes:
        start: Quarter notes from the start of the piece.
        length: Quarter notes.
        meter: Numerator and denominator in force; None for free meter.
        key: Key in force; see `Measure`.
        qpm: Quarter notes a minute in force at its start.
        chord: Chord symbol in force at its start; empty if there is none.
        measure: The measure.
    """

    start: float
    length: float
    meter: tuple[int, int] | None
    key: tuple[int, bool] | None
    qpm: float
    chord: str
    measure: Measure


def read_sequence(data: bytes) -> NoteSequence:
    """Returns the NoteSequence of a score as it sounds, one instrument for each part and program.

    Repeats are played, tied notes are one, grace notes and cues are left out. A first measure that
    is shorter than the meter has a meter of its own. Later, a meter is repeated at a bar line that
    is not where the meter expects it.

    Args:
        data: Content of a MusicXML file, compressed or not.

    Raises:
        MusicXMLError: If it is not a score, or too large.
    """
    score = read_score(data)
    try:
        order = playing_order([measure.signs for measure in score.measures])
    except ValueError as error:
        raise MusicXMLError(str(error)) from error
    sizes = [len(m.notes) + len(m.tempos) + len(m.chords) for m in score.measures]
    if sum(sizes[i] for i in order) > MAX_EVENTS:
        raise MusicXMLError(f"more than {MAX_EVENTS:,} notes with all repeats")
    return _sequence(score, played(score.measures, order))


def played(measures: Sequence[Measure], order: Iterable[int]) -> list[Played]:
    """Returns measures in an order of playing, with their times and what is in force in them."""
    states: list[Played] = []  # by index, without their starts
    meter, key, qpm, chord = None, None, DEFAULT_QPM, ""
    for measure in measures:
        meter, key = measure.meter or meter, measure.key or key
        length = measure.length or (4 * meter[0] / meter[1] if meter else 4.0)
        states.append(Played(0.0, length, meter, key, qpm, chord, measure))
        qpm = _last(measure.tempos, qpm)
        chord = _last(measure.chords, chord)
    start, result = 0.0, []
    for i in order:
        result.append(states[i]._replace(start=start))
        start += states[i].length
    return result


def _last(events: dict, default):
    return events[max(events)] if events else default


def sounding(measures: Sequence[Played]) -> list[Sounding]:
    """Returns the notes of measures by part and time, with tied notes joined."""
    notes = [
        Sounding(played.start + note.start, played.start + note.start + note.length, note)
        for played in measures
        for note in played.measure.notes
    ]
    notes.sort(key=lambda each: (each.note.part, each.start))
    joined: list[Sounding] = []
    open_ties: dict[tuple[int, int], list[int]] = {}  # indices in `joined` by part and pitch
    for each in notes:
        place = each.note.part, each.note.pitch
        held = [i for i in open_ties.get(place, ()) if joined[i].end > each.start - TOLERANCE]
        before = [i for i in held if joined[i].end < each.start + TOLERANCE]
        if before and "stop" in each.note.ties:
            # A tie may lead to another voice, if there is none in its own.
            i = max(before, key=lambda i: joined[i].note.voice == each.note.voice)
            held.remove(i)
            joined[i] = joined[i]._replace(end=each.end)
        else:
            i = len(joined)
            joined.append(each)
        if "start" in each.note.ties:
            held.append(i)
        open_ties[place] = held[-MAX_OPEN_TIES:]
    return joined


def _sequence(score: Score, measures: Sequence[Played]) -> NoteSequence:
    from note_seq.protobuf import music_pb2

    info = music_pb2.NoteSequence.SourceInfo
    sequence = music_pb2.NoteSequence(ticks_per_quarter=TICKS)
    sequence.source_info.source_type = info.SCORE_BASED
    sequence.source_info.encoding_type = info.MUSIC_XML
    sequence.sequence_metadata.title = score.title
    tempos = [(0.0, 0.0, 0.0)]  # as in `grid.tempo_map`
    for quarter, qpm in _changes(_tempos(measures)):
        tempos.append((seconds_at(tempos, quarter) if quarter else 0.0, quarter, qpm / 60))
        sequence.tempos.add(time=tempos[-1][0], qpm=qpm)

    def seconds(quarter: float) -> float:
        return seconds_at(tempos, quarter)

    for quarter, (numerator, denominator) in _meters(measures):
        sequence.time_signatures.add(
            time=seconds(quarter), numerator=numerator, denominator=denominator
        )
    for quarter, (tonic, minor) in _changes((p.start, p.key) for p in measures if p.key):
        sequence.key_signatures.add(time=seconds(quarter), key=tonic, mode=int(minor))
    for quarter, symbol in _changes(_chords(measures)):
        sequence.text_annotations.add(
            time=seconds(quarter),
            text=symbol,
            annotation_type=music_pb2.NoteSequence.TextAnnotation.CHORD_SYMBOL,
        )
    for part, name in enumerate(score.parts):
        sequence.part_infos.add(part=part, name=name)
    instruments: dict[tuple, int] = {}
    for start, end, note in sounding(measures):
        sound = note.part, note.instrument.is_drum, note.instrument.program
        if sound not in instruments:
            instruments[sound] = len(instruments)
            name = score.parts[note.part]
            sequence.instrument_infos.add(instrument=instruments[sound], name=name)
        sequence.notes.add(
            pitch=note.pitch,
            velocity=note.velocity,
            start_time=seconds(start),
            end_time=seconds(end),
            instrument=instruments[sound],
            program=note.instrument.program,
            is_drum=note.instrument.is_drum,
            part=note.part,
        )
    last = max((note.end_time for note in sequence.notes), default=0.0)
    if measures:
        last = max(last, seconds(measures[-1].start + measures[-1].length))
    sequence.total_time = last
    return sequence


def _changes(events: Iterable[tuple[float, Any]]) -> Iterator[tuple[float, Any]]:
    """Yields the events that differ from the ones before."""
    before = None
    for time, value in events:
        if value != before:
            yield time, value
            before = value


def _tempos(measures: Sequence[Played]) -> Iterator[tuple[float, float]]:
    yield from _restated(measures, lambda each: (each.qpm, each.measure.tempos))


def _chords(measures: Sequence[Played]) -> Iterator[tuple[float, str]]:
    for time, symbol in _restated(measures, lambda each: (each.chord, each.measure.chords)):
        if symbol:
            yield time, symbol


def _restated(
    measures: Sequence[Played], of: Callable[[Played], tuple[Any, Mapping[float, Any]]]
) -> Iterator[tuple[float, Any]]:
    """Yields events by time, and at the start of each measure what is in force there."""
    for each in measures:
        in_force, events = of(each)
        if not events or min(events) > 0:
            yield each.start, in_force
        for time in sorted(events):
            yield each.start + time, events[time]


def _meters(measures: Sequence[Played]) -> Iterator[tuple[float, tuple[int, int]]]:
    """Yields the meters and their times; repeats a meter at a bar line that is off its grid."""
    current, start = None, 0.0
    for each, following in itertools.zip_longest(measures, measures[1:]):
        if each.meter is None:
            continue
        bar = 4 * each.meter[0] / each.meter[1]
        whole = each.length > bar - TOLERANCE
        if each.meter != current and not whole and following:
            yield each.start, _meter_of(each.length) or each.meter
            current = None
            continue
        off = abs((each.start - start + bar / 2) % bar - bar / 2) > TOLERANCE
        # A bar that a repeat sign divides has no bar line in its middle.
        if each.meter != current or (off and whole):
            yield each.start, each.meter
            current, start = each.meter, each.start


def _meter_of(length: float) -> tuple[int, int] | None:
    """Returns the meter of a bar of `length` quarter notes, such as 3/8; None if there is none."""
    for denominator in (4, 8, 16, 32):
        numerator = round(length * denominator / 4, 6)
        if numerator.is_integer() and numerator >= 1:
            return int(numerator), denominator
    return None

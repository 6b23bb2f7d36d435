"""Which part of a song is gone on from: its last bars, of the melody or the drums."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from magenta_lite.converters.base import Report
from magenta_lite.converters.grid import (
    QUARTERS_PER_BAR,
    Stretch,
    at_one_tempo,
    is_playable,
    quantize,
    seconds_at,
    step_at,
    stretches,
    tempo_map,
)
from magenta_lite.converters.melody_extraction import as_fresh_melody
from magenta_lite.converters.melody_tracks import Track, melodic_tracks
from magenta_lite.errors import UserError
from magenta_lite.typing import NoteSequence

if TYPE_CHECKING:
    from magenta_lite.converters.event_sequences.drums import EventDrumsConverter
    from magenta_lite.converters.event_sequences.melody import EventMelodyConverter
    from magenta_lite.families.melody_rnn.options import MelodyRNNOptions


class Passage(NamedTuple):
    """Events of a song that stand in one meter.

    Attributes:
        stretch: Of the song, in which they are.
        bars_before: Bars of the song before the stretch.
        bar: Steps of a bar.
        start: Step of the stretch at which they begin: a bar line.
        events: One a step.
    """

    stretch: Stretch
    bars_before: int
    bar: int
    start: int
    events: list[int]

    @property
    def bars(self) -> int:
        """How many bars the events last, the last one begun."""
        return -(-len(self.events) // self.bar)

    @property
    def place(self) -> str:
        """`bars 13-16`: where in the song, from 1."""
        first = self.bars_before + self.start // self.bar + 1
        last = first + self.bars - 1
        return f"bar {first}" if first == last else f"bars {first}-{last}"

    def last(self, bars: float) -> Passage:
        """Returns the last `bars` of it."""
        left_out = int(max(self.bars - bars, 0)) * self.bar
        return self._replace(start=self.start + left_out, events=self.events[left_out:])


def bars_kept(options: MelodyRNNOptions, bar: int, steps: int, usual: int) -> float:
    """Returns how many of the last bars of `steps` are gone on from.

    As many as asked for, or all if they leave room in the length asked for; else as many as leave
    room for as much that is new.

    Args:
        options: A `GenerateOptions`.
        bar: Steps of a bar.
        steps: Length of what could be gone on from.
        usual: Length of a piece where the options do not say.
    """
    if options.primer_bars is not None:
        return options.primer_bars
    if options.new_steps is not None or (options.num_steps or 0) > steps:
        return math.inf
    return max((options.num_steps or usual) // 2 // bar, 1)


def chosen(passages: list[Passage], options: MelodyRNNOptions, usual: int) -> Passage:
    """Returns the last bars of the last passage that has so many, or else of the longest."""

    def kept(passage: Passage) -> Passage:
        steps = len(passage.events)
        return passage.last(bars_kept(options, passage.bar, steps, usual))

    return max(reversed([kept(passage) for passage in passages]), key=lambda part: part.bars)


def melody_of_song(
    converter: EventMelodyConverter,
    name: str,
    song: NoteSequence,
    options: MelodyRNNOptions,
    usual: int,
) -> Passage:
    """Returns the part of a song's melody that is gone on from, and says which.

    It is that of the likeliest track, or of the one that `options.window` numbers in this order.
    Of notes that start together the highest counts.

    Args:
        converter: An `EventMelodyConverter`.
        name: Of the song.
        song: A NoteSequence.
        options: A `GenerateOptions`.
        usual: Length of a piece where the options do not say, in steps.

    Raises:
        UserError: If there is no melody, or no such window.
    """
    report = Report()
    song, whole = at_one_tempo(song), without_gaps(converter, skip_polyphony=False)
    found: list[tuple[Track, list[Passage]]] = []
    for track in melodic_tracks(song):
        passages = list(_passages(track.alone(song), whole.melodies, report))
        if passages:
            found.append((track, passages))
    if not found:
        drums = sum(note.is_drum for note in song.notes)
        report.drop("drum note", n=drums)
        is_playable(song, report)
        raise UserError(f"{name} gives no melody to go on from: {reasons(report)}")
    window = options.window
    if not window.isdecimal() or not 1 <= int(window) <= len(found):
        raise UserError(f"--window={window}: {name} has melodies 1 to {len(found)}")
    track, passages = found[int(window) - 1]
    part = _with_a_note(chosen(passages, options, usual), passages)
    notes, played = sum(event >= 0 for event in part.events), _played(part, converter.config)
    highest = f", the highest of {played}" if played > notes else ""
    print(f"Primer: {part.place} of {track.name}, {notes} notes{highest}")
    others = [f"--window={i + 1} for {other.name}" for i, (other, _) in enumerate(found)]
    del others[int(window) - 1]
    if others:
        print(f"{name} has other tracks: {', '.join(others)}")
    return part


def _played(part: Passage, config) -> int:
    """Returns how many notes of a track begin in a part of it."""
    steps = range(part.start, part.start + len(part.events))
    notes = quantize(part.stretch, config.steps_per_quarter)
    return sum(start in steps for start, _, _ in notes)


def _with_a_note(part: Passage, passages: list[Passage]) -> Passage:
    """Returns a part as a melody of its own, begun early enough for a note to begin in it."""
    if not any(event >= 0 for event in part.events):
        (whole,) = (each for each in passages if each.stretch is part.stretch)
        onset = max(step for step, event in enumerate(whole.events) if event >= 0)
        part = whole.last(whole.bars - onset // whole.bar)
    return part._replace(events=as_fresh_melody(part.events))


def drums_of_song(
    converter: EventDrumsConverter,
    name: str,
    song: NoteSequence,
    options: MelodyRNNOptions,
    usual: int,
) -> Passage:
    """Returns the part of a song's drums that is gone on from, and says which.

    Args and errors are those of `melody_of_song`, without the window.
    """
    report = Report()
    passages = list(_passages(at_one_tempo(song), without_gaps(converter).tracks, report))
    if not passages:
        is_playable(song, report)
        raise UserError(f"{name} gives no drums to go on from: {reasons(report)}")
    part = chosen(passages, options, usual)
    first = next(step for step, hits in enumerate(part.events) if hits)
    part = part.last(part.bars - first // part.bar)  # no silent bars in front
    print(f"Primer: {part.place} of the drums, {sum(hits > 0 for hits in part.events)} steps hit")
    return part


def end_of_song(
    name: str, song: NoteSequence, options: MelodyRNNOptions, usual: float
) -> NoteSequence:
    """Returns the last seconds of a performance, that are gone on from, and says which.

    Args:
        name: Of the song.
        song: A NoteSequence.
        options: A `GenerateOptions`; its steps are hundredths of a second.
        usual: Length of a piece where the options do not say, in seconds.
    """
    from note_seq import sequences_lib

    if not is_playable(song, Report()):
        return song
    end = max(note.end_time for note in song.notes)
    start = end - _seconds_kept(song, end, options, usual)
    start = min(start, max(note.start_time for note in song.notes))  # a note must begin in it
    if start <= 0:
        print(f"Primer: {name}, {end:.1f} s")
        return song
    print(f"Primer: the last {end - start:.1f} of {end:.1f} s of {name}")
    return sequences_lib.extract_subsequence(song, start, max(end, song.total_time))


def _seconds_kept(song, end: float, options, usual: float) -> float:
    if options.primer_seconds is not None:
        return options.primer_seconds
    if options.primer_bars is not None:
        return end - _bar_line(song, end, options.primer_bars)
    asked = None if options.num_steps is None else options.num_steps / 100
    if options.new_steps is not None or (asked or 0) > end:
        return math.inf
    return (asked or usual) / 2


def _bar_line(song, end: float, bars: int) -> float:
    """Returns the second at which the last `bars` of a song begin, by its tempo and meter."""
    tempos = tempo_map(song, 1)
    if tempos is None:
        return 0.0
    meters = sorted(song.time_signatures, key=lambda meter: meter.time)
    last = meters[-1] if meters else None
    origin = step_at(tempos, last.time) if last else 0.0
    bar = 4 * last.numerator / last.denominator if last else QUARTERS_PER_BAR
    begun = math.ceil((step_at(tempos, end) - origin) / bar - 1e-6)
    return max(seconds_at(tempos, max(origin + (begun - bars) * bar, 0.0)), 0.0)


def _passages(song, find: Callable[[Stretch, Report], Iterator[Any]], report) -> Iterator[Passage]:
    """Yields what `find` finds in each stretch of a song: one melody, or one track of drums."""
    if not is_playable(song, report):
        return
    before = 0
    for stretch in stretches(song):
        if stretch.sequence.notes:
            for found in find(stretch, report):
                yield Passage(stretch, before, found.steps_per_bar, found.start, found.events)
        bar = stretch.steps_per_bar(1) / stretch.steps_per_second(1) if stretch.qpm > 0 else 0
        before += round(stretch.sequence.total_time / bar) if bar else 0


def without_gaps(converter: Any, **changes: Any) -> Any:
    """Returns a converter for which no silence ends a piece."""
    return type(converter)(dataclasses.replace(converter.config, gap_bars=math.inf, **changes))


def reasons(report: Report) -> str:
    """Returns what a report says was left out, in one line."""
    return "; ".join(f"{reason} ({n})" for reason, n in report.dropped.items())


def chord_changes(part: Passage, steps_per_quarter: int) -> list[tuple[int, str]]:
    """Returns (step of the stretch, chord symbol) of all chords that a song names."""
    from note_seq.protobuf import music_pb2

    symbol = music_pb2.NoteSequence.TextAnnotation.CHORD_SYMBOL
    rate = part.stretch.steps_per_second(steps_per_quarter)
    found = [
        (math.floor(a.time * rate + 0.5), a.text)
        for a in part.stretch.sequence.text_annotations
        if a.annotation_type == symbol and 0 <= a.time < math.inf
    ]
    return sorted(found, key=lambda pair: pair[0])

"""Primers from songs: the last bars of a melody, of drums or of a performance."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from magenta_lite.converters.base import Report
from magenta_lite.converters.grid import (
    QUARTERS_PER_BAR,
    Stretch,
    as_one_stretch,
    is_playable,
    seconds_at,
    step_at,
    steps_of_notes,
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
    """Consecutive events of a song.

    Attributes:
        stretch: The song, with the bar lines of its last meter.
        bars_before: See `as_one_stretch`.
        bar: Length of a bar in steps.
        start: Step of the stretch at which they begin, at a bar line.
        events: One event per step.
    """

    stretch: Stretch
    bars_before: int
    bar: int
    start: int
    events: list[int]

    @property
    def bars(self) -> int:
        """Length in bars, rounded up."""
        return -(-len(self.events) // self.bar)

    @property
    def place(self) -> str:
        """Position in the song in words, as in `bars 13-16`, from 1."""
        first = max(self.bars_before + self.start // self.bar, 0) + 1
        last = self.bars_before + self.start // self.bar + self.bars
        return f"bar {first}" if first == last else f"bars {first}-{last}"

    def last(self, bars: float) -> Passage:
        """Returns its last `bars` bars."""
        skipped = int(max(self.bars - bars, 0)) * self.bar
        return self._replace(start=self.start + skipped, events=self.events[skipped:])


def bars_kept(options: MelodyRNNOptions, bar: int, steps: int, usual: int) -> float:
    """Returns the number of last bars of a passage to use as a primer.

    The number of the options; or all bars, if the requested length is longer; or half of the
    length of the piece. `bar`, `steps` of the passage and the `usual` length are in steps.
    """
    if options.primer_bars is not None:
        return options.primer_bars
    if options.new_steps is not None or (options.num_steps or 0) > steps:
        return math.inf
    return max((options.num_steps or usual) // 2 // bar, 1)


def chosen(passages: list[Passage], options: MelodyRNNOptions, usual: int) -> Passage:
    """Returns the last bars of the last passage that is long enough, or of the longest one."""

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
    """Returns the passage of a song's melody to continue, and prints which one.

    Tracks are ordered by how likely they are the melody; `options.window` selects one. Of
    simultaneous notes the highest is taken. `usual` is the default length of a piece in steps.

    Raises:
        UserError: If there is not a melody, or no track `options.window`.
    """
    report = Report()
    whole = without_gaps(converter, skip_polyphony=False)
    found: list[tuple[Track, list[Passage]]] = []
    for track in melodic_tracks(song):
        passages = list(_passages(track.alone(song), whole.melodies, report))
        if passages:
            found.append((track, passages))
    if not found:
        report.drop("drum note", n=sum(note.is_drum for note in song.notes))
        is_playable(song, report)
        raise UserError(f"{name} has no melody to continue: {reasons(report)}")
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
    """Returns the number of notes of a track that begin in a passage."""
    starts, _ = steps_of_notes(part.stretch, config.steps_per_quarter)
    return int(((starts >= part.start) & (starts < part.start + len(part.events))).sum())


def _with_a_note(part: Passage, passages: list[Passage]) -> Passage:
    """Returns a passage as a separate melody, extended backwards to contain an onset."""
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
    """Returns the passage of a song's drums to continue, and prints which one.

    Raises:
        UserError: If there are no drums.
    """
    report = Report()
    passages = list(_passages(song, without_gaps(converter).tracks, report))
    if not passages:
        is_playable(song, report)
        raise UserError(f"{name} has no drums to continue: {reasons(report)}")
    part = chosen(passages, options, usual)
    first = next(step for step, hits in enumerate(part.events) if hits)
    part = part.last(part.bars - first // part.bar)  # without silent bars in front
    print(f"Primer: {part.place} of the drums, {sum(hits > 0 for hits in part.events)} steps hit")
    return part


def end_of_song(
    name: str, song: NoteSequence, options: MelodyRNNOptions, usual: float
) -> NoteSequence:
    """Returns the last seconds of a performance to continue, and prints which ones.

    `usual` is the default length of a piece in seconds.
    """
    from note_seq import sequences_lib

    if not is_playable(song, Report()):
        return song
    end = max(note.end_time for note in song.notes)
    start = end - _seconds_kept(song, end, options, usual)
    start = min(start, max(note.start_time for note in song.notes))  # contains an onset
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
    """Returns the start of the last `bars` bars of a song in seconds, by its tempo and meter."""
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
    """Yields the passages that `find` extracts from a song: melodies or drums."""
    if not is_playable(song, report):
        return
    stretch, before = as_one_stretch(song)
    if not stretch.qpm or not stretch.denominator:
        report.drop("tempo or time signature that is not positive")
        return
    for found in find(stretch, report):
        yield Passage(stretch, before, found.steps_per_bar, found.start, found.events)


def without_gaps(converter: Any, **changes: Any) -> Any:
    """Returns a converter that does not split pieces at silence."""
    return type(converter)(dataclasses.replace(converter.config, gap_bars=math.inf, **changes))


def reasons(report: Report) -> str:
    """Returns the reasons for dropped music of a report in one line."""
    return "; ".join(f"{reason} ({n})" for reason, n in report.dropped.items())


def chord_changes(part: Passage, steps_per_quarter: int) -> list[tuple[int, str]]:
    """Returns (step of the stretch, chord symbol) of all chord symbols of a song."""
    from note_seq.protobuf import music_pb2

    symbol = music_pb2.NoteSequence.TextAnnotation.CHORD_SYMBOL
    rate = part.stretch.steps_per_second(steps_per_quarter)
    found = [
        (math.floor(a.time * rate + 0.5), a.text)
        for a in part.stretch.score.text_annotations
        if a.annotation_type == symbol and 0 <= a.time < math.inf
    ]
    return sorted(found, key=lambda pair: pair[0])

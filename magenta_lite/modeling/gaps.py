"""Bars of a piece that are rewritten; shared by all families. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from magenta_lite.converters.grid import bar_lines
from magenta_lite.converters.melody_tracks import melodic_tracks
from magenta_lite.converters.musenet.vocabulary import instrument_of
from magenta_lite.converters.writing import add_marker
from magenta_lite.errors import UserError, unknown_name
from magenta_lite.typing import NoteSequence

SPARE, MARKS = 1.25, 32  # tokens for a gap: times those of as much music, and more
LEAST_SEEN = 1 / 8  # of the context, for the music around a gap
EARLY = 0.005  # seconds; a note that begins so little before a bar line belongs to the bar

Key = tuple[int, int, bool]  # instrument, program and is_drum of the notes of a track


class Track(NamedTuple):
    """A track of a piece.

    Attributes:
        key: What its notes have in common.
        names: Names that select it: its own, if it has one, those of its instrument among the ten
            of MuseNet and of the instrument's family, and `melody` for the likeliest melody.
        pitch: Mean pitch.
        velocity: Mean velocity, for the new notes of a model without velocities.
    """

    key: Key
    names: tuple[str, ...]
    pitch: float
    velocity: int


class NewNote(NamedTuple):
    """A note for a gap: pitch, velocity, onset and end in seconds, and a track's `key`."""

    pitch: int
    velocity: int
    start: float
    end: float
    key: Key


@dataclasses.dataclass(frozen=True, eq=False)
class Gap:
    """Bars of a piece that are rewritten.

    Attributes:
        name: Name of the piece.
        sequence: The piece.
        lines: Times of the bar lines of the piece in seconds, float (M + 1,).
        first: First of the bars, from 1.
        last: Last of the bars.
        tracks: The tracks that are rewritten.
    """

    name: str
    sequence: NoteSequence
    lines: np.ndarray
    first: int
    last: int
    tracks: tuple[Track, ...]

    @classmethod
    def of(cls, name: str, sequence: NoteSequence, bars: str, tracks: Iterable[str]) -> Gap:
        """Returns the gap that a user names.

        Args:
            name: Name of the piece, for messages.
            sequence: The piece.
            bars: First and last bar, e.g. "5-8", or one bar; see `grid.bar_lines`.
            tracks: Names of tracks; empty for all.

        Raises:
            UserError: If the piece has no such bars or tracks.
        """
        known = tracks_of(sequence)
        if not known:
            raise UserError(f"{name} has no notes")
        lines = bar_lines(sequence)
        count = len(lines) - 1
        found = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", bars)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= first <= last <= count:
            raise UserError(
                f"--bars={bars}: {name} has {max(count, 0)} bars; give the first and the last one "
                "to rewrite, e.g. 5-8"
            )
        wanted = {each.strip().lower() for each in tracks}
        for each in wanted:
            if not any(each in track.names for track in known):
                names = dict.fromkeys(name for track in known for name in track.names)
                raise unknown_name(f"track of {name}", each, names)
        chosen = tuple(track for track in known if not wanted or wanted & set(track.names))
        return cls(name, sequence, lines, first, last, chosen)

    @property
    def bars(self) -> str:
        """The bars in words."""
        more = self.last > self.first
        return f"bars {self.first}-{self.last}" if more else f"bar {self.first}"

    @property
    def start(self) -> float:
        """Start of the bars in seconds."""
        return float(self.lines[self.first - 1])

    @property
    def end(self) -> float:
        """End of the bars in seconds."""
        return float(self.lines[self.last])

    def removed(self) -> np.ndarray:
        """Returns the mask of the notes that are rewritten: bool (N,)."""
        keys = {track.key for track in self.tracks}
        start, end = self.start - EARLY, self.end - EARLY
        return np.array(
            [start <= note.start_time < end and _key(note) in keys for note in self.sequence.notes]
        )

    def part(self, mask: np.ndarray) -> NoteSequence:
        """Returns the piece with the notes of a mask, bool (N,), only."""
        part = type(self.sequence)()
        part.CopyFrom(self.sequence)
        del part.notes[:]
        part.notes.extend(n for n, chosen in zip(self.sequence.notes, mask, strict=True) if chosen)
        return part

    def filled(self, notes: Iterable[NewNote]) -> NoteSequence:
        """Returns the piece with other notes in the gap; all else is as it was.

        Notes are cut at the ends of the gap, and before a note of their track and pitch that stays.
        Those that begin while it sounds are left out.
        """
        whole = self.part(~self.removed())
        staying = defaultdict(list)
        for note in whole.notes:
            staying[_key(note), note.pitch].append((note.start_time, note.end_time))
        for note in notes:
            start, end = max(note.start, self.start), min(note.end, self.end)
            others = staying[note.key, note.pitch]
            if any(begin <= start < stop for begin, stop in others):
                continue
            end = min([end, *(begin for begin, _ in others if begin > start)])
            if end > start:
                instrument, program, is_drum = note.key
                whole.notes.add(
                    pitch=note.pitch,
                    velocity=note.velocity,
                    start_time=start,
                    end_time=end,
                    instrument=instrument,
                    program=program,
                    is_drum=is_drum,
                )
        whole.total_time = max([self.sequence.total_time, *(n.end_time for n in whole.notes)])
        add_marker(whole, f"new: {self.bars}", self.start)
        add_marker(whole, "as before", self.end)
        return whole

    def tokens(self, as_before: int, mean: float, marks: int, context: int) -> tuple[int, int]:
        """Returns the largest number of new tokens, and that of tokens of the music around them.

        Args:
            as_before: Number of tokens of the bars before.
            mean: Mean number of tokens of as much music of the piece.
            marks: Number of tokens that are neither new nor of the music around.
            context: Context length in tokens.

        Raises:
            UserError: If the gap leaves no room for the music around it.
        """
        new = round(SPARE * max(as_before, mean)) + MARKS
        room = context - marks - new
        if room < context * LEAST_SEEN:
            fewer = ", or fewer --tracks" if len(self.tracks) > 1 else ""
            raise UserError(
                f"{self.name}: {self.bars} may take {context - room} tokens, and the model sees "
                f"{context}; rewrite fewer bars{fewer}"
            )
        return new, room

    def track_for(self, program: int, is_drum: bool, pitch: int) -> Track:
        """Returns the rewritten track of an instrument whose mean pitch is nearest to a note's.

        At least one of the tracks must be of the instrument that encodes `program`.
        """
        player = instrument_of(program, is_drum)
        playing = [t for t in self.tracks if instrument_of(*t.key[1:]) == player]
        return min(playing, key=lambda track: abs(track.pitch - pitch))


def _key(note: Any) -> Key:
    return note.instrument, note.program, note.is_drum


def tracks_of(sequence: NoteSequence) -> list[Track]:
    """Returns the tracks of a piece in the order of their keys."""
    labels = {info.instrument: info.name for info in sequence.instrument_infos}
    parts = {info.part: info.name for info in sequence.part_infos}  # of a score
    by_key = defaultdict(list)
    for note in sequence.notes:
        by_key[_key(note)].append(note)
    melodies = melodic_tracks(sequence)
    found = []
    for key, notes in sorted(by_key.items()):
        player = instrument_of(*key[1:])
        label = (labels.get(key[0]) or parts.get(notes[0].part, "")).strip().lower()
        is_melody = melodies and melodies[0].instrument == key[0] and not key[2]
        names = [label, player.name, player.family, "melody" if is_melody else ""]
        pitch, velocity = np.mean([(note.pitch, note.velocity) for note in notes], axis=0)
        names = tuple(dict.fromkeys(filter(None, names)))
        found.append(Track(key, names, float(pitch), round(velocity)))
    return found

"""Conversion between notes and MuseNet's tokens. Times are in units of 10 ms.

Tokens of one moment are in the order of the encodings of the original's web service.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from magenta_lite.converters.musenet import vocabulary
from magenta_lite.converters.musenet.vocabulary import BY_NAME, DRUMS, INSTRUMENTS, Instrument

PLACE = {instrument: place for place, instrument in enumerate(INSTRUMENTS)}

# Limits of repaired notes, in units: minimum duration, gap before repeats, maximum durations.
SHORTEST, GAP = 2, 1
LONGEST_PLUCKED, LONGEST = 500, 1000
MAX_VELOCITY = 127
PLUCKED = ("bass", "guitar", "harp")


class Note(NamedTuple):
    """A note of one of the ten instruments.

    Attributes:
        start: Onset in units.
        end: End in units.
        pitch: MIDI pitch, or drum key.
        velocity: 1 to 127.
        instrument: The instrument.
    """

    start: int
    end: int
    pitch: int
    velocity: int
    instrument: Instrument


class Decoded(NamedTuple):
    """Notes decoded from ids.

    Attributes:
        notes: Notes in order of start, instrument and pitch.
        units: Duration of the ids in units.
        unmatched: Number of note-offs without a note.
        hung: Number of notes without a note-off.
    """

    notes: list[Note]
    units: int
    unmatched: int
    hung: int


class NoteColumns(NamedTuple):
    """The notes of a piece, int (N,); `place` is the index of the instrument in `INSTRUMENTS`."""

    start: np.ndarray
    end: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    place: np.ndarray

    @classmethod
    def of(cls, notes: Iterable[Note]) -> NoteColumns:
        """Returns the columns of notes."""
        rows = [(*note[:-1], PLACE[note.instrument]) for note in notes]
        return cls._make(np.array(rows, int).reshape(-1, len(cls._fields)).T)

    def notes(self) -> list[Note]:
        """Returns the notes as a list."""
        rows = np.stack(self, axis=1).tolist()
        return [Note._make((*numbers, INSTRUMENTS[place])) for *numbers, place in rows]

    def at(self, places: np.ndarray) -> NoteColumns:
        """Returns the notes at `places`, int (M,)."""
        return self._make(column[places] for column in self)

    def in_order(self) -> NoteColumns:
        """Returns the notes in order of start, instrument, pitch and end."""
        return self.at(np.lexsort((self.end, self.pitch, self.place, self.start)))

    def on_ids(self) -> np.ndarray:
        """Returns the ids of the note-ons and drum hits, int (N,); see `vocabulary.on_id`."""
        return _first_on_ids()[self.place, np.clip(self.velocity, 0, MAX_VELOCITY)] + self.pitch


@functools.cache
def _first_on_ids() -> np.ndarray:
    """Returns `vocabulary.on_id` of pitch 0 for each instrument and velocity, int (10, 128)."""
    velocities = range(MAX_VELOCITY + 1)
    return np.array([[vocabulary.on_id(i, 0, v) for v in velocities] for i in INSTRUMENTS])


def ids(notes: Iterable[Note]) -> list[int]:
    """Returns the ids of notes, without prefix and end token; see `moments`."""
    return ids_of(NoteColumns.of(notes)).tolist()


def ids_of(notes: NoteColumns) -> np.ndarray:
    """Returns the ids of notes int (T,), without prefix and end token; see `moments`."""
    return with_waits(*events(notes))


def with_waits(times: np.ndarray, tokens: np.ndarray, since: int = 0) -> np.ndarray:
    """Returns ids int (T,): tokens (E,) and the waits until their times (E,) from `since` on."""
    whole, rest = np.divmod(np.diff(times, prepend=since), vocabulary.MAX_WAIT)
    lengths = whole + (rest > 0) + 1
    after = np.cumsum(lengths)
    found = np.full(lengths.sum(), vocabulary.FIRST_WAIT + vocabulary.MAX_WAIT - 1)
    short = rest > 0
    found[after[short] - 2] = vocabulary.FIRST_WAIT + rest[short] - 1
    found[after - 1] = tokens
    return found


def moments(notes: Iterable[Note]) -> list[tuple[int, list[int]]]:
    """Returns the times of note-ons and note-offs with their sorted ids; see `events`."""
    pairs = zip(*(column.tolist() for column in events(NoteColumns.of(notes))), strict=True)
    return [
        (time, [id for _, id in group])
        for time, group in itertools.groupby(pairs, lambda pair: pair[0])
    ]


def events(notes: NoteColumns) -> tuple[np.ndarray, np.ndarray]:
    """Returns the times of note-ons and note-offs, int (E,) in order, and their ids, int (E,).

    Ids of a time are sorted by drums first, then pitch, then id. A note that is struck again at its
    end has no note-off, since the new note-on ends it. Duplicate ids are removed.
    """
    keys = notes.place * vocabulary.PITCHES + notes.pitch
    most = len(INSTRUMENTS) * vocabulary.PITCHES
    struck_again = np.isin(notes.end * most + keys, notes.start * most + keys)
    ended = ~struck_again & (notes.place != PLACE[DRUMS])
    offs = np.array([instrument.off or 0 for instrument in INSTRUMENTS]) * vocabulary.PITCHES
    times = np.concatenate([notes.start, notes.end[ended]])
    tokens = np.concatenate([notes.on_ids(), (offs[notes.place] + notes.pitch)[ended]])
    ids, ranks = _ranks()
    times, places = np.divmod(np.unique(times * len(ids) + ranks[tokens]), len(ids))
    return times, ids[places]


@functools.cache
def _ranks() -> tuple[np.ndarray, np.ndarray]:
    """Returns the ids of notes in the order of a moment, and the rank of each id."""
    ids = np.array(sorted(range(vocabulary.FIRST_WAIT), key=order))
    return ids, np.argsort(ids)


def order(id: int) -> tuple[bool, int, int]:
    """Returns the sort key of an id within a moment."""
    return id < vocabulary.FIRST_DRUM, id % vocabulary.PITCHES, id


def decode(tokens: Iterable[int]) -> Decoded:
    """Returns the notes of ids; every sequence of ids is valid.

    A note-on or note-off ends the sounding note of its instrument and pitch. A drum hit ends with
    the next wait. Notes that sound at the end of the piece end there. `end` and `end_sample` end
    the piece; ids other than notes and waits are ignored.
    """
    notes: list[Note] = []
    sounding: dict[tuple[Instrument, int], Note] = {}
    hits: list[Note] = []
    now, unmatched = 0, 0
    for id in tokens:
        meaning = vocabulary.token(int(id))
        if meaning.kind in ("end", "end_sample"):
            break
        if meaning.kind == "wait":
            now += meaning.units
            notes += [hit._replace(end=now) for hit in hits]
            hits = []
        elif meaning.kind == "drum_hit":
            hits.append(Note(now, now, meaning.pitch, meaning.volume, DRUMS))
        elif meaning.kind in ("note_on", "note_off"):
            key = (BY_NAME[meaning.instrument], meaning.pitch)
            before = sounding.pop(key, None)
            if before:
                notes.append(before._replace(end=now))
            elif meaning.kind == "note_off":
                unmatched += 1
            if meaning.kind == "note_on":
                sounding[key] = Note(now, now, meaning.pitch, meaning.volume, key[0])
    hung = [note._replace(end=now) for note in sounding.values()]
    return Decoded(in_order(notes + hits + hung), now, unmatched, len(hung))


def in_order(notes: Iterable[Note]) -> list[Note]:
    """Returns notes in order of start, instrument and pitch."""
    return sorted(notes, key=lambda n: (n.start, PLACE[n.instrument], n.pitch, n.end))


def repaired(notes: Sequence[Note]) -> list[Note]:
    """Returns notes with durations that any synthesizer plays well.

    They last at least 20 ms and at most 5 s (bass, guitar, harp) or 10 s, and end 10 ms before the
    next note of their instrument and pitch; notes of zero length are dropped. Drum hits may touch,
    and have no maximum.
    """
    kept: list[Note] = []
    following: dict[tuple[Instrument, int], int] = {}
    for note in reversed(in_order(notes)):
        drum = note.instrument is DRUMS
        end = max(note.end, note.start + SHORTEST)
        key = (note.instrument, note.pitch)
        if key in following:
            end = min(end, following[key] - GAP * (not drum))
        following[key] = note.start
        if not drum:
            plucked = note.instrument.name in PLUCKED
            end = min(end, note.start + (LONGEST_PLUCKED if plucked else LONGEST))
        if end > note.start:
            kept.append(note._replace(end=end))
    return kept[::-1]


def contour(notes: Iterable[Note]) -> np.ndarray:
    """Returns a number for each note that is invariant to key, tempo and volume.

    It encodes the instrument, the interval from the previous pitch (for drums, the drum), and
    whether the note starts together with the previous one.

    Returns:
        Int (N,), in the order of `in_order`.
    """
    numbers, before, moment = [], 0, -1
    for note in in_order(notes):
        interval = note.pitch
        if note.instrument is not DRUMS:
            interval, before = note.pitch - before + vocabulary.PITCHES, note.pitch
        together, moment = note.start == moment, note.start
        numbers.append((PLACE[note.instrument] * 256 + interval) * 2 + together)
    return np.array(numbers, int)

"""Conversion between notes and MuseNet's tokens. Times are in units of 10 ms.

Tokens of one moment are in the order of the encodings of the original's web service.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from magenta_lite.converters.musenet import vocabulary
from magenta_lite.converters.musenet.vocabulary import BY_NAME, DRUMS, INSTRUMENTS, Instrument

PLACE = {instrument: place for place, instrument in enumerate(INSTRUMENTS)}

# Limits of repaired notes, in units: minimum duration, gap before repeats, maximum durations.
SHORTEST, GAP = 2, 1
LONGEST_PLUCKED, LONGEST = 500, 1000
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


def ids(notes: Iterable[Note]) -> list[int]:
    """Returns the ids of notes, without prefix and end token; see `moments`."""
    found, now = [], 0
    for time, tokens in moments(notes):
        found += vocabulary.wait_ids(time - now)
        found += tokens
        now = time
    return found


def moments(notes: Iterable[Note]) -> list[tuple[int, list[int]]]:
    """Returns the times of note-ons and note-offs with their sorted ids.

    Ids are sorted by drums first, then pitch, then id. A note that is struck again at its end has
    no note-off, since the new note-on ends it. Duplicate ids are removed.
    """
    at: dict[int, set[int]] = collections.defaultdict(set)
    struck: dict[int, set[tuple[Instrument, int]]] = collections.defaultdict(set)
    notes = list(notes)
    for note in notes:
        at[note.start].add(vocabulary.on_id(note.instrument, note.pitch, note.velocity))
        struck[note.start].add((note.instrument, note.pitch))
    for note in notes:
        if note.instrument is not DRUMS and (note.instrument, note.pitch) not in struck[note.end]:
            at[note.end].add(vocabulary.off_id(note.instrument, note.pitch))
    return [(time, sorted(at[time], key=order)) for time in sorted(at)]


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

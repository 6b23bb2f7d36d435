"""Notes as MuseNet's tokens, and back. Times are units of 10 ms.

Tokens of one moment stand in the order of the encodings that the original's service gave.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from magenta_lite.converters.musenet import vocabulary
from magenta_lite.converters.musenet.vocabulary import BY_NAME, DRUMS, INSTRUMENTS, Instrument

PLACE = {instrument: place for place, instrument in enumerate(INSTRUMENTS)}

# Repairs, in units. What a plucked string or a long note of the others sounds for at most.
SHORTEST, GAP = 2, 1
LONGEST_PLUCKED, LONGEST = 500, 1000
PLUCKED = ("bass", "guitar", "harp")


class Note(NamedTuple):
    """A note of one of the ten instruments.

    Attributes:
        start: Units.
        end: Units.
        pitch: MIDI pitch, or drum key.
        velocity: 1 to 127.
        instrument: Who plays it.
    """

    start: int
    end: int
    pitch: int
    velocity: int
    instrument: Instrument


class Decoded(NamedTuple):
    """What ids describe.

    Attributes:
        notes: In order of start, instrument and pitch.
        units: How long the ids last.
        unmatched: Note-offs that ended no note.
        hung: Notes that no note-off ended.
    """

    notes: list[Note]
    units: int
    unmatched: int
    hung: int


def ids(notes: Iterable[Note]) -> list[int]:
    """Returns the ids of notes, without prefix and end; see `moments`."""
    found, now = [], 0
    for time, tokens in moments(notes):
        found += vocabulary.wait_ids(time - now)
        found += tokens
        now = time
    return found


def moments(notes: Iterable[Note]) -> list[tuple[int, list[int]]]:
    """Returns times at which something begins or ends, and the ids of what does.

    Drums come first, then all by pitch, those of one pitch by id. A note that is struck again has
    no off: the new on ends it. What is the same twice is there once.
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
    """Returns what ids of one moment are sorted by."""
    return id < vocabulary.FIRST_DRUM, id % vocabulary.PITCHES, id


def decode(tokens: Iterable[int]) -> Decoded:
    """Returns the notes of ids; every sequence of ids is valid.

    An on ends the note of its instrument and pitch that sounds, and an off too. A drum hit ends
    with the next wait. What still sounds at the end ends there. `end` and `end_sample` end the
    piece; what is no note and no wait is passed over.
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
    """Returns notes that any synthesizer plays well.

    They last at least 20 ms, end 10 ms before the next of their instrument and pitch, and not
    after 5 s (bass, guitar, harp) or 10 s; those of no length go. Drums are struck as they are.
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
    """Returns a number for each note that stays the same in any key, tempo and volume.

    It says who plays, how far the pitch is from the one before (of drums, which drum), and whether
    they begin together.

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

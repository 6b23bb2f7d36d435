"""The fields of all notes of a NoteSequence as arrays."""

from __future__ import annotations

import operator

import numpy as np

from magenta_lite.typing import NoteSequence

# Pitch, velocity, start, end, instrument, program, is_drum: one array (N,) each.
Columns = tuple[np.ndarray, ...]

FIELDS = ("pitch", "velocity", "start_time", "end_time", "instrument", "program", "is_drum")
TYPES = (int, int, float, float, int, int, bool)

# Wire types of protocol buffers (https://protobuf.dev/programming-guides/encoding).
VARINT, FIXED_64, BYTES = range(3)
NOTES = 8 << 3 | BYTES  # tag of `NoteSequence.notes`
# Tags of the fields of a note, in the order in which they are written.
TAGS = [number << 3 | (FIXED_64 if number in (3, 4) else VARINT) for number in range(1, 15)]
NUMBERS = (1, 2, 3, 4, 7, 8, 9)  # of `FIELDS`
LONGEST = 10  # bytes of a varint

NONE = tuple(np.zeros(0, kind) for kind in TYPES)

# The bytes of the last notes, and their columns. The notes of a piece are taken several times: to
# check them, to encode them and to find related pieces.
_last: tuple[bytes, Columns] = (b"", NONE)


def parsed_notes(sequence: NoteSequence) -> Columns:
    """Returns `FIELDS` of the notes of a NoteSequence; the arrays may be shared: do not write.

    They are parsed from the bytes of the message, which takes half the time of asking its objects.
    """
    global _last
    if not sequence.notes:
        return NONE
    data = sequence.SerializeToString() + bytes(LONGEST)
    start, (known, columns) = _first_note(data), _last
    if known and data.startswith(known, start) and data[start + len(known)] != NOTES:
        return columns
    places = []
    place = start
    while data[place] == NOTES:
        places.append(place + 2)
        place += 2 + data[place + 1]
    columns = None
    if len(places) == len(sequence.notes):  # none is longer than 127 bytes
        columns = _parsed(np.frombuffer(data, np.uint8), np.array(places))
    if columns is None:  # with fields that `NoteSequence` does not have
        return _collected(sequence)
    for column in columns:
        column.flags.writeable = False
    _last = data[start:place], columns
    return columns


def _first_note(data: bytes) -> int:
    """Returns where the notes begin."""
    place = 0
    while data[place] < NOTES:
        has_size, size, shift = data[place] & 7 == BYTES, 0, 0
        more = True
        while more:
            place += 1
            size |= (data[place] & 0x7F) << shift
            shift, more = shift + 7, data[place] >= 0x80
        place += 1 + size * has_size
    return place


def _parsed(data: np.ndarray, places: np.ndarray) -> Columns | None:
    """Returns the fields of the notes whose first fields are at `places`; None if it cannot."""
    ends = places + data[places - 1]
    values = {}
    for number, tag in enumerate(TAGS, 1):
        have = np.flatnonzero((data[places] == tag) & (places < ends))
        place = places[have] + 1
        if tag & 7 == FIXED_64:
            found = data[place[:, None] + np.arange(8)].view("<f8")[:, 0]
            place += 8
        else:
            found = data[place] & np.int64(0x7F)
            for i in range(1, LONGEST):
                more = np.flatnonzero(data[place] >= 0x80)
                if not len(more):
                    break
                place[more] += 1
                found[more] |= (data[place[more]] & np.int64(0x7F)) << (7 * i)
            place += 1
        places[have] = place
        if number in NUMBERS:
            values[number] = np.zeros(len(places), found.dtype)
            values[number][have] = found
    if (places != ends).any():
        return None
    return tuple(values[n].astype(kind) for n, kind in zip(NUMBERS, TYPES, strict=True))


def _collected(sequence: NoteSequence) -> Columns:
    notes = list(sequence.notes)
    return tuple(
        np.fromiter(map(operator.attrgetter(name), notes), kind, len(notes))
        for name, kind in zip(FIELDS, TYPES, strict=True)
    )

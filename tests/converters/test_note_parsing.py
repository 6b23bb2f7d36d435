"""The notes of a NoteSequence as arrays."""

from __future__ import annotations

import numpy as np
import pytest
from note_seq.protobuf import music_pb2

from magenta_lite.converters.note_parsing import FIELDS, parsed_notes


def expected(sequence) -> dict[str, list]:
    return {name: [getattr(n, name) for n in sequence.notes] for name in FIELDS}


def check(sequence) -> None:
    columns = parsed_notes(sequence)
    assert {name: c.tolist() for name, c in zip(FIELDS, columns, strict=True)} == expected(sequence)
    kinds = [column.dtype.kind for column in columns]
    assert kinds == ["i", "i", "f", "f", "i", "i", "b"]


def random_sequence(seed: int, count: int = 50) -> music_pb2.NoteSequence:
    rng = np.random.default_rng(seed)
    sequence = music_pb2.NoteSequence(id="x" * int(rng.integers(300)), ticks_per_quarter=480)
    fields = music_pb2.NoteSequence.Note.DESCRIPTOR.fields
    for _ in range(count):
        note = sequence.notes.add()
        for field in fields:
            kind = rng.integers(4)
            if kind == 0:
                continue
            value: float = [0, int(rng.integers(128)), int(rng.integers(-(2**31), 2**31))][kind - 1]
            if field.cpp_type == field.CPPTYPE_DOUBLE:
                value = float(rng.choice([value / 7, np.inf, -0.0]))
            elif field.cpp_type == field.CPPTYPE_BOOL:
                value = bool(value)
            elif field.cpp_type == field.CPPTYPE_ENUM:
                value = abs(value) % 30
            setattr(note, field.name, value)
    return sequence


@pytest.mark.parametrize("seed", range(8))
def test_all_fields_are_those_of_the_notes(seed):
    sequence = random_sequence(seed)
    check(sequence)
    sequence.tempos.add(time=1, qpm=90)
    sequence.time_signatures.add(numerator=3, denominator=4)
    sequence.total_time = 10
    sequence.control_changes.add(control_number=64)
    check(sequence)


def test_every_change_of_the_notes_is_seen():
    sequence = random_sequence(0)
    check(sequence)
    sequence.notes[7].pitch = 61
    check(sequence)
    sequence.notes.add(pitch=60)
    check(sequence)
    del sequence.notes[-2:]
    check(sequence)
    del sequence.notes[:]
    check(sequence)
    check(music_pb2.NoteSequence(total_time=3))
    check(music_pb2.NoteSequence())


def test_notes_may_be_empty_messages_and_have_fields_of_later_versions():
    check(music_pb2.NoteSequence(notes=[{}, {"pitch": 3}, {}]))
    check(music_pb2.NoteSequence.FromString(b"\x1d1234"))  # a field 3 of another type
    for unknown in (
        b"\xfa\x01\x02ab",
        b"\xfa\x01\xc8\x01" + 200 * b"a",
        b"\x7d1234",
        b"\xf8\x01\x05",
    ):
        note = music_pb2.NoteSequence.Note.FromString(b"\x08\x40" + unknown)
        for last in (2.5, 3.5):
            check(music_pb2.NoteSequence(notes=[{"pitch": 3}, note, {"start_time": last}]))

"""Performances as recorded, their parts, and back to notes."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from golden_converters import records
from note_seq.protobuf import music_pb2

from magenta_lite.converters.base import Report
from magenta_lite.converters.event_sequences.performance import (
    EventPerformanceConverter,
    EventPerformanceConverterConfig,
)
from magenta_lite.errors import UserError

GOLDEN = Path(__file__).parents[1] / "golden" / "performances"
IDS = dict(np.load(GOLDEN / "ids.npz"))
ODD = sorted(key for key in IDS if key.startswith("odd"))


def make(**changes):
    return EventPerformanceConverter(EventPerformanceConverterConfig(**changes))


def notes_of(sequence):
    return [(n.pitch, n.velocity, n.start_time, n.end_time) for n in sequence.notes]


@pytest.mark.parametrize(("size", "bins"), [(388, 32), (356, 0)])
def test_ids_equal_the_original(size, bins):
    converter, compared = make(velocity_bins=bins), 0
    assert (
        converter.depth == converter.encoding.input_size == converter.encoding.num_classes == size
    )
    for piece in records(GOLDEN / "performances.tfrecord"):
        expected = IDS.get(f"{size}/{piece.id}")
        # The original takes drums for notes.
        if expected is None or any(note.is_drum for note in piece.notes):
            continue
        ids = converter.codec.ids(converter.codec.notes(piece, Report()))
        assert list(ids) == expected.tolist(), piece.id
        compared += 1
    assert compared >= (15 if bins else 1)


def in_388(ids):
    """Returns ids of the vocabulary of 310, which begins with two others and pitch 21, in ours."""
    ids = np.asarray(ids) - 2
    return np.select(
        [ids < 88, ids < 176, ids < 276], [ids + 21, ids - 88 + 128 + 21, ids - 176 + 256],
        ids - 276 + 356,
    )  # fmt: skip


def test_streams_that_no_converter_gives_decode_as_in_the_original():
    expected = list(records(GOLDEN / "odd_decoded.tfrecord"))
    assert len(expected) == len(ODD) > 0
    for i, sequence in enumerate(expected):
        decoded = make().decode(in_388(IDS[f"odd/{i}"]))
        np.testing.assert_allclose(
            sorted(notes_of(decoded)), sorted(notes_of(sequence)), err_msg=str(i)
        )


# Parts --------------------------------------------------------------------------------------


def piece(count=40, seconds=0.5, **note):
    sequence = music_pb2.NoteSequence()
    for i in range(count):
        sequence.notes.add(
            pitch=60 + i % 12,
            velocity=1 + 4 * (i % 20),
            start_time=i * seconds,
            end_time=(i + 1) * seconds,
            **note,
        )
    return sequence


def test_encoded_notes_decode_to_themselves():
    converter, given = make(), piece()
    (ids,) = converter.encode(given).examples
    assert notes_of(converter.decode(ids)) == notes_of(given)
    assert notes_of(converter.decode([*ids, -1, 5, -1])) == notes_of(given)
    with pytest.raises(ValueError, match="must lie in"):
        converter.decode([388])


def test_long_pieces_are_cut_into_parts_and_notes_end_with_them():
    converter = make(seconds=10, min_events=2)
    sequence = piece(41)  # the last note begins a third part
    sequence.notes[19].end_time = 12
    first, second, third = converter.encode(sequence).examples
    assert converter.steps(first) == converter.steps(second) == 1000
    assert [round(n.start_time, 2) for n in converter.decode(second).notes][:2] == [0, 0.5]
    assert converter.steps(third) == 50


def test_parts_longer_than_the_model_reads_are_cut():
    result = make(max_events=50).encode(piece())
    assert [len(ids) for ids in result.examples] == [50]
    (lost,) = (n for reason, n in result.report.dropped.items() if "event of a part" in reason)
    assert lost == 40 * 4 - 50  # a shift, a velocity, a note-on and a note-off for each note


@pytest.mark.parametrize(
    ("sequence", "reason"),
    [
        (piece(5), "part of fewer than 32 events"),
        (piece(is_drum=True), "drum note"),
        (music_pb2.NoteSequence(), "no notes"),
        (piece(seconds=1000), "music longer than 1,000,000 steps"),
    ],
)
def test_what_is_left_out_has_a_reason(sequence, reason):
    result = make().encode(sequence)
    assert not result.examples
    assert reason in result.report.dropped


def test_several_programs_are_one_only_where_that_is_asked_for():
    sequence = piece()
    sequence.notes[3].program = 40
    assert make().encode(sequence).report.dropped == {"piece of several programs": 1}
    assert len(make(merge_programs=True).encode(sequence).examples) == 1


def test_transposition_moves_note_ons_and_note_offs():
    converter = make()
    (ids,) = converter.encode(piece()).examples
    moved = converter.decode(converter.transpose(ids, 3))
    assert [n.pitch for n in moved.notes] == [n.pitch + 3 for n in piece().notes]


def test_what_is_cut_ends_with_the_step_asked_for():
    converter = make()
    ids = [60, 355, 188, 265, 62, 355]  # 1 s, off, 0.1 s, on, 1 s
    for steps, expected in ((40, [60, 295]), (105, [60, 355, 188, 260]), (250, [*ids, 295])):
        assert converter.cut([*ids, -1, -1], steps) == expected
        assert converter.steps(expected) == steps


def test_shifts_longer_than_the_longest_are_several():
    converter = make(min_events=2, seconds=0)
    sequence = piece(2)
    for note in itertools.islice(sequence.notes, 1, None):
        note.start_time, note.end_time = 3.0, 3.25
    (ids,) = converter.encode(sequence).examples
    assert ids.tolist() == [356, 60, 305, 188, 355, 355, 305, 357, 61, 280, 189]


@pytest.mark.parametrize(
    "changes", [{"velocity_bins": 128}, {"max_shift": 0}, {"max_events": 1}, {"seconds": -1}]
)
def test_impossible_settings_are_refused(changes):
    with pytest.raises(UserError, match="converter"):
        EventPerformanceConverterConfig(**changes)

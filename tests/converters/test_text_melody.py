"""Melodies that a model accompanies: as recorded, from text, and found in performances."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from golden_converters import records
from hypothesis import given, settings
from hypothesis import strategies as st
from note_seq.protobuf import music_pb2

from magenta_lite.converters.base import Report
from magenta_lite.converters.grid import at_one_tempo
from magenta_lite.converters.score import Score
from magenta_lite.converters.text_melody import (
    CHORDS_SIZE,
    RhythmCodec,
    TextMelodyCodec,
    chord_ids_of,
    chord_ids_of_text,
    legato,
    melody_notes,
)
from magenta_lite.errors import UserError

GOLDEN = Path(__file__).parents[1] / "golden" / "music_transformer" / "encoders"
IDS = dict(np.load(GOLDEN / "encoders.npz"))
VOCABULARY = json.loads((GOLDEN / "manifest.json").read_text())["vocabulary"]
PIECES = {piece.id: piece for piece in records(GOLDEN / "prepared.tfrecord")}
MELODIES = {piece.id: piece for piece in records(GOLDEN / "melody.tfrecord")}
ABSOLUTE = TextMelodyCodec()
METRIC = TextMelodyCodec(steps_per_quarter=4)


def of(*notes, total=0.0, **changes):
    """Returns a NoteSequence of notes (pitch, start, end) in seconds."""
    piece = music_pb2.NoteSequence(total_time=total)
    for pitch, start, end in notes:
        piece.notes.add(pitch=pitch, velocity=80, start_time=start, end_time=end, **changes)
    return piece


def test_sizes_are_the_originals():
    assert ABSOLUTE.size == METRIC.size == VOCABULARY["text_melody"]
    assert RhythmCodec().size == VOCABULARY["flattened_melody"]
    assert VOCABULARY["chords"] == CHORDS_SIZE


@pytest.mark.parametrize("name", sorted(MELODIES))
def test_ids_are_the_originals(name):
    melody, report = MELODIES[name], Report()
    np.testing.assert_array_equal(ABSOLUTE.ids_of(melody), IDS[f"melody_absolute/{name}"])
    metric = METRIC.ids_of(melody, report)
    wanted = IDS.get(f"melody_metric/{name}")
    if wanted is None:  # the original raises an error: the tempo changes
        assert metric == METRIC.ids_of(at_one_tempo(Score.of(melody))) != []
    else:
        np.testing.assert_array_equal(metric, wanted)
        assert set(report.dropped) <= {"no notes"}
    rhythm = IDS.get(f"flattened_melody/{name}")  # of the whole piece, dynamics and all
    if rhythm is not None:
        np.testing.assert_array_equal(RhythmCodec().ids_of(PIECES[name]), rhythm)


@pytest.mark.parametrize("name", sorted(PIECES))
def test_melodies_of_performances_are_the_originals(name):
    ours, theirs = melody_notes(PIECES[name]), MELODIES[name]
    assert list(ours.notes) == list(theirs.notes)
    assert ours.total_time == theirs.total_time
    assert list(ours.tempos) == list(theirs.tempos)


def test_a_tune_encoded_as_it_is():
    tune = PIECES["tune"]
    for codec, kind in ((ABSOLUTE, "absolute"), (METRIC, "metric")):
        np.testing.assert_array_equal(codec.ids_of(tune), IDS[f"melody_{kind}_of_tune_itself/tune"])
    for steps in (1, 4):
        np.testing.assert_array_equal(
            chord_ids_of(tune, steps), IDS[f"chords_per_quarter_{steps}/tune"]
        )


def test_text_is_read_as_by_the_original():
    text = "60 -2 60 -2 67 -2 67 -2 69 -2 69 -2 67 -2 -2 -1"
    assert ABSOLUTE.ids_of_text(text) == IDS["melody_from_text"].tolist()
    chords = "C C G G Am Am F F N.C. Bdim Caug F#m"
    assert chord_ids_of_text(chords) == IDS["chords_from_text"].tolist()


@pytest.mark.parametrize("text", ["60 -3", "C4", "20", "60.5", "109 -2"])
def test_text_that_is_no_melody_is_refused(text):
    with pytest.raises(UserError, match="21 to 108"):
        ABSOLUTE.ids_of_text(text)
    with pytest.raises(UserError, match=r"N\.C\. for none"):
        chord_ids_of_text("C H")


@pytest.mark.parametrize("codec", [ABSOLUTE, METRIC], ids=["absolute", "metric"])
@settings(max_examples=100, deadline=None)
@given(ids=st.lists(st.integers(0, 91), max_size=60))
def test_every_order_of_ids_is_a_melody_and_its_notes_are_the_same_again(codec, ids):
    decoded = codec.decode(ids, qpm=90.0)
    for note in decoded.notes:
        assert note.start_time < note.end_time <= decoded.total_time + 1e-9
    for note, following in itertools.pairwise(decoded.notes):
        assert note.end_time <= following.start_time
    again = codec.decode(codec.ids_of(decoded), qpm=90.0)
    assert [(n.pitch, n.start_time, n.end_time) for n in again.notes] == [
        (n.pitch, n.start_time, n.end_time) for n in decoded.notes
    ]
    if decoded.notes:
        assert again.total_time == decoded.total_time


def test_ids_of_an_end_and_of_nothing():
    assert ABSOLUTE.events_of([4, 0, 3, 1, 50]) == [21, -2, -1]
    with pytest.raises(ValueError, match="92"):
        ABSOLUTE.decode([92])


def test_what_is_left_out_is_counted():
    piece, report = of((60, 0, 1), (20, 1, 2)), Report()
    piece.notes.add(pitch=38, velocity=80, end_time=1, is_drum=True)
    assert ABSOLUTE.ids_of(piece, report) == [43] + [2] * 9 + [3] + [2] * 9
    assert report.dropped == {"drum note": 1, "pitch outside 21-108": 1}
    for broken, reason in (
        (of((60, 2, 1)), "a note has negative time or ends before it starts"),
        (of((60, 0, 1e9)), "music longer than 1,000,000 steps"),
        (of(), "no notes"),
    ):
        for encode in (ABSOLUTE.ids_of, RhythmCodec().ids_of):
            report = Report()
            assert encode(broken, report) == []
            assert report.dropped == {reason: 1}


@pytest.mark.parametrize("qpm", [0.0, -5.0, float("nan"), float("inf")])
def test_impossible_tempos_are_reported(qpm):
    piece = of((60, 0, 1))
    piece.tempos.add(qpm=qpm)
    for encode in (METRIC.ids_of, lambda piece, report: chord_ids_of(piece, 4, report)):
        report = Report()
        assert encode(piece, report) == []
        assert report.dropped == {"tempo that is not a positive number": 1}


def test_a_melody_takes_no_part_of_drums_and_needs_music():
    piece = of((60, 0, 1), (72, 0, 1), (74, 1, 2), total=float("nan"))
    piece.control_changes.add(time=0.5, control_number=64, control_value=127)
    piece.notes.add(pitch=90, velocity=80, end_time=2, is_drum=True, instrument=9)
    melody = melody_notes(piece)
    assert [(n.pitch, n.start_time, n.end_time) for n in melody.notes] == [(72, 0, 1), (74, 1, 2)]
    assert {n.instrument for n in melody.notes} == {10} and not melody.control_changes
    assert not melody_notes(of((60, 2, 1))).notes
    assert len(piece.notes) == 4


def test_no_melody_is_sought_in_endless_pieces():
    piece = of(*((60, t / 10, t / 10 + 0.05) for t in range(6000)))
    with pytest.raises(UserError, match="6,000 notes"):
        melody_notes(piece)


def test_legato_leaves_no_rests():
    drawn = legato(Score.of(of((60, 0, 1), (64, 2, 2.5), (62, 1.5, 3), total=4.0))).sequence()
    assert sorted((n.start_time, n.end_time, n.pitch) for n in drawn.notes) == [
        (0, 1.5, 60), (1.5, 2, 62), (2, 4, 64)
    ]  # fmt: skip
    assert not len(legato(Score.of(of())).notes)

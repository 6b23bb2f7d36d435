"""Scores: the notes of a NoteSequence as arrays, split and shifted as by note_seq."""

from __future__ import annotations

import numpy as np
import pytest
from note_seq import sequences_lib
from note_seq.protobuf import music_pb2

from magenta_lite.converters.score import Score


def random_piece(seed: int, seconds: float = 20.0) -> music_pb2.NoteSequence:
    """Returns a piece with many coincidences, and with all that a score keeps."""
    rng = np.random.default_rng(seed)

    def times(most: int) -> list[float]:
        found = rng.uniform(0, seconds, rng.integers(most))
        return np.where(rng.integers(2, size=len(found)), found.round(), found).tolist()

    piece = music_pb2.NoteSequence(ticks_per_quarter=220, filename="a/b.mid")
    for start in times(40):
        piece.notes.add(
            pitch=int(rng.integers(128)),
            velocity=int(rng.integers(128)),
            start_time=start,
            end_time=start + float(rng.choice([0, 0.5, 1, rng.uniform(0, 4)])),
            instrument=int(rng.integers(3)),
            program=int(rng.integers(128)),
            is_drum=bool(rng.integers(2)),
        )
    piece.total_time = max([note.end_time for note in piece.notes], default=0) + rng.choice([0, 3])
    for time in (0, *times(4))[rng.integers(2) :]:
        piece.tempos.add(time=time, qpm=float(rng.choice([60, 100, 120])))
    for time in (0, *times(4))[rng.integers(2) :]:
        piece.time_signatures.add(time=time, numerator=int(rng.choice([3, 4])), denominator=4)
    for time in times(5):
        piece.text_annotations.add(time=time, text="C", annotation_type=int(rng.integers(2)))
        piece.control_changes.add(time=time, control_number=64, control_value=127, instrument=1)
    piece.instrument_infos.add(instrument=0, name="lead")
    piece.sequence_metadata.genre.append("jazz")
    return piece


def same(scores: list[Score], sequences: list) -> bool:
    """Returns whether scores are sequences without control changes."""
    found = [score.sequence() for score in scores]
    for each in (*found, *sequences):
        each.ClearField("subsequence_info")
        del each.control_changes[:]
    return found == list(sequences)


@pytest.mark.parametrize("seed", range(30))
def test_scores_are_changed_as_note_seq_changes_sequences(seed):
    piece = random_piece(seed)
    score = Score.of(piece)
    assert score.sequence() == piece
    assert Score.of(score) is score
    end = piece.total_time
    times = [end / 3, end / 2]
    if end:
        assert same(score.split(times), sequences_lib.split_note_sequence(piece, times))
        part = sequences_lib.extract_subsequence(piece, *times)
        assert same([score.between(*times)], [part])
    assert same(
        score.split_on_time_changes(), sequences_lib.split_note_sequence_on_time_changes(piece)
    )
    later = sequences_lib.shift_sequence_times(piece, 1.5)
    assert same([score.later(1.5)], [later])


def test_a_score_keeps_fields_that_notes_lack_and_values_of_any_size():
    notes = [{}, {"pitch": 3, "program": -7}, {"start_time": np.inf, "velocity": 2**31 - 1}]
    score = Score.of(music_pb2.NoteSequence(notes=notes, total_time=3, id="x"))
    assert score.notes.pitch.tolist() == [0, 3, 0]
    assert score.notes.program.tolist() == [0, -7, 0]
    assert score.notes.velocity.tolist() == [0, 0, 2**31 - 1]
    assert score.notes.start.tolist() == [0, 0, np.inf]
    assert [score.notes.is_drum.dtype, score.notes.end.dtype] == [bool, float]
    assert (score.total_time, score.header.id, len(score.header.notes)) == (3, "x", 0)
    empty = Score.of(music_pb2.NoteSequence())
    assert len(empty.notes) == len(empty.controls) == empty.end == 0
    assert empty.sequence() == music_pb2.NoteSequence()

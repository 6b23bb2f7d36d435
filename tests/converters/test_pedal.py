"""The sustain pedal is that of note_seq."""

import numpy as np
from note_seq import sequences_lib
from note_seq.protobuf import music_pb2

from magenta_lite.converters.pedal import with_sustain, without_pedal


def pedalled(seed):
    """Returns a piece of few pitches and times, so that many events coincide."""
    rng = np.random.default_rng(seed)
    piece = music_pb2.NoteSequence(total_time=float(rng.integers(0, 12)))
    for _ in range(rng.integers(0, 40)):
        start = int(rng.integers(0, 10))
        piece.notes.add(
            pitch=60 + int(rng.integers(3)),
            velocity=int(rng.integers(1, 4)),
            start_time=start,
            end_time=start + int(rng.integers(0, 4)),
            instrument=int(rng.integers(2)),
            is_drum=bool(rng.random() < 0.2),
        )
    for _ in range(rng.integers(1, 12)):
        piece.control_changes.add(
            time=int(rng.integers(0, 14)),
            control_number=int(rng.choice([64, 64, 64, 7])),
            control_value=int(rng.choice([0, 63, 64, 127])),
            instrument=int(rng.integers(2)),
        )
    return piece


def test_pedals_hold_the_notes_that_note_seq_holds():
    for seed in range(500):
        piece = pedalled(seed)
        before = piece.SerializeToString()
        assert with_sustain(piece) == sequences_lib.apply_sustain_control_changes(piece), seed
        assert piece.SerializeToString() == before


def test_a_piece_without_a_pedal_is_returned_as_it_is():
    piece = music_pb2.NoteSequence()
    assert with_sustain(piece) is piece


def test_a_pedal_pressed_in_a_span_is_pressed_at_its_end_unless_it_changes_there():
    def changes(*pedal):
        piece = music_pb2.NoteSequence()
        for time, value in pedal:
            piece.control_changes.add(time=time, control_number=64, control_value=value)
        found = without_pedal(piece, 2.0, 4.0).control_changes
        return [(change.time, change.control_value) for change in found]

    assert changes((1.0, 127), (3.0, 0)) == [(1.0, 127), (3.0, 0)]
    assert changes((2.0, 127), (3.0, 0), (5.0, 90)) == [(3.0, 0), (5.0, 90)]
    assert sorted(changes((3.0, 127), (5.0, 0))) == [(4.0, 127), (5.0, 0)]
    # A file would have both in one tick, in either order.
    for time in (4.0, 4.001):
        assert changes((3.0, 127), (time, 0)) == [(time, 0)]

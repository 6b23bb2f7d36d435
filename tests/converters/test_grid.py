"""Where bars begin: changes of tempo and meter, and pickups."""

import numpy as np
import pytest
from note_seq.protobuf import music_pb2

from magenta_lite.converters.grid import (
    as_one_stretch,
    bar_lines,
    split_on_time_changes,
    stretches,
)
from magenta_lite.converters.melody import MelodyConverter, MelodyConverterConfig

QUARTER = 0.5  # seconds
SCALE = [60, 62, 64, 65, 67, 65, 64, 62]


def tune(quarters, *meters, first=0.0):
    """Returns a scale in quarters, and meters (quarter, numerator, denominator)."""
    sequence = music_pb2.NoteSequence()
    sequence.tempos.add(qpm=120)
    for start, numerator, denominator in meters:
        sequence.time_signatures.add(
            time=start * QUARTER, numerator=numerator, denominator=denominator
        )
    for i in range(quarters):
        sequence.notes.add(
            pitch=SCALE[i % len(SCALE)],
            velocity=80,
            start_time=(first + i) * QUARTER,
            end_time=(first + i + 1) * QUARTER,
        )
    sequence.total_time = (first + quarters) * QUARTER
    return sequence


def starts(stretch):
    """Returns the position of each note in quarters."""
    return [round(start / QUARTER, 6) for start in stretch.notes.start.tolist()]


def meters_of(parts):
    return [
        (part.numerator, part.denominator, starts(part)[0], len(starts(part))) for part in parts
    ]


@pytest.mark.parametrize(
    ("meters", "parts"),
    [
        ([], [(4, 4, 0, 16)]),
        ([(0, 4, 4), (8, 4, 4)], [(4, 4, 0, 16)]),  # stated again
        ([(0, 1, 4), (1, 4, 4)], [(4, 4, 3, 16)]),  # a pickup
        ([(0, 3, 8), (1.5, 4, 4)], [(4, 4, 2.5, 16)]),
        ([(1, 4, 4)], [(4, 4, 3, 16)]),  # a pickup before the first time signature
        ([(0, 4, 4), (1, 4, 4)], [(4, 4, 3, 16)]),
        ([(0, 4, 4), (8, 3, 4)], [(4, 4, 0, 8), (3, 4, 0, 8)]),
        ([(0, 4, 4), (8, 2, 4), (10, 4, 4)], [(4, 4, 0, 8), (4, 4, 2, 8)]),  # half a bar
        ([(0, 4, 4), (4, 3, 4), (7, 1, 4), (8, 4, 4)], [(4, 4, 0, 16)]),  # a bar in two parts
        ([(0, 6, 8), (6, 4, 4), (1000, 3, 4)], [(6, 8, 0, 6), (4, 4, 0, 10)]),
        ([(0, 4, 0), (8, 4, 4)], [(4, 0, 0, 8), (4, 4, 0, 8)]),  # invalid
        ([(0.01, 4, 4)], [(4, 4, 0, 16)]),  # a tick late
    ],
)
def test_a_piece_is_split_where_its_meter_changes(meters, parts):
    assert meters_of(stretches(tune(16, *meters))) == parts


def test_pickups_shift_chord_symbols_with_the_notes():
    piece = tune(9, (0, 1, 4), (1, 4, 4))
    piece.text_annotations.add(text="C", time=QUARTER, annotation_type=1)
    (stretch,) = stretches(piece)
    assert stretch.score.text_annotations[0].time == 4 * QUARTER


def slower(sequence, time, factor):
    """Returns `sequence` with notes that last `factor` times as long from `time` on."""
    piece = music_pb2.NoteSequence()
    piece.CopyFrom(sequence)
    piece.tempos.add(time=time, qpm=piece.tempos[-1].qpm / factor)
    for event in piece.notes:
        for name in ("start_time", "end_time"):
            value = getattr(event, name)
            setattr(event, name, value + max(value - time, 0) * (factor - 1))
    piece.total_time += max(piece.total_time - time, 0) * (factor - 1)
    return piece


@pytest.mark.parametrize(("time", "factor"), [(6, 1.3), (1.25, 2), (0.25, 0.8), (3.9, 7)])
def test_windows_of_a_ritardando_are_those_at_one_tempo(time, factor):
    converter = MelodyConverter(MelodyConverterConfig())
    even = tune(32)
    wanted = [window.tolist() for window in converter.encode(even).examples]
    piece = slower(slower(even, time, factor), time + 1, 1.1)
    assert [window.tolist() for window in converter.encode(piece).examples] == wanted
    assert len(split_on_time_changes(piece)) == 3


def test_a_whole_song_has_the_bar_lines_of_its_last_meter():
    stretch, bars = as_one_stretch(tune(20, (0, 1, 4), (1, 4, 4), (9, 3, 4)))
    assert (stretch.numerator, stretch.denominator) == (3, 4)
    assert starts(stretch)[0] == 0  # 3 bars of 3/4 instead of the pickup and 2 bars of 4/4
    assert bars == 0
    stretch, bars = as_one_stretch(tune(20, (0, 2, 4), (4, 4, 4), (12, 2, 4)))
    assert starts(stretch)[0] == 0 and bars == 4 - 6
    assert as_one_stretch(tune(8))[1] == 0


def test_bar_lines_follow_metre_tempo_and_pickup():
    sequence = music_pb2.NoteSequence()
    sequence.tempos.add(qpm=60)
    sequence.tempos.add(qpm=120, time=7)
    sequence.time_signatures.add(numerator=3, denominator=4)
    for beat in range(12):
        sequence.notes.add(pitch=60, velocity=80, start_time=beat, end_time=beat + 0.9)
    # Two bars of 3 s, one with a beat of 1 s and two of 0.5 s, then bars of 1.5 s.
    np.testing.assert_allclose(bar_lines(sequence), [0, 3, 6, 8, 9.5, 11, 12.5])
    with_pickup = music_pb2.NoteSequence()
    with_pickup.CopyFrom(sequence)
    del with_pickup.tempos[1:]
    with_pickup.time_signatures[0].numerator, with_pickup.time_signatures[0].denominator = 1, 4
    with_pickup.time_signatures.add(numerator=3, denominator=4, time=1)
    np.testing.assert_allclose(bar_lines(with_pickup), [0, 1, 4, 7, 10, 13])
    changing = music_pb2.NoteSequence()
    changing.CopyFrom(with_pickup)
    changing.time_signatures[0].numerator = 3
    changing.time_signatures[1].time = 6
    changing.time_signatures[1].numerator = 4
    np.testing.assert_allclose(bar_lines(changing), [0, 3, 6, 10, 14])
    changing.tempos[0].qpm = -1
    assert not len(bar_lines(changing))

"""The converter of bars with several instruments: known ids, and its own promises."""

import itertools

import numpy as np
import pytest
from golden_converters import drums, piece
from hypothesis import given, settings
from hypothesis import strategies as st
from note_seq import performance_lib, sequences_lib
from note_seq.protobuf import music_pb2

from magenta_lite.converters.multi_performance import (
    MultiPerformanceConverter,
    MultiPerformanceConverterConfig,
)
from magenta_lite.errors import UserError

BARS = MultiPerformanceConverter(MultiPerformanceConverterConfig())
PADDED = MultiPerformanceConverter(MultiPerformanceConverterConfig(pad_edges=True))
END = 489


def known_bar(**kwargs):
    """Returns the bar whose ids are known; `kwargs` go to its piano."""
    tune = piece((60, 0, 4), (62, 4, 8), (64, 8, 16), **kwargs)
    piece((36, 0, 16), program=33, instrument=1, velocity=90, to=tune)
    return drums((38, 4), instrument=9, to=tune)


KNOWN_TRACKS = [
    [360, 356, 60, 279, 188, 62, 279, 190, 64, 303, 192, END],
    [393, 357, 36, 351, 164, END],
    [488, 279, 356, 38, 261, 166, 321, END],
    *[[END]] * 5,
]


def joined(tracks):
    return np.array([[*track, *[0] * (64 - len(track))] for track in tracks]).ravel()


def test_known_ids():
    (example,) = BARS.encode(known_bar()).examples
    assert example.tolist() == joined(KNOWN_TRACKS).tolist()
    assert example.dtype == np.uint16


def test_format():
    form = BARS.event_format
    assert (form.kind, form.sizes, form.segments, form.end_id) == ("categorical", (490,), 8, END)
    assert BARS.window_steps == 512
    assert form.event_dtype == np.uint16
    assert BARS.pitch_ids == ((0, 0, 127), (0, 128, 255))
    assert BARS.fixed_segment_id == 488


def test_decoding_gives_the_notes_back():
    tune = BARS.decode(joined(KNOWN_TRACKS))
    found = [
        (n.pitch, n.start_time, n.end_time, n.velocity, n.program, n.is_drum, n.instrument)
        for n in tune.notes
    ]
    assert found == [
        (60, 0, 0.5, 65, 0, False, 0),
        (62, 0.5, 1, 65, 0, False, 0),
        (64, 1, 2, 65, 0, False, 0),
        (36, 0, 2, 81, 33, False, 1),
        (38, 0.5, 0.625, 65, 0, True, 2),
    ]
    assert tune.total_time == 2


def test_tracks_stand_in_order_of_program_with_drums_last():
    tune = drums((38, 0), instrument=0)
    for instrument, program in ((1, 90), (2, 5), (3, 40)):
        piece((60, 0, 16), program=program, instrument=instrument, to=tune)
    (example,) = BARS.encode(tune).examples
    assert example[:256:64].tolist() == [365, 400, 450, 488]


def random_piece(seed, notes=60):
    random = np.random.default_rng(seed)
    tune = piece()
    for _ in range(notes):
        start = random.uniform(0, 2)
        tune.notes.add(
            pitch=int(random.integers(30, 90)),
            velocity=int(random.integers(1, 128)),
            start_time=start,
            end_time=min(start + random.exponential(0.3), 2.0),
            instrument=int(random.integers(4)),
        )
    return tune


@pytest.mark.parametrize("seed", range(5))
def test_events_are_those_of_note_seqs_performances(seed):
    """`MetricPerformance` is the representation that the original stores."""
    converter = MultiPerformanceConverter(MultiPerformanceConverterConfig(max_events=200))
    tune = random_piece(seed)
    for note in tune.notes:  # on the grid: there all of a step are in order of their pitch
        note.start_time = min(round(note.start_time * 48), 95) / 48
        note.end_time = max(round(note.end_time * 48) / 48, note.start_time)
    (example,) = converter.encode(tune).examples
    quantized = sequences_lib.quantize_note_sequence(tune, 24)
    first = {1: 0, 2: 128, 3: 256 - 1, 4: 352 - 1}
    for instrument, track in enumerate(example.reshape(8, 200)[:4].tolist()):
        performance = performance_lib.MetricPerformance(
            quantized, num_velocity_bins=8, instrument=instrument
        )
        expected = [first[event.event_type] + event.event_value for event in performance]
        actual = list(itertools.takewhile(lambda event: event != END, track))[1:]
        assert actual[: len(expected)] == expected
        assert all(256 <= event < 352 for event in actual[len(expected) :])  # to the bar's end


@pytest.mark.parametrize("seed", range(5))
def test_what_the_converter_writes_decodes_and_encodes_to_itself(seed):
    converter = MultiPerformanceConverter(MultiPerformanceConverterConfig(max_events=200))
    (example,) = converter.encode(random_piece(seed)).examples
    (again,) = converter.encode(converter.decode(example)).examples
    np.testing.assert_array_equal(again, example)


ids = st.one_of(
    st.integers(0, 489),
    st.integers(30, 90),
    st.integers(158, 218),
    st.integers(256, 290),
    st.just(END),
)


@settings(deadline=None, max_examples=200)
@given(st.lists(ids, min_size=512, max_size=512) | st.lists(ids, min_size=3, max_size=40))
def test_with_padding_every_sample_of_a_model_encodes(events):
    events = np.resize(events, 512)
    tune = PADDED.decode(events)
    for note in tune.notes:
        assert 0 <= note.start_time < note.end_time <= 2
        assert 0 < note.velocity <= 127
    assert len(PADDED.encode(tune).examples) == bool(tune.notes)


def test_ids_in_no_sensible_order_are_still_music():
    track = [190, 60, 60, 261, 188, 370, 488, 188, 188, 62, 190, 64, 351, 351, 65, 66, 194]
    tune = BARS.decode(joined([track, [END, 60, 351, 188], *[[END]] * 6]))
    found = [(n.pitch, n.start_time, n.end_time, n.program, n.instrument) for n in tune.notes]
    assert found == [(60, 0, 0.125, 0, 0), (60, 0, 0.125, 0, 0), (64, 0.125, 2, 0, 0)]
    with pytest.raises(ValueError, match="490"):
        BARS.decode(np.full(512, 490))


def test_notes_go_to_the_bar_of_their_nearest_step():
    tune = known_bar()
    piece((67, 16, 32), (69, 20, 32), (71, 24, 32), to=tune)
    piece((40, 16, 32), program=33, instrument=1, to=tune)
    tune.notes[-1].start_time -= 0.005
    first, second = BARS.encode(tune).examples
    assert first.tolist() == joined(KNOWN_TRACKS).tolist()
    assert second[64:70].tolist() == [393, 356, 40, 351, 168, END]


def test_a_held_note_ends_with_its_bar():
    tune = known_bar()
    tune.notes[3].end_time = 5.0
    result = BARS.encode(tune)
    assert result.examples[0].tolist() == joined(KNOWN_TRACKS).tolist()
    assert result.report.dropped == {"rest of a note that is held into the next bar": 1}


def test_the_sustain_pedal_holds_notes():
    tune = known_bar()
    tune.total_time = 2.0
    for time, value in ((0.0, 127), (0.25, 127), (1.0, 0)):
        tune.control_changes.add(time=time, control_number=64, control_value=value)
    (example,) = BARS.encode(tune).examples
    notes = {note.pitch: note.end_time for note in BARS.decode(example).notes}
    assert (notes[60], notes[62], notes[64]) == (1.0, 1.0, 2.0)


def test_an_instrument_that_changes_its_program_is_two_tracks():
    tune = piece((60, 0, 4), (62, 4, 8))
    piece((64, 8, 12), (65, 12, 16), program=20, to=tune)
    (example,) = BARS.encode(tune).examples
    assert example[:192:64].tolist() == [360, 380, END]


@pytest.mark.parametrize(
    ("tune", "reason"),
    [
        (piece((60, 0, 4), (62, 4, 8)), "bar with fewer than 2 instruments"),
        (piece((36, 0, 16), instrument=1, to=piece((60, 0, 16))), None),
        (drums((36, 0), to=piece((60, 0, 16)), instrument=9), None),
        (known_bar(meter=(3, 4)), "time signature 3/4 is not 4/4"),
        (known_bar(velocity=0), "note of velocity 0"),
        (piece((128, 0, 16), to=known_bar()), "pitch outside 0-127"),
        (piece((60, 0, 16), program=128, to=known_bar()), "note of a program outside 0-127"),
        (
            piece(*[(60, i, i + 1) for i in range(16)] * 2, to=known_bar()),
            "bar with more than 62 events of an instrument",
        ),
        (music_pb2.NoteSequence(), "no notes"),
    ],
)
def test_what_is_left_out_is_counted_with_its_reason(tune, reason):
    result = BARS.encode(tune)
    assert result.report.dropped[reason] >= 1 if reason else result.examples


def test_bars_with_too_few_events_or_too_many_instruments():
    tune = drums((36, 0), instrument=9, to=piece((60, 0, 16)))
    assert len(BARS.encode(tune).examples) == 1  # 4 events and 5
    for note in tune.notes:
        note.end_time = 2.0
    many = MultiPerformanceConverter(MultiPerformanceConverterConfig(min_events=9))
    assert many.encode(tune).report.dropped == {"bar with fewer than 9 events in all": 1}
    for instrument in range(10, 18):
        piece((60, 0, 16), instrument=instrument, to=tune)
    assert BARS.encode(tune).report.dropped == {"bar with more than 8 instruments": 1}


def test_with_padding_long_tracks_are_cut():
    tune = piece(*[(60, i, i + 1) for i in range(16)] * 2, to=known_bar())
    result = PADDED.encode(tune)
    (example,) = result.examples
    assert example[63] == END
    assert result.report.dropped["event of an instrument after 62 in a bar"] > 1


def two_bars():
    tune = known_bar()
    piece((72, 16, 20), (74, 20, 24), (76, 24, 32), to=tune)
    return piece((40, 16, 32), program=33, instrument=1, velocity=90, to=tune)


def test_the_first_bar_only_or_at_most_so_many():
    assert len(BARS.encode(two_bars()).examples) == 2
    for config in (
        MultiPerformanceConverterConfig(first_only=True),
        MultiPerformanceConverterConfig(max_examples=1),
    ):
        (example,) = MultiPerformanceConverter(config).encode(two_bars()).examples
        assert example.tolist() == joined(KNOWN_TRACKS).tolist()


def test_each_event_has_the_chord_of_its_time():
    tune = known_bar()
    for step, text in ((0, "C"), (4, "F"), (16, "G"), (24, "Csus4")):
        kind = music_pb2.NoteSequence.TextAnnotation.CHORD_SYMBOL
        tune.text_annotations.add(time=step / 8, text=text, annotation_type=kind)
    converter = MultiPerformanceConverter(MultiPerformanceConverterConfig(chords=True))
    refused = converter.encode(tune)
    assert not refused.examples
    assert ["Csus4"] in refused.report.places.values()

    tune.text_annotations.pop()
    result = converter.encode(tune)
    (chords,) = result.controls
    assert chords.dtype == np.uint8
    tracks = chords.reshape(8, 64)
    assert tracks[0, :13].tolist() == [0, 1, 1, 1, 6, 6, 6, 6, 6, 6, 8, 8, 0]
    assert tracks[1, :7].tolist() == [0, 1, 1, 1, 8, 8, 0]
    assert not tracks[3:].any()
    assert converter.event_format.control == "chords"


def test_drums_and_filling_stay_under_transposition():
    (example,) = BARS.encode(known_bar()).examples
    moved = BARS.transpose(example, 3)
    expected = [[id + 3 if id < 256 else id for id in track] for track in KNOWN_TRACKS[:2]]
    assert moved.tolist() == joined([*expected, *KNOWN_TRACKS[2:]]).tolist()
    assert BARS.transposition_key(moved) == BARS.transposition_key(example)
    assert BARS.possible_shift(example, -60) == -36
    assert BARS.possible_shift(example, 100) == 63
    lowest = BARS.transpose(example, -60).reshape(8, 64)
    assert lowest[1, :6].tolist() == [393, 357, 0, 351, 128, END]


def test_other_sizes_move_the_ids():
    config = MultiPerformanceConverterConfig(
        velocity_bins=0, steps_per_quarter=4, max_instruments=3, max_events=32
    )
    converter = MultiPerformanceConverter(config)
    assert converter.event_format.end_id == 128 + 128 + 16 + 0 + 128 + 1
    (example,) = converter.encode(known_bar()).examples
    assert example.shape == (96,)
    assert len(converter.decode(example).notes) == 5
    with pytest.raises(UserError, match="max_instruments"):
        MultiPerformanceConverterConfig(max_instruments=1)
    with pytest.raises(UserError, match="velocity_bins"):
        MultiPerformanceConverterConfig(velocity_bins=128)

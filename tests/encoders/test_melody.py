"""The melody encoder against the recorded conversions, and its own promises."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from note_seq.protobuf import music_pb2

from magenta_lite.encoders import build_encoder
from magenta_lite.encoders.melody import MelodyEncoder, MelodyEncoderConfig

GOLDEN = Path(__file__).parents[1] / "golden" / "converters"
MANIFEST = json.loads((GOLDEN / "manifest.json").read_text())
NAMES = ("mel_2bar", "mel_2bar_skip_polyphony", "mel_16bar", "mel_whole_end_token")
STORED = 40  # windows of a piece that the recording kept
SIXTEENTH = 0.125  # seconds at 120 quarter notes a minute

TWO_BARS = MelodyEncoder(MelodyEncoderConfig(bars=2, programs=(0, 31)))


def records(path):
    """Yields the NoteSequences of a TFRecord file."""
    data = path.read_bytes()
    position = 0
    while position < len(data):
        (length,) = struct.unpack("<Q", data[position : position + 8])
        yield music_pb2.NoteSequence.FromString(data[position + 12 : position + 12 + length])
        position += length + 16


def recorded_encoder(name):
    options = MANIFEST["converters"][name]["options"]
    return MelodyEncoder(
        MelodyEncoderConfig(
            bars=options.get("slice_bars", 0),
            programs=(0, 31) if "valid_programs" in options else None,
            skip_polyphony=options.get("skip_polyphony", False),
            end_token=options.get("add_end_token", False),
            max_bars=options["max_bars"],
        )
    )


@pytest.fixture(scope="module")
def sequences():
    return {sequence.id: sequence for sequence in records(GOLDEN / "sequences.tfrecord")}


def one_hot(encoder, examples):
    """Returns windows as the recording holds them: padded one-hot, sorted by their bytes."""
    steps = max(len(example) for example in examples)
    padded = np.zeros((len(examples), steps, encoder.depth), bool)
    for row, example in zip(padded, examples, strict=True):
        row[: len(example)] = encoder.one_hot(example)
    return np.array(sorted(padded, key=lambda row: row.astype(np.uint8).tobytes())[:STORED])


@pytest.mark.parametrize("name", NAMES)
def test_windows_equal_the_recorded_ones(name, sequences):
    encoder = recorded_encoder(name)
    recorded = np.load(GOLDEN / f"{name}.npz")
    checked = 0
    for key, numbers in MANIFEST["converters"][name]["sequences"].items():
        examples = encoder.encode(sequences[key]).examples
        assert len(examples) == numbers["windows_all"], key
        if examples:
            expected = recorded[f"{key}/outputs"]
            np.testing.assert_array_equal(one_hot(encoder, examples), expected, err_msg=key)
            checked += len(expected)
    assert checked > 30


@pytest.mark.parametrize("name", NAMES)
def test_decoding_gives_the_recorded_sequences(name):
    encoder = recorded_encoder(name)
    recorded = np.load(GOLDEN / f"{name}.npz")
    for expected in records(GOLDEN / f"{name}.back.tfrecord"):
        length = recorded[f"{expected.id}/lengths"][0]
        events = recorded[f"{expected.id}/outputs"][0][:length].argmax(-1)
        actual = encoder.decode(events)
        actual.id = expected.id
        assert actual == expected


def piece(*notes, program=0, instrument=0, sequence=None, meter=(4, 4)):
    """Returns notes (pitch, first step, end step) at 120 quarter notes a minute."""
    if sequence is None:
        sequence = music_pb2.NoteSequence()
        sequence.tempos.add(qpm=120)
        sequence.time_signatures.add(numerator=meter[0], denominator=meter[1])
    for pitch, start, end in notes:
        sequence.notes.add(
            pitch=pitch,
            velocity=80,
            start_time=start * SIXTEENTH,
            end_time=end * SIXTEENTH,
            program=program,
            instrument=instrument,
        )
    return sequence


TWINKLE = [60, 60, 67, 67, 69, 69, 67, None, 65, 65, 64, 64, 62, 62, 60, None]


def twinkle():
    notes = []
    for i, pitch in enumerate(TWINKLE):
        if pitch:
            held = 2 if i + 1 == len(TWINKLE) or TWINKLE[i + 1] else 4
            notes.append((pitch, 2 * i, 2 * i + held))
    return piece(*notes)


def test_twinkle_gives_the_known_ids():
    (example,) = TWO_BARS.encode(twinkle()).examples
    expected = "41 0 41 0 48 0 48 0 50 0 50 0 48 0 0 0 46 0 46 0 45 0 45 0 43 0 43 0 41 0 0 0"
    assert example.tolist() == [int(number) for number in expected.split()]


@pytest.mark.parametrize(
    ("notes", "windows"),
    [
        ([(60, 16, 32)], 0),  # first bar silent
        ([(60, 0, 16)], 0),  # second bar silent
        ([(51, 24, 40)], 1),
        ([(60, 0, 4), (62, 20, 24), (64, 30, 32)], 0),  # a gap of 16 steps splits
        ([(60, 0, 4), (62, 19, 24), (64, 30, 32)], 1),  # one of 15 does not
        ([(60, 0, 4), (62, 8, 40), (64, 44, 48)], 2),
        ([(60, 0, 32), (64, 8, 12)], 0),  # the note that starts last says where the melody ends
        ([(60 + bar, 16 * (bar % 1) + 16 * bar, 16 * bar + 16) for bar in range(8)], 7),
        ([(60, 16 * bar, 16 * bar + 16) for bar in range(4)], 1),  # all windows alike
    ],
)
def test_how_many_windows_notes_give(notes, windows):
    assert len(TWO_BARS.encode(piece(*notes)).examples) == windows


def test_a_note_held_over_the_left_edge_of_a_window_is_lost():
    first, second = TWO_BARS.encode(piece((60, 0, 4), (62, 8, 40), (64, 44, 48))).examples
    assert first[8] == 62 - 19
    assert second[:28].tolist() == [0] * 28


def test_the_highest_of_several_notes_wins_and_brings_its_end():
    tune = piece((60, 0, 4), (64, 0, 8), (67, 0, 2), (65, 16, 32))
    (example,) = TWO_BARS.encode(tune).examples
    assert example[:4].tolist() == [67 - 19, 0, 1, 0]


def test_every_instrument_gives_its_own_windows():
    tune = piece((60, 0, 32))
    piece((72, 0, 32), instrument=1, sequence=tune)
    assert len(TWO_BARS.encode(tune).examples) == 2


def test_at_most_so_many_windows_of_a_piece():
    tune = piece(*[(60 + bar, 16 * bar, 16 * bar + 16) for bar in range(8)])
    encoder = MelodyEncoder(MelodyEncoderConfig(max_examples=5))
    result = encoder.encode(tune)
    everything = TWO_BARS.encode(tune).examples
    assert [e.tolist() for e in result.examples] == [e.tolist() for e in everything[:5]]
    assert result.report.dropped["more than 5 windows in a piece"] == 2


def silent_piece():
    return music_pb2.NoteSequence()


def drums():
    tune = piece((60, 0, 32))
    tune.notes[0].is_drum = True
    return tune


def backwards():
    tune = piece((60, 0, 32))
    tune.notes[0].start_time = -1
    return tune


@pytest.mark.parametrize(
    ("tune", "reason"),
    [
        (silent_piece(), "no notes"),
        (drums(), "drum note"),
        (backwards(), "a note has negative time or ends before it starts"),
        (piece((60, 0, 32), meter=(3, 4)), "time signature 3/4 is not 4/4"),
        (piece((60, 0, 32), program=40), "note of a program outside 0-31"),
        (piece((20, 0, 16), (109, 16, 32)), "pitch outside 21-108"),
        (piece((60, 0, 8)), "melody shorter than 2 bars"),
        (piece(*[(60, 16 * b, 16 * b + 16) for b in range(4)]), "same window again in the piece"),
        (piece((60, 0, 32), (64, 0, 32)), "lower note of several that start together"),
    ],
)
def test_what_is_left_out_is_counted_with_its_reason(tune, reason):
    assert TWO_BARS.encode(tune).report.dropped[reason] >= 1


def test_polyphony_can_end_an_instrument():
    encoder = MelodyEncoder(MelodyEncoderConfig(skip_polyphony=True))
    result = encoder.encode(piece((60, 0, 32), (64, 0, 32)))
    assert not result.examples
    assert result.report.dropped["instrument with notes that start together"] == 1


def odd_pieces():
    held = piece((60, 0, 32))
    held.notes[0].end_time = 36_000.0
    bare = music_pb2.NoteSequence()
    bare.notes.add(pitch=60, velocity=80, start_time=0, end_time=4)
    fast = piece((60, 0, 32))
    fast.tempos[0].qpm = 1e6
    still = piece((60, 0, 32))
    still.tempos[0].qpm = 0
    nothing = piece((60, 0, 32), meter=(0, 0))
    odd = piece((60, 0, 32), meter=(4, 3))
    instant = piece((60, 0, 0), (62, 31, 31))
    dense = piece(*[(30 + i % 60, i // 10, i // 10 + 5) for i in range(20_000)])
    return {
        "held": held,
        "bare": bare,
        "fast": fast,
        "still": still,
        "nothing": nothing,
        "odd": odd,
        "instant": instant,
        "dense": dense,
    }


@pytest.mark.parametrize("name", odd_pieces())
def test_odd_pieces_are_no_error(name):
    for config in (
        MelodyEncoderConfig(),
        MelodyEncoderConfig(bars=0),
        MelodyEncoderConfig(bars=16),
    ):
        result = MelodyEncoder(config).encode(odd_pieces()[name])
        assert result.examples or result.report.dropped


# What comes back ---------------------------------------------------------------------------

ids = st.lists(
    st.one_of(st.just(0), st.just(0), st.just(1), st.integers(2, 89)), min_size=32, max_size=32
)


def canonical(events):
    """Drops note-offs where no note sounds: they say nothing."""
    sounding = False
    cleaned = []
    for event in events:
        cleaned.append(0 if event == 1 and not sounding else event)
        if event:
            sounding = event != 1
    return cleaned


@settings(deadline=None, max_examples=300)
@given(ids.filter(lambda events: max(events) > 1))
def test_with_padding_every_sample_of_a_model_encodes_to_itself(events):
    encoder = MelodyEncoder(MelodyEncoderConfig(pad_edges=True))
    (example,) = encoder.encode(encoder.decode(events)).examples
    assert example.tolist() == canonical(events)


@settings(deadline=None, max_examples=100)
@given(ids)
def test_valid_next_allows_what_the_encoder_writes(events):
    events = canonical(events)
    for step, event in enumerate(events):
        assert TWO_BARS.valid_next(events[:step])[event]


def test_valid_next_forbids_what_says_nothing():
    encoder = MelodyEncoder(MelodyEncoderConfig(end_token=True))
    assert not encoder.valid_next([])[1]
    assert encoder.valid_next([41])[1]
    assert not encoder.valid_next([41, 1])[1]
    assert np.flatnonzero(encoder.valid_next([41, encoder.end_id])).tolist() == [0]


def test_transposition_stops_where_a_note_would_leave_the_range():
    events = np.array([41, 0, 1, 89, 0], np.uint8)
    assert TWO_BARS.transpose(events, 5).tolist() == events.tolist()
    moved = TWO_BARS.transpose(events, -5)
    assert moved.tolist() == [36, 0, 1, 84, 0]
    assert moved.dtype == np.uint8
    assert TWO_BARS.transpose(np.array([0, 1]), 5).tolist() == [0, 1]


def test_decoding_refuses_ids_that_it_does_not_have():
    with pytest.raises(ValueError, match="90"):
        TWO_BARS.decode([90])


def test_tempo_and_program_of_what_is_decoded_can_be_chosen():
    sequence = TWO_BARS.decode([41, 0, 1, 0], qpm=60, program=12)
    assert sequence.tempos[0].qpm == 60
    assert [(n.start_time, n.end_time, n.program) for n in sequence.notes] == [(0.0, 0.5, 12)]


def test_json_and_back():
    config = MelodyEncoderConfig(bars=4, programs=(0, 31), end_token=True)
    tree = json.loads(json.dumps(MelodyEncoder(config).to_json()))
    assert MelodyEncoder.from_json(tree).config == config
    assert isinstance(build_encoder(config), MelodyEncoder)

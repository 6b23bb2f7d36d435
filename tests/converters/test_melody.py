"""The melody converter against the recorded conversions, and its own promises."""

import json

import numpy as np
import pytest
from golden_converters import (
    CONVERTERS,
    STORED,
    bare,
    decoded,
    in_recorded_order,
    piece,
    recorded,
)
from golden_converters import sequences as recorded_pieces
from hypothesis import given, settings
from hypothesis import strategies as st
from note_seq.protobuf import music_pb2

from magenta_lite.converters import build_converter
from magenta_lite.converters.chords import transpose_chords
from magenta_lite.converters.melody import MelodyConverter, MelodyConverterConfig
from magenta_lite.errors import UserError

NAMES = ("mel_2bar", "mel_2bar_skip_polyphony", "mel_16bar", "mel_whole_end_token")

TWO_BARS = MelodyConverter(MelodyConverterConfig(bars=2, programs=(0, 31)))
WITH_CHORDS = MelodyConverter(MelodyConverterConfig(chords=True, split_on_time_changes=True))


def recorded_converter(name):
    options = CONVERTERS[name]["options"]
    return MelodyConverter(
        MelodyConverterConfig(
            bars=options.get("slice_bars", 0),
            programs=(0, 31) if "valid_programs" in options else None,
            skip_polyphony=options.get("skip_polyphony", False),
            end_token=options.get("add_end_token", False),
            max_bars=options["max_bars"],
            split_on_time_changes=True,
        )
    )


def one_hot(converter, examples):
    """Returns windows as the recording holds them: padded one-hot, sorted by their bytes."""
    steps = max(len(example) for example in examples)
    padded = np.zeros((len(examples), steps, converter.depth), bool)
    for row, example in zip(padded, examples, strict=True):
        row[: len(example)] = np.eye(converter.depth, dtype=bool)[example]
    return in_recorded_order(padded)


@pytest.mark.parametrize("name", NAMES)
def test_windows_equal_the_recorded_ones(name):
    converter = recorded_converter(name)
    checked = 0
    for key, numbers in CONVERTERS[name]["sequences"].items():
        examples = converter.encode(recorded_pieces()[key]).examples
        assert len(examples) == numbers["windows_all"], key
        if examples:
            expected = recorded(name)[f"{key}/outputs"]
            np.testing.assert_array_equal(one_hot(converter, examples), expected, err_msg=key)
            checked += len(expected)
    assert checked > 30


@pytest.mark.parametrize("name", (*NAMES, "mel_2bar_chords"))
def test_decoding_gives_the_recorded_sequences(name):
    converter = recorded_converter(name)
    for expected in decoded(name):
        length = recorded(name)[f"{expected.id}/lengths"][0]
        events = recorded(name)[f"{expected.id}/outputs"][0][:length].argmax(-1)
        actual = converter.decode(events)
        actual.id = expected.id
        assert bare(actual) == expected


def test_chords_equal_the_recorded_ones():
    """The recording holds a window twice if only the names of its chords differ, as C and C7."""
    name = "mel_2bar_chords"
    repeated = []
    for key, numbers in CONVERTERS[name]["sequences"].items():
        result = WITH_CHORDS.encode(recorded_pieces()[key])
        assert len(result.controls or []) == len(result.examples)
        if len(result.examples) != numbers["windows_all"]:
            repeated.append(key)
        if not result.examples:
            continue
        both = [
            np.concatenate(
                [np.eye(WITH_CHORDS.depth, dtype=bool)[events], np.eye(49, dtype=bool)[chords]],
                axis=-1,
            )
            for events, chords in zip(result.examples, result.controls, strict=True)
        ]
        # Sorted by events, then chords, like the recorded ones, and as many as those without
        # the repeated ones.
        both.sort(
            key=lambda w: (w[:, :90].astype("u1").tobytes(), w[:, 90:].astype("u1").tobytes())
        )
        arrays = [recorded(name)[f"{key}/{kind}"] for kind in ("outputs", "controls")]
        expected = list({w.tobytes(): w for w in np.concatenate(arrays, axis=-1)}.values())
        np.testing.assert_array_equal(both[: len(expected)], expected, err_msg=key)
        assert len(expected) == min(STORED, len(both)) or key in repeated
    assert repeated == ["chorale_bwv103.6", "chorale_bwv112.5"]


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
    piece((72, 0, 32), instrument=1, to=tune)
    assert len(TWO_BARS.encode(tune).examples) == 2


def test_at_most_so_many_windows_of_a_piece():
    tune = piece(*[(60 + bar, 16 * bar, 16 * bar + 16) for bar in range(8)])
    converter = MelodyConverter(MelodyConverterConfig(max_examples=5))
    result = converter.encode(tune)
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
        (piece((60, 0, 32), (64, 0.25, 32)), "lower note of several on the same 16th"),
    ],
)
def test_what_is_left_out_is_counted_with_its_reason(tune, reason):
    assert TWO_BARS.encode(tune).report.dropped[reason] >= 1


def test_polyphony_can_end_an_instrument():
    converter = MelodyConverter(MelodyConverterConfig(skip_polyphony=True))
    result = converter.encode(piece((60, 0, 32), (64, 0, 32)))
    assert not result.examples
    assert result.report.dropped["instrument with notes that start together"] == 1
    result = converter.encode(piece((60, 0, 32), (64, 0.25, 32)))
    assert result.report.dropped["instrument with notes on the same 16th"] == 1


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
        MelodyConverterConfig(),
        MelodyConverterConfig(bars=0),
        MelodyConverterConfig(bars=16),
    ):
        result = MelodyConverter(config).encode(odd_pieces()[name])
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
    converter = MelodyConverter(MelodyConverterConfig(pad_edges=True))
    (example,) = converter.encode(converter.decode(events)).examples
    assert example.tolist() == canonical(events)


@settings(deadline=None, max_examples=100)
@given(ids)
def test_valid_next_allows_what_the_converter_writes(events):
    events = canonical(events)
    for step, event in enumerate(events):
        assert TWO_BARS.valid_next(events[:step])[event]


def test_valid_next_forbids_what_says_nothing():
    converter = MelodyConverter(MelodyConverterConfig(end_token=True))
    assert not converter.valid_next([])[1]
    assert converter.valid_next([41])[1]
    assert not converter.valid_next([41, 1])[1]
    assert np.flatnonzero(converter.valid_next([41, converter.end_id])).tolist() == [0]


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
    sequence = TWO_BARS.decode([41, 0, 1, 0], qpm=60, programs=(12,))
    assert sequence.tempos[0].qpm == 60
    assert [(n.start_time, n.end_time, n.program) for n in sequence.notes] == [(0.0, 0.5, 12)]


@pytest.mark.parametrize("programs", [(), (0, 33), (128,)])
def test_programs_that_do_not_fit_are_refused(programs):
    with pytest.raises(UserError, match="programs"):
        TWO_BARS.decode([41], programs=programs)


# Chords ------------------------------------------------------------------------------------


def with_chords(tune, *chords):
    """Adds chord symbols (step, text)."""
    for step, text in chords:
        tune.text_annotations.add(
            time=step / 8,
            text=text,
            annotation_type=music_pb2.NoteSequence.TextAnnotation.CHORD_SYMBOL,
        )
    return tune


def test_a_window_has_the_chord_of_each_of_its_steps():
    tune = with_chords(piece((60, 16, 40), (64, 40, 64)), (20, "Am7"), (32, "N.C."), (50, "Bdim"))
    first, second = WITH_CHORDS.encode(tune).controls
    assert first.dtype == np.uint8
    assert first.tolist() == [0] * 4 + [22] * 12 + [0] * 16
    assert second.tolist() == [0] * 18 + [48] * 14


def test_chords_are_inferred_where_a_piece_names_none():
    tune = piece((60, 0, 8), (64, 8, 16), (67, 16, 32))
    piece((48, 0, 32), (52, 0, 32), (55, 0, 32), instrument=1, to=tune)
    for chords in WITH_CHORDS.encode(tune).controls:
        assert chords.tolist() == [1] * 32  # C major


def test_windows_with_other_chords_are_not_the_same():
    tune = with_chords(piece(*[(60, 16 * b, 16 * b + 16) for b in range(4)]), (0, "C"), (32, "Am"))
    assert len(TWO_BARS.encode(tune).examples) == 1
    assert len(WITH_CHORDS.encode(tune).examples) == 3


@pytest.mark.parametrize(
    ("symbol", "reason"),
    [
        ("Csus4", "chord that is not major, minor, augmented or diminished"),
        ("H7", "chord symbol that cannot be read"),
    ],
)
def test_a_chord_without_a_class_leaves_the_piece_out_and_is_named(symbol, reason):
    result = WITH_CHORDS.encode(with_chords(twinkle(), (0, "C"), (16, symbol)))
    assert not result.examples
    assert result.report.dropped == {reason: 1}
    assert result.report.places == {reason: [symbol]}
    assert not result.report.kept


def test_chords_of_endless_pieces_are_not_inferred():
    tune = piece(*[(60 + bar % 7, 16 * bar, 16 * bar + 16) for bar in range(600)])
    result = WITH_CHORDS.encode(tune)
    assert result.report.dropped == {"piece that is too long to infer its chords": 1}


def test_chords_move_as_far_as_the_melody_does():
    tune = with_chords(piece((60, 0, 16), (108, 16, 32)), (0, "C"), (16, "F#m"))
    result = WITH_CHORDS.encode(tune)
    (events,), (chords,) = result.examples, result.controls
    assert WITH_CHORDS.possible_shift(events, 5) == 0
    key = WITH_CHORDS.transposition_key(events, chords)
    moved = transpose_chords(chords, -5)
    assert moved.tolist() == [8] * 16 + [14] * 16  # G, C# minor
    assert WITH_CHORDS.transposition_key(WITH_CHORDS.transpose(events, -5), moved) == key
    assert WITH_CHORDS.transposition_key(events, moved) != key


def test_format_and_shapes_agree():
    for config in (MelodyConverterConfig(), MelodyConverterConfig(end_token=True, chords=True)):
        converter = MelodyConverter(config)
        result = converter.encode(twinkle())
        form = converter.event_format
        assert (form.kind, form.sizes, form.end_id) == (
            "categorical",
            (converter.depth,),
            converter.end_id,
        )
        assert form.control == ("chords" if config.chords else "")
        arrays = result.examples + (result.controls or [])
        assert {(a.shape, a.dtype) for a in arrays} == {
            ((converter.window_steps,), form.event_dtype)
        }
    assert TWO_BARS.pitch_ids == ((0, 2, 89),)
    assert TWO_BARS.default_programs == (0,)


def test_json_and_back():
    config = MelodyConverterConfig(bars=4, programs=(0, 31), end_token=True)
    tree = json.loads(json.dumps(MelodyConverter(config).to_json()))
    assert MelodyConverter.from_json(tree).config == config
    assert isinstance(build_converter(config), MelodyConverter)

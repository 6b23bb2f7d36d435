"""The groove converter against the recorded conversions, and its own promises."""

import numpy as np
import pytest
from golden_converters import CONVERTERS, decoded, drums, piece, recorded, sequences
from groove_reference import hit_controls, network_input
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from magenta_lite.converters.groove import GrooveConverter, GrooveConverterConfig
from magenta_lite.errors import UserError
from magenta_lite.families.music_vae.config import MusicVAEConfig

TWO_BARS = GrooveConverter(GrooveConverterConfig())
PADDED = GrooveConverter(GrooveConverterConfig(pad_edges=True))
MODELS = {
    "groove_4bar": MusicVAEConfig(),
    "groove_2bar_humanize": MusicVAEConfig(humanize=True),
    "groove_2bar_tap_fixed_velocity": MusicVAEConfig(tapify=True, fixed_velocities=True),
    "groove_2bar_add_closed_hh": MusicVAEConfig(added_classes=(2,)),
    "groove_2bar_hits_control": MusicVAEConfig(hits_as_controls=True),
}
BUILT = {
    name: GrooveConverter(GrooveConverterConfig(bars=4 if name == "groove_4bar" else 2))
    for name in MODELS
}
UNMAPPED = "drum pitch outside the roland map"


@pytest.mark.parametrize("name", BUILT)
def test_windows_inputs_and_controls_equal_the_recorded_ones(name):
    converter = BUILT[name]
    form = MODELS[name].input_format(converter.event_format)
    arrays = recorded(name)
    checked = 0
    for key, numbers in CONVERTERS[name]["sequences"].items():
        result = converter.encode(sequences()[key])
        if "error_all" in numbers:  # the original gave up at a pad that it does not know
            assert result.report.dropped[UNMAPPED] == 33
            continue
        assert len(result.examples) == numbers["windows_all"], key
        if not result.examples:
            continue
        events = np.array(result.examples)
        np.testing.assert_array_equal(events, arrays[f"{key}/outputs"], err_msg=key)
        np.testing.assert_array_equal(network_input(events, form), arrays[f"{key}/inputs"])
        if form.control:
            np.testing.assert_array_equal(hit_controls(events, form), arrays[f"{key}/controls"])
        checked += len(events)
    assert checked >= 10
    assert (form.control == "hits") == any("controls" in key for key in arrays)


@pytest.mark.parametrize("name", BUILT)
def test_decoding_gives_the_recorded_notes(name):
    for expected in decoded(name):
        actual = BUILT[name].decode(recorded(name)[f"{expected.id}/outputs"][0])
        # The original leaves total_time and ticks_per_quarter out.
        assert list(actual.notes) == list(expected.notes)
        assert actual.tempos == expected.tempos
        assert actual.total_time == max(note.end_time for note in expected.notes)


def test_known_offsets():
    tune = drums((42, 2), (38, 6))
    tune.notes[0].start_time, tune.notes[1].start_time = 0.13, 0.48
    example = PADDED.encode(tune).examples[0]
    hits, velocities, offsets = np.split(example, 3, axis=1)
    assert np.argwhere(hits).tolist() == [[1, 2], [4, 1]]
    assert offsets[1, 2] == pytest.approx(-0.08)
    assert offsets[4, 1] == pytest.approx(0.32)
    assert velocities[1, 2] == pytest.approx(80 / 127)


def test_of_several_hits_at_one_step_the_loudest_stays():
    tune = drums((38, 0), velocity=50)
    drums((40, 0), velocity=90, to=tune)
    drums((37, 0), velocity=20, to=tune)
    result = PADDED.encode(tune)
    assert result.examples[0][0, 9 + 1] == np.float32(90 / 127)
    assert result.report.dropped == {"softer hit of several at one step": 2}


def test_windows_do_not_overlap_and_the_rest_is_left_out():
    tune = drums(*[(36, 16 * bar) for bar in range(5)])
    result = TWO_BARS.encode(tune)
    assert len(result.examples) == 2
    assert result.report.dropped == {"bar at the end of a piece, short of a window of 2": 1}
    assert len(PADDED.encode(tune).examples) == 3
    limited = GrooveConverter(GrooveConverterConfig(max_examples=1)).encode(tune)
    assert len(limited.examples) == 1
    assert limited.report.dropped["more than 1 windows in a piece"] == 1


@pytest.mark.parametrize(
    ("bars", "hop", "pad_edges", "starts", "left_out"),
    [
        (2, 1, False, [0, 1, 2, 3], 0),
        (2, 2, False, [0, 2], 1),
        (3, 2, False, [0, 2], 0),
        (4, 3, False, [0], 1),
        (4, 3, True, [0, 3], 0),
        (8, 1, False, [], 5),
        (8, 1, True, [0], 0),
    ],
)
def test_windows_start_on_every_so_many_bars(bars, hop, pad_edges, starts, left_out):
    tune = drums(*[(36, 17 * bar) for bar in range(5)])  # step k of bar k
    config = GrooveConverterConfig(bars=bars, hop_bars=hop, pad_edges=pad_edges)
    result = GrooveConverter(config).encode(tune)
    assert [int(window[:16, 0].argmax()) for window in result.examples] == starts
    hits = np.arange(5)
    for start, window in zip(starts, result.examples, strict=True):
        expected = hits[start : start + bars] * 17 - start * 16
        assert np.flatnonzero(window[:, 0]).tolist() == expected.tolist()
    assert sum(result.report.dropped.values()) == left_out


@pytest.mark.parametrize(
    ("tune", "reason"),
    [
        (drums((36, 0), (36, 31), meter=(3, 4)), "time signature 3/4 is not 4/4"),
        (drums((35, 0), (36, 31)), UNMAPPED),
        (drums((36, 0), (36, 31), velocity=0), "note of velocity 0"),
        (piece((36, 0, 32), to=drums((36, 0), (36, 31))), "note that is not for drums"),
        (piece(), "no notes"),
    ],
)
def test_what_is_left_out_is_counted_with_its_reason(tune, reason):
    assert TWO_BARS.encode(tune).report.dropped[reason] >= 1


def test_a_change_of_tempo_or_meter_does_not_lose_a_groove():
    tune = drums(*[(36, 17 * bar) for bar in range(4)])
    first = TWO_BARS.encode(tune).examples[0]
    tune.time_signatures.add(numerator=2, denominator=4, time=4.0)  # the last two bars
    (kept,) = TWO_BARS.encode(tune).examples
    np.testing.assert_array_equal(kept, first)
    original = GrooveConverter(GrooveConverterConfig(bars=2, split_on_time_changes=True))
    result = original.encode(tune)
    assert not result.examples
    assert result.report.dropped == {"piece with several tempos or time signatures": 1}


def test_a_piano_is_no_drum_kit_unless_its_notes_are_said_to_be_drums():
    piano = piece((36, 0, 4), (38, 28, 32))
    result = TWO_BARS.encode(piano)
    assert not result.examples
    assert result.report.dropped == {"piece without a note on the drum channel": 1}
    assert not TWO_BARS.for_inference(unmarked_drums=False).encode(piano).examples
    assert TWO_BARS.for_inference().encode(piano).examples


def test_of_recorded_pads_all_notes_are_drums():
    pads = GrooveConverter(GrooveConverterConfig(unmarked_drums=True))
    result = pads.encode(piece((36, 0, 4), (38, 28, 32)))
    (example,) = result.examples
    assert np.argwhere(example[:, :9]).tolist() == [[0, 0], [28, 1]]
    assert result.report.kept["notes that are not marked as drums, read as drums"] == 2


def test_music_of_a_user_may_hold_every_drum():
    tune = drums((35, 0), (80, 28))
    assert not TWO_BARS.encode(tune).examples
    (example,) = TWO_BARS.for_inference().encode(tune).examples
    assert np.argwhere(example[:, :9]).tolist() == [[0, 0], [28, 2]]
    assert not TWO_BARS.for_inference("roland").encode(tune).examples


def one_step(**classes):
    """Returns a step with (hit, velocity, offset) of classes `c0` to `c8`."""
    step = np.zeros((3, 9), np.float32)
    for name, values in classes.items():
        step[:, int(name[1])] = values
    return step.reshape(1, 27)


def test_what_the_network_does_not_see():
    step = one_step(c0=(1, 0.5, 0.25), c2=(1, 0.75, -0.5))
    seen = {
        (): step,
        ("humanize",): one_step(c0=(1, 0, 0), c2=(1, 0, 0)),
        ("tapify",): one_step(c3=(1, 0.75, -0.5)),
        ("fixed_velocities",): one_step(c0=(1, 0, 0.25), c2=(1, 0, -0.5)),
        ("tapify", "fixed_velocities"): one_step(c3=(1, 0, -0.5)),
        ("humanize", "tapify"): one_step(c3=(1, 0, 0)),
    }
    for changes, expected in seen.items():
        settings = dict.fromkeys(changes, True)
        form = MusicVAEConfig(**settings).input_format(TWO_BARS.event_format)
        np.testing.assert_array_equal(network_input(step, form), expected, err_msg=str(changes))
    form = MusicVAEConfig(added_classes=(2, 8)).input_format(TWO_BARS.event_format)
    assert form.hidden_classes == (2, 8)
    np.testing.assert_array_equal(network_input(step, form), one_step(c0=(1, 0.5, 0.25)))
    assert step[0, 2] == 1  # what was given is left alone


def test_decoding_keeps_to_what_midi_can_hold():
    events = one_step(c0=(1, 0, 1), c1=(0.5, 1, 0), c2=(0.6, 2, -1))
    notes = TWO_BARS.decode(events, qpm=60).notes
    found = [(n.pitch, n.velocity, n.start_time, n.end_time) for n in notes]
    assert found == [(36, 1, 0.0, 0.125), (42, 127, 0.125, 0.375)]


@settings(deadline=None, max_examples=100)
@given(
    arrays.arrays(bool, (32, 9), fill=st.just(False)).filter(np.any),
    arrays.arrays(np.int32, (32, 9), elements=st.integers(1, 127)),
    arrays.arrays(np.float32, (32, 9), elements=st.floats(-0.984375, 1, width=32)),
)
def test_with_padding_every_sample_of_a_model_encodes_to_itself(hits, velocities, offsets):
    offsets[0] = np.minimum(offsets[0], 0)  # nothing starts before the piece
    events = np.concatenate([hits, hits * velocities / 127, hits * offsets], axis=1)
    (example,) = PADDED.encode(PADDED.decode(events)).examples
    np.testing.assert_allclose(example, events, atol=1e-5)


@settings(deadline=None, max_examples=100)
@given(arrays.arrays(np.float32, (32, 27), elements=st.floats(-3, 3, width=32)))
def test_whatever_a_model_gives_can_be_decoded_and_encoded(events):
    tune = PADDED.decode(events)
    assert bool(PADDED.encode(tune).examples) == bool(tune.notes)


def test_format_and_shapes_agree():
    for converter in BUILT.values():
        (example, *_) = converter.encode(sequences()["drum_grid"]).examples
        assert example.dtype == converter.event_format.event_dtype
        assert example.shape == (converter.window_steps, *converter.event_format.event_shape)
        assert converter.transposition_key(example) == example.tobytes()
    model = MusicVAEConfig(tapify=True, max_note_dropout=0.8)
    assert model.input_format(TWO_BARS.event_format).max_note_dropout == 0.8


def test_wrong_settings_are_refused():
    with pytest.raises(UserError, match="added_classes"):
        MusicVAEConfig(added_classes=(9,))
    with pytest.raises(UserError, match="roland"):
        GrooveConverterConfig(pitch_map="rolan")
    with pytest.raises(UserError, match="max_note_dropout"):
        MusicVAEConfig(max_note_dropout=1.5)
    with pytest.raises(UserError, match=r"hop_bars=3 must lie in \[0, 2\]"):
        GrooveConverterConfig(hop_bars=3)

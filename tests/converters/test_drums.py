"""The drums converter against the recorded conversions, and its own promises."""

import numpy as np
import pytest
from golden_converters import (
    CONVERTERS,
    bare,
    decoded,
    drums,
    in_order,
    in_recorded_order,
    piece,
    recorded,
    sequences,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from magenta_lite.converters.drums import DrumsConverter, DrumsConverterConfig
from magenta_lite.errors import UserError

TWO_BARS = DrumsConverter(DrumsConverterConfig())
BUILT = {
    "drums_2bar": TWO_BARS,
    "drums_2bar_onehot": TWO_BARS,
    "drums_2bar_roll_out": DrumsConverter(DrumsConverterConfig(roll=True)),
    "drums_2bar_full_kit": DrumsConverter(DrumsConverterConfig(classes="full", roll=True)),
}


def vectors(converter, examples):
    """Returns examples as the recorded outputs are: one-hot sets, or bits."""
    if converter.config.roll:
        return [example.astype(bool) for example in examples]
    return [np.eye(512, dtype=bool)[example] for example in examples]


@pytest.mark.parametrize("name", BUILT)
def test_windows_equal_the_recorded_ones(name):
    converter = BUILT[name]
    checked = 0
    for key, numbers in CONVERTERS[name]["sequences"].items():
        examples = converter.encode(sequences()[key]).examples
        assert len(examples) == numbers["windows_all"], key
        if examples:
            windows = in_recorded_order(vectors(converter, examples))
            expected = recorded(name)[f"{key}/outputs"]
            np.testing.assert_array_equal(windows, expected, err_msg=key)
            checked += len(expected)
    assert checked > 100


@pytest.mark.parametrize("name", ["drums_2bar", "drums_2bar_roll_out", "drums_2bar_full_kit"])
def test_recorded_inputs_are_the_members_of_the_set_and_a_bit_for_none(name):
    classes = BUILT[name].event_format.input_bits or BUILT[name].event_format.sizes[0]
    for key, numbers in CONVERTERS[name]["sequences"].items():
        if not numbers["windows_all"]:
            continue
        outputs = recorded(name)[f"{key}/outputs"]
        bits = outputs
        if not BUILT[name].config.roll:
            bits = (outputs.argmax(-1)[..., None] >> np.arange(classes) & 1).astype(bool)
        inputs = np.concatenate([bits, ~bits.any(-1, keepdims=True)], axis=-1)
        np.testing.assert_array_equal(inputs, recorded(name)[f"{key}/inputs"], err_msg=key)


@pytest.mark.parametrize("name", BUILT)
def test_decoding_gives_the_recorded_sequences(name):
    converter = BUILT[name]
    for expected in decoded(name):
        window = recorded(name)[f"{expected.id}/outputs"][0]
        actual = converter.decode(window if converter.config.roll else window.argmax(-1))
        actual.id = expected.id
        # Hits of one step are a set: their order means nothing.
        assert in_order(bare(actual)) == in_order(expected)


def test_known_ids():
    tune = drums((36, 0), (42, 0), (42, 2), (38, 4), (35, 4), (51, 16), (49, 31))
    (example,) = TWO_BARS.encode(tune).examples
    expected = np.zeros(32, int)
    expected[[0, 2, 4, 16, 31]] = 5, 4, 3, 256, 128
    assert example.tolist() == expected.tolist()
    assert example.dtype == np.uint16


def test_all_drum_instruments_are_one_track():
    tune = drums((36, 0), (36, 16))
    drums((38, 0), (38, 16), instrument=7, to=tune)
    (example,) = TWO_BARS.encode(tune).examples
    assert example[[0, 16]].tolist() == [3, 3]


@pytest.mark.parametrize(
    ("hits", "windows"),
    [
        ([(36, 0), (36, 17)], 0),  # a gap of 16 steps splits
        ([(36, 0), (36, 16)], 1),  # one of 15 does not
        ([(36, 16), (38, 36)], 0),  # the track starts with the bar of its first hit
        ([(36, 16), (38, 32)], 1),
        ([(36 + bar, 16 * bar) for bar in range(3)], 2),
        ([(36, 16 * bar) for bar in range(5)], 1),  # all windows alike
    ],
)
def test_how_many_windows_hits_give(hits, windows):
    assert len(TWO_BARS.encode(drums(*hits)).examples) == windows


def test_long_tracks_are_cut_and_windows_limited():
    pitches = (36, 38, 42, 46, 45, 48, 50, 49, 51)
    tune = drums(*[(pitches[bar % 9], 16 * bar) for bar in range(20)])
    result = DrumsConverter(DrumsConverterConfig(max_bars=10, max_examples=3)).encode(tune)
    assert len(result.examples) == 3
    assert result.report.dropped["drum track longer than 10 bars is cut"] == 1
    assert result.report.dropped["more than 3 windows in a piece"] == 6


@pytest.mark.parametrize(
    ("tune", "reason"),
    [
        (piece((60, 0, 32)), "note that is not for drums"),
        (drums((36, 0), (22, 4), (99, 16)), "drum pitch without a class"),
        (drums((36, 0), (36, 16), velocity=0), "note of velocity 0"),
        (drums((36, 0), (36, 16), velocity=-1), "note of velocity 0"),
        (drums((36, 0)), "drum track shorter than 2 bars"),
        (drums((36, 0), (36, 16), meter=(3, 4)), "time signature 3/4 is not 4/4"),
        (drums(*[(36, 16 * bar) for bar in range(4)]), "same window again in the piece"),
    ],
)
def test_what_is_left_out_is_counted_with_its_reason(tune, reason):
    assert TWO_BARS.encode(tune).report.dropped[reason] >= 1


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(0, 511), min_size=32, max_size=32).filter(any))
def test_with_padding_every_sample_of_a_model_encodes_to_itself(ids):
    converter = DrumsConverter(DrumsConverterConfig(pad_edges=True))
    (example,) = converter.encode(converter.decode(ids)).examples
    assert example.tolist() == ids


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 2**61 - 1), min_size=64, max_size=64).filter(any))
def test_with_padding_every_roll_encodes_to_itself(sets):
    converter = DrumsConverter(
        DrumsConverterConfig(bars=4, classes="full", roll=True, pad_edges=True)
    )
    bits = np.array([[n >> k & 1 for k in range(61)] for n in sets], np.uint8)
    (example,) = converter.encode(converter.decode(bits)).examples
    np.testing.assert_array_equal(example, bits)


def test_format_and_shapes_agree():
    for converter in BUILT.values():
        (example, *_) = converter.encode(sequences()["drum_grid"]).examples
        assert example.dtype == converter.event_format.event_dtype
        assert example.shape == (converter.window_steps, *converter.event_format.event_shape)
        assert converter.transposition_key(example) == example.tobytes()


def test_wrong_ids_and_settings_are_refused():
    with pytest.raises(ValueError, match="512"):
        TWO_BARS.decode([512])
    with pytest.raises(UserError, match=r"converter\.roll=true"):
        DrumsConverterConfig(classes="full")
    with pytest.raises(UserError, match="reduced"):
        DrumsConverterConfig(classes="reducd")

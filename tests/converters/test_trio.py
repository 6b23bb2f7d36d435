"""The trio converter against the recorded conversions, and its own promises."""

import numpy as np
import pytest
from golden_converters import (
    CONVERTERS,
    STORED,
    bare,
    decoded,
    drums,
    in_order,
    piece,
    recorded,
    sequences,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from magenta_lite.converters.trio import TrioConverter, TrioConverterConfig
from magenta_lite.errors import UserError

BUILT = {
    "trio_16bar": TrioConverter(TrioConverterConfig()),
    "trio_4bar": TrioConverter(TrioConverterConfig(bars=4)),
}
ONE_BAR = TrioConverter(TrioConverterConfig(bars=1))
PADDED = TrioConverter(TrioConverterConfig(bars=2, pad_edges=True))


def one_hot(ids):
    """Returns ids (T, 3) as the recording holds them: the one-hots joined."""
    parts = [np.eye(size, dtype=bool)[ids[:, i]] for i, size in enumerate((90, 90, 512))]
    return np.concatenate(parts, axis=-1)


@pytest.mark.parametrize(("name", "at_least"), [("trio_16bar", 50), ("trio_4bar", 200)])
def test_windows_equal_the_recorded_ones(name, at_least):
    checked = 0
    for key, numbers in CONVERTERS[name]["sequences"].items():
        examples = BUILT[name].encode(sequences()[key]).examples
        assert len(examples) == numbers["windows_all"], key
        if examples:
            windows = np.array([one_hot(ids) for ids in examples[:STORED]])
            expected = recorded(name)[f"{key}/outputs"]
            np.testing.assert_array_equal(windows, expected, err_msg=key)
            checked += len(expected)
    assert checked > at_least


@pytest.mark.parametrize("name", BUILT)
def test_decoding_gives_the_recorded_sequences(name):
    for expected in decoded(name):
        window = recorded(name)[f"{expected.id}/outputs"][0]
        ids = [part.argmax(-1) for part in np.split(window, [90, 180], axis=-1)]
        actual = BUILT[name].decode(np.stack(ids, axis=-1))
        actual.id = expected.id
        assert in_order(bare(actual)) == in_order(expected)


def trio(bars=1, **changes):
    """Returns C, a bass and a kick for each bar; parts can be changed or left out with None."""
    tune = piece()
    parts = {
        "melody": {"program": 0, "instrument": 0},
        "bass": {"program": 33, "instrument": 1},
        "drums": {"program": 0, "instrument": 9},
    } | changes
    for pitch, (name, labels) in zip((60, 36, 36), parts.items(), strict=True):
        if labels is not None:
            notes = [(pitch, 16 * bar, 16 * bar + 16) for bar in range(bars)]
            piece(*notes, is_drum=name == "drums", to=tune, **labels)
    return tune


def test_known_ids():
    (example,) = ONE_BAR.encode(trio()).examples
    assert example.shape == (16, 3)
    assert example.dtype == np.uint16
    assert example[0].tolist() == [41, 17, 1]
    assert not example[1:].any()
    assert len(BUILT["trio_16bar"].encode(trio(bars=16)).examples) == 1


def test_every_combination_of_instruments_is_a_trio():
    tune = trio()
    piece((72, 0, 16), program=25, instrument=2, to=tune)
    drums((38, 0), instrument=3, to=tune)
    examples = ONE_BAR.encode(tune).examples
    assert [e[0].tolist() for e in examples] == [
        [41, 17, 2],
        [41, 17, 1],
        [53, 17, 2],
        [53, 17, 1],
    ]


def test_equal_windows_stay():
    assert len(ONE_BAR.encode(trio(bars=3)).examples) == 3


@pytest.mark.parametrize(("silent", "windows"), [(4, 14), (5, 12)])
def test_a_part_may_rest_for_four_bars(silent, windows):
    tune = trio(bars=14, bass=None)
    ends = [*range(5), *range(5 + silent, 14)]
    piece(*[(36, 16 * b, 16 * b + 16) for b in ends], program=33, instrument=1, to=tune)
    assert len(ONE_BAR.encode(tune).examples) == windows + (silent == 5)


@pytest.mark.parametrize(
    ("tune", "reason"),
    [
        (trio(bass=None), "no bass"),
        (trio(melody=None, drums=None), "no melody and no drums"),
        (
            trio(melody={"program": 60}),
            "note of a program outside 0-31 (melody) and 32-39 (bass)",
        ),
        (
            trio(bass={"program": 33, "instrument": 0}),
            "note of an instrument that is several parts",
        ),
        (piece((120, 0, 16), to=trio()), "pitch outside 21-108"),
        (piece((60, 0, 16), velocity=0, to=trio()), "note of velocity 0"),
        (drums((99, 0), to=trio(), instrument=9), "drum pitch without a class"),
    ],
)
def test_what_is_left_out_is_counted_with_its_reason(tune, reason):
    assert ONE_BAR.encode(tune).report.dropped[reason] >= 1


def test_windows_that_do_not_fit_are_counted():
    converter = BUILT["trio_16bar"]
    assert converter.encode(trio(bars=8)).report.dropped == {"trio shorter than 16 bars": 1}
    gap = trio(bars=2)
    piece((60, 16 * 20, 16 * 20 + 1), to=gap)
    report = converter.encode(gap).report
    assert report.dropped == {"window in which melody, bass or drums rest too long": 6}
    limited = TrioConverter(TrioConverterConfig(bars=1, max_examples=2)).encode(trio(bars=5))
    assert len(limited.examples) == 2
    assert limited.report.dropped == {"more than 2 windows in a piece": 3}


def test_other_instruments_can_be_melody_and_bass():
    config = TrioConverterConfig(bars=1, melody_programs=(40, 79), bass_programs=(0, 7))
    tune = trio(melody={"program": 73, "instrument": 0}, bass={"program": 0, "instrument": 1})
    assert len(TrioConverter(config).encode(tune).examples) == 1


def test_programs_of_what_is_decoded_can_be_chosen():
    ids = np.array([[41, 17, 5]])
    for programs, expected in ((None, (0, 33)), ((73, 38), (73, 38))):
        notes = ONE_BAR.decode(ids, programs=programs).notes
        found = [(note.pitch, note.program, note.instrument, note.is_drum) for note in notes]
        assert found == [
            (60, expected[0], 0, False),
            (36, expected[1], 1, False),
            (36, 0, 9, True),
            (42, 0, 9, True),
        ]
    with pytest.raises(UserError, match="programs"):
        ONE_BAR.decode(ids, programs=(0,))


@pytest.mark.parametrize("ids", [[90, 0, 0], [0, 90, 0], [0, 0, 512], [0, -1, 0]])
def test_decoding_refuses_ids_that_it_does_not_have(ids):
    with pytest.raises(ValueError, match="512"):
        ONE_BAR.decode(np.array([ids]))


def test_transposition_moves_melody_and_bass_together():
    ids = np.array([[41, 89, 511], [0, 0, 0], [1, 4, 3]], np.uint16)
    assert ONE_BAR.possible_shift(ids, 5) == 0
    assert ONE_BAR.possible_shift(ids, -5) == -2
    assert ONE_BAR.transpose(ids, -5).tolist() == [[39, 87, 511], [0, 0, 0], [1, 2, 3]]
    moved = ONE_BAR.transpose(ids, -1)
    assert ONE_BAR.transposition_key(moved) == ONE_BAR.transposition_key(ids)
    other = ids.copy()
    other[0, 0] += 1
    assert ONE_BAR.transposition_key(other) != ONE_BAR.transposition_key(ids)


melodies = st.lists(
    st.one_of(st.just(0), st.just(0), st.just(1), st.integers(2, 89)), min_size=32, max_size=32
)
rests = st.just([0] * 32)
drum_sets = st.lists(st.one_of(st.just(0), st.integers(0, 511)), min_size=32, max_size=32)


def canonical(events):
    """Drops note-offs where no note sounds: they say nothing."""
    sounding, cleaned = False, []
    for event in events:
        cleaned.append(0 if event == 1 and not sounding else event)
        sounding = event > 1 if event else sounding
    return cleaned


@settings(deadline=None, max_examples=200)
@given(rests | melodies, rests | melodies, rests | drum_sets)
def test_with_padding_every_sample_of_a_model_encodes_to_itself(melody, bass, hits):
    ids = np.stack([melody, bass, hits], axis=-1)
    examples = PADDED.encode(PADDED.decode(ids)).examples
    if max(melody) < 2 and max(bass) < 2 and not any(hits):
        assert not examples
        return
    (example,) = examples
    expected = np.stack([canonical(melody), canonical(bass), hits], axis=-1)
    np.testing.assert_array_equal(example, expected)


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(UserError, match="overlap"):
        TrioConverterConfig(melody_programs=(0, 40))
    with pytest.raises(UserError, match="bass_programs"):
        TrioConverterConfig(bass_programs=(39, 32))
    with pytest.raises(UserError, match="max_bars"):
        TrioConverterConfig(bars=16, max_bars=8)

"""Tokens that tell a MuseNet how instruments play: what they say of music, and where they stand."""

import dataclasses

import numpy as np
import pytest
from test_musenet_gaps import band, rows_of

from magenta_lite.converters.musenet import codec, controls, infill, vocabulary
from magenta_lite.converters.musenet.controls import ATTRIBUTES, NONE
from magenta_lite.converters.musenet.converter import PREFIX, MuseNetConverterConfig
from magenta_lite.converters.musenet.rules import tables
from magenta_lite.converters.musenet.vocabulary import DRUMS, GAP, INSTRUMENTS, MIDDLE, UNSPECIFIED
from magenta_lite.data.collections import Examples
from magenta_lite.data.pipeline import batches_for
from magenta_lite.errors import UserError

NAMES = [attribute.name for attribute in ATTRIBUTES]
DRUM_PLACE = codec.PLACE[DRUMS]


def of_roll(notes, units):
    """Returns density, polyphony, range and length of an instrument's notes, by a piano roll."""
    roll = np.zeros((128, units + 1))
    for note in notes:
        roll[note.pitch, note.start : note.end] = 1
    sounding = roll.sum(axis=0)
    pitches = [note.pitch for note in notes]
    lengths = sorted(note.end - note.start for note in notes)
    return (
        100 * len(notes) / units,
        sounding[sounding > 0].mean(),
        max(pitches) - min(pitches),
        np.median(lengths) / 100,
    )


@pytest.mark.parametrize("seed", range(3))
def test_attributes_are_those_of_a_piano_roll(seed):
    notes = band(seed)
    ids = codec.ids_of(notes)
    found = controls.measured(ids)
    played = set()
    for place, instrument in enumerate(INSTRUMENTS):
        own = [note for note in notes.notes() if note.instrument is instrument]
        if not own:
            assert np.isnan(found[place]).all()
            continue
        played.add(instrument.name)
        expected = of_roll(own, int(tables().units[ids].sum()))
        count = 2 if instrument is DRUMS else 4
        np.testing.assert_allclose(found[place, :count], expected[:count])
        assert np.isnan(found[place, count:]).all()
    assert played == {"piano", "violin", "bass", "drums"}


def test_a_part_of_a_piece_is_described_by_what_is_in_it():
    bass = vocabulary.BY_NAME["bass"]
    on, off = (vocabulary.on_id(bass, pitch, 80) for pitch in (40, 47)), vocabulary.off_id(bass, 40)
    first, second = on
    wait = vocabulary.wait_ids(50)
    # Of a note that began before, and of one that goes on, the length is not known.
    ids = np.array([*wait, off, first, *wait, off, second, *wait, first])
    density, polyphony, span, length = controls.measured(ids)[3]
    assert density == pytest.approx(3 / 1.5) and span == 7 and length == 0.5
    assert polyphony == pytest.approx((50 + 50 + 50 + 1 + 1) / 151)
    alone = controls.measured(np.array([off, *wait]))
    assert np.isnan(alone).all()
    at_once = controls.measured(np.array([first, second]))[3]
    assert np.isnan(at_once[[0, 3]]).all() and at_once[1] == 2 and at_once[2] == 7
    assert np.isnan(controls.measured(np.array([], int))).all()


def test_tokens_are_of_the_ids_that_the_original_left_free():
    full = np.full(controls.SHAPE, controls.LEVELS - 1)
    full[DRUM_PLACE, 2:] = NONE
    ids = controls.ids_of(full)
    assert len(ids) == controls.length(full != NONE) == 10 + 9 * 4 + 2
    firsts = controls.ids_of(np.where(full == NONE, NONE, 0))
    free = {id for id in range(vocabulary.SIZE) if vocabulary.token(id).kind == "unused"}
    assert set(ids) | set(firsts) <= free - {*range(GAP, vocabulary.SIZE)}
    assert controls.is_control(ids).all() and not tables().written[ids].any()
    assert tables().told[ids].all() and tables().told[UNSPECIFIED]
    assert not len(controls.ids_of(np.full(controls.SHAPE, NONE)))
    some = controls.asked(
        {"density": ["piano:high", "drums:low"], "note_length": ["piano:short"]}
        | dict.fromkeys(("polyphony", "pitch_range"), ())
    )
    told = controls.ids_of(some).tolist()
    first = vocabulary.FIRST_CONTROL
    assert told == [first, first + 10 + 2, first + 10 + 9, first + 9, first + 10]
    assert [player.name for player in controls.players(some)] == ["piano", "drums"]


def test_examples_say_how_instruments_play_in_what_is_new():
    converter, rows = rows_of(infill=0.5, controls=1.0)
    gaps = masked = pairs = 0
    for number, row in enumerate(3 * rows):
        crop = row[: converter.crop].astype(np.int32)
        made = converter.rearranged(crop, np.random.default_rng(number))
        np.testing.assert_array_equal(made[:PREFIX], crop[:PREFIX])
        ids = made[PREFIX:, 0]
        told = controls.is_control(ids) | (ids == UNSPECIFIED)
        count = int(told.sum())
        assert told[:count].all() and len(made) <= converter.crop
        body = ids[count:]
        assert not count or (made[PREFIX : PREFIX + count, 1:] == made[PREFIX + count, 1:]).all()
        if GAP in body:
            gaps += 1
            body = body[np.flatnonzero(body == MIDDLE)[0] :]
            assert body[-1] == vocabulary.END
        else:
            np.testing.assert_array_equal(body, crop[PREFIX : PREFIX + len(body), 0])
        if UNSPECIFIED in ids[:count]:
            masked += 1
            assert (ids[:count] == UNSPECIFIED).all()
            continue
        levels = controls.levels_of(body)
        place = NONE
        for id in (ids[:count] - vocabulary.FIRST_CONTROL).tolist():
            place = id if id < len(INSTRUMENTS) else place
            if id >= len(INSTRUMENTS):
                attribute, level = divmod(id - len(INSTRUMENTS), controls.LEVELS)
                assert levels[place, attribute] == level
                pairs += 1
    assert gaps > len(rows) and 0 < masked < len(rows) and pairs > 3 * len(rows)


def test_the_share_of_examples_with_controls_is_that_of_the_config():
    def batch(count=200, shuffle=True, **settings):
        converter, rows = rows_of(**settings)
        lengths = np.array([len(row) for row in rows], np.int32)
        padded = np.stack([np.pad(row, [[0, max(lengths) - len(row)], [0, 0]]) for row in rows])
        examples = Examples(padded, lengths, None)
        made = batches_for(converter, examples, batch_size=count, seed=3, shuffle=shuffle)
        return {name: x.numpy() for name, x in next(iter(made.dataset())).items()}

    def has(events):
        ids = events[..., 0]
        return (controls.is_control(ids) | (ids == UNSPECIFIED))[:, PREFIX:].any(axis=1)

    plain, mixed, again = batch(), batch(controls=0.5), batch(controls=0.5)
    np.testing.assert_array_equal(mixed["events"], again["events"])
    told = has(mixed["events"])
    assert 70 <= told.sum() <= 110  # in some, nothing is chosen
    np.testing.assert_array_equal(mixed["events"][~told], plain["events"][~told])
    np.testing.assert_array_equal((mixed["events"][..., 0] != 0).sum(1), mixed["length"])
    assert not has(plain["events"]).any()
    assert not has(batch(5, shuffle=False, controls=1.0)["events"]).any()
    with pytest.raises(UserError, match=r"converter.controls=-1 must lie in \[0, 1\]"):
        MuseNetConverterConfig(controls=-1)


def test_a_short_crop_is_not_filled_with_controls():
    converter, rows = rows_of(controls=1.0)
    short = dataclasses.replace(converter.config, crop=PREFIX + 5)
    converter = type(converter)(short)
    for number in range(20):
        made = converter.rearranged(rows[0][: PREFIX + 5], np.random.default_rng(number))
        assert PREFIX + 5 - controls.is_control(made[:, 0]).sum() >= (PREFIX + 5) // 2
        assert len(made) <= PREFIX + 5


def test_without_controls_gaps_are_drawn_as_before():
    converter, rows = rows_of(infill=0.5)
    crop = rows[0][: converter.crop].astype(np.int32)
    for number in range(8):
        rng = np.random.default_rng(number)
        expected = crop
        if rng.random() < 0.5:
            expected = infill.rearranged(crop, PREFIX, converter.crop, rng)
        made = converter.rearranged(crop, np.random.default_rng(number))
        np.testing.assert_array_equal(made, expected)


@pytest.mark.parametrize(
    ("option", "text", "message"),
    [
        ("density", "drums", "--density=drums must be INSTRUMENT:LEVEL, e.g. --density=piano:high"),
        ("density", "drum:low", "Unknown instrument 'drum'. Did you mean drums"),
        ("density", "piano:hi", "Unknown density 'hi'. Did you mean high"),
        ("pitch_range", "piano:high", "Unknown pitch_range 'high'. Known: medium, narrow, wide."),
        ("note_length", "drums:short", "drums have --density and --polyphony only; leave it out"),
    ],
)
def test_wrong_levels_are_errors(option, text, message):
    with pytest.raises(UserError, match=message):
        controls.asked(dict.fromkeys(NAMES, ()) | {option: controls.pairs(text)})


def test_options_are_texts_or_a_mapping():
    assert controls.pairs({"piano": "low", "bass": "high"}) == ("piano:low", "bass:high")
    assert controls.pairs("piano:low,bass:high") == ("piano:low", "bass:high")
    assert controls.pairs(["piano:low"]) == ("piano:low",)
    twice = dict.fromkeys(NAMES, ()) | {"density": ("piano:low", "piano:high")}
    with pytest.raises(UserError, match="--density has two levels of piano; leave one out"):
        controls.asked(twice)

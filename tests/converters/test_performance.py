"""Performances as Music Transformer reads them: as recorded, in rows, and what may follow."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from golden_converters import records
from hypothesis import given, settings
from hypothesis import strategies as st

from magenta_lite.converters.base import Report
from magenta_lite.converters.pedal import with_sustain
from magenta_lite.converters.performance import PerformanceConverter, PerformanceConverterConfig
from magenta_lite.data.splitting import EncodedPiece
from magenta_lite.data.window_store import WindowStore, pack
from magenta_lite.errors import UserError

GOLDEN = Path(__file__).parents[1] / "golden" / "music_transformer" / "encoders"
IDS = dict(np.load(GOLDEN / "encoders.npz"))
MANIFEST = json.loads((GOLDEN / "manifest.json").read_text())
PIECES = {piece.id: piece for piece in records(GOLDEN / "performances.tfrecord")}
SUSTAINED = {piece.id: piece for piece in records(GOLDEN / "sustained.tfrecord")}
PREPARED = {piece.id: piece for piece in records(GOLDEN / "prepared.tfrecord")}
DECODED = {piece.id: piece for piece in records(GOLDEN / "decoded.tfrecord")}
STREAMS = st.lists(st.integers(0, 309), max_size=200)


def make(**changes):
    return PerformanceConverter(PerformanceConverterConfig(**changes))


def notes_of(sequence):
    return [(n.pitch, n.velocity, n.start_time, n.end_time) for n in sequence.notes]


@pytest.mark.parametrize("name", sorted(PIECES))
def test_ids_and_what_they_decode_to_are_the_originals(name):
    piece = PIECES[name]
    if any(note.is_drum for note in piece.notes):
        pytest.skip("the original takes drums for notes")
    wanted = IDS[f"ids/{name}"]
    np.testing.assert_array_equal(make().ids_of(piece), wanted)
    ended = make(end_token=True).ids_of(piece)
    assert ended == [*wanted, 1] or not len(wanted)
    for ids in (wanted, [*wanted, 1, 5]):
        decoded = make().decode(ids)
        assert len(decoded.notes) == len(DECODED[name].notes)
        for ours, theirs in zip(notes_of(decoded), notes_of(DECODED[name]), strict=True):
            assert ours == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("name", sorted(PIECES))
def test_the_pedal_holds_notes_as_in_the_original(name):
    piece = with_sustain(PIECES[name])
    assert notes_of(piece) == notes_of(SUSTAINED[name])
    assert piece.total_time == SUSTAINED[name].total_time
    played = [note for note in PREPARED[name].notes if not note.is_drum]
    wanted = sorted((n.start_time, n.pitch, n.end_time, n.velocity) for n in played)
    assert sorted(map(tuple, make().codec.notes(PIECES[name], Report()).tolist())) == wanted


def test_notes_that_nothing_ends_are_as_long_as_the_setting_says():
    converter = make()
    long, on, off = (
        converter.codec.shift[1],
        converter.codec.note_on[0],
        converter.codec.note_off[0],
    )
    ids = [on, on + 1, *[long] * 2, on + 2, long, off]  # the first lasts 3 s, and is ended
    lengths = {
        n.pitch: n.end_time - n.start_time for n in converter.decode(ids, max_hung_note=1.5).notes
    }
    assert lengths == {21: 3.0, 22: 1.5, 23: 1.0}
    assert make().decode(ids).notes[1].end_time == 3.0


def test_drums_are_left_out_and_counted():
    piece = next(p for p in PIECES.values() if any(note.is_drum for note in p.notes))
    report = Report()
    ids = make().ids_of(piece, report=report)
    drums = sum(note.is_drum for note in piece.notes)
    assert report.dropped["drum note"] == drums
    for note in [note for note in piece.notes if note.is_drum]:
        piece.notes.remove(note)
    assert make().ids_of(piece) == ids


def test_streams_that_no_converter_gives_decode_as_the_original_decodes_them():
    for i, piece in enumerate(records(GOLDEN / "odd_decoded.tfrecord")):
        ours = notes_of(make().decode(IDS[f"odd_ids/{i}"]))
        assert ours == [pytest.approx(note, abs=1e-9) for note in notes_of(piece)]


def test_stretched_and_transposed_pieces_are_the_originals_and_rejects_leave_the_keyboard():
    converter, compared = make(), 0
    sources = {piece.id: piece for piece in records(GOLDEN / "augmentation_source.tfrecord")}
    for name, piece in sources.items():
        for stretch in (0.95, 0.975, 1.0, 1.025, 1.05):
            ids = np.array(converter.ids_of(piece, stretch))
            for semitones in range(-3, 4):
                wanted = IDS.get(f"augmented/{name}/stretch_{stretch:g}_transpose_{semitones:+d}")
                possible = converter.possible_shift(ids, semitones) == semitones
                assert possible == (wanted is not None)
                if possible:
                    np.testing.assert_array_equal(converter.transpose(ids, semitones), wanted)
                    compared += 1
    assert compared == 50


def test_rows_overlap_and_their_first_halves_are_the_piece():
    converter = make(crop=64, min_tokens=1)
    piece = max(PIECES.values(), key=lambda piece: len(piece.notes))
    result = converter.encode(piece)
    ids = converter.ids_of(piece)
    rows = [row for row, other in zip(result.examples, result.train_only, strict=True) if not other]
    np.testing.assert_array_equal(np.concatenate([row[:64] for row in rows]), ids)
    for first, second in itertools.pairwise(rows):
        np.testing.assert_array_equal(first[64:], second[:64][: len(first) - 64])
    stretched = [row for row, o in zip(result.examples, result.train_only, strict=True) if o]
    assert len(stretched) >= 3 * len(rows)


def test_stretched_rows_are_for_training_alone():
    def stored(split, rows):
        examples = [(bytes([i, 0]), b"", bool(i)) for i in rows]
        format = make().event_format
        store = WindowStore(format)
        piece = EncodedPiece("a", split, examples, [bytes(16)] * len(examples))
        store.add(pack(piece, format), 0)
        store.settle(by_folder=False)
        ((kept_in, kept),) = store.decisions()
        return kept_in, [row for row, is_kept in zip(rows, kept, strict=True) if is_kept]

    assert stored("test", [0, 1]) == ("test", [0])
    assert stored("test", [1]) == ("test", [])
    assert stored("train", [0, 1]) == ("train", [0, 1])


@settings(max_examples=200, deadline=None)
@given(STREAMS)
def test_every_stream_is_music_without_hung_or_endless_notes(ids):
    decoded = make().decode(ids)
    length = make().codec.steps(ids[: ids.index(1)] if 1 in ids else ids) / 100
    for note in decoded.notes:
        assert 0 <= note.start_time < note.end_time <= length + 1e-9
        assert 21 <= note.pitch <= 108 and 1 <= note.velocity <= 127


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_what_may_follow_makes_streams_whose_notes_neither_overlap_nor_are_lost(seed):
    rng, converter, ids = np.random.default_rng(seed), make(), []
    rules = converter.rules.with_max_silence(1.5)
    for _ in range(120):
        valid = np.flatnonzero(rules.valid_next(ids))
        # Notes more often than the many velocities and shifts.
        notes = valid[valid < 178]
        ids.append(int(rng.choice(notes if rng.random() < 0.7 else valid)))
    assert {0, 1} & set(ids) == set()
    codec, sounding, silent = converter.codec, set(), 0
    for id in ids:
        if id <= codec.note_on[1]:
            assert id - 2 not in sounding
            sounding.add(id - 2)
        elif id <= codec.note_off[1]:
            sounding.remove(id - codec.note_off[0])
        elif id <= codec.shift[1] and not sounding:
            silent += id - codec.shift[0] + 1
            assert silent <= 150
        silent = 0 if sounding else silent


def test_an_end_comes_when_nothing_sounds():
    converter = make(end_token=True)
    on, off = converter.codec.note_on[0], converter.codec.note_off[0]
    assert converter.valid_next([])[1]
    assert not converter.valid_next([on])[1]
    assert converter.valid_next([on, 200, off])[1]
    assert not converter.valid_next([])[0]


def test_values_that_make_no_sense_are_refused():
    for changes in ({"crop": 1}, {"stretches": [0.9]}, {"min_pitch": 90, "max_pitch": 80}):
        with pytest.raises(UserError):
            make(**changes)
    with pytest.raises(ValueError, match="310"):
        make().decode([310])

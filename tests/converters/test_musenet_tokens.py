"""MuseNet's tokens: the vocabulary, notes to ids and back, and where each token stands."""

import collections
import json
from pathlib import Path

import numpy as np
import pytest
from note_seq.protobuf import music_pb2

from magenta_lite.converters import build_converter
from magenta_lite.converters.base import Report
from magenta_lite.converters.musenet import codec, vocabulary
from magenta_lite.converters.musenet.converter import PREFIX, MuseNetConverterConfig
from magenta_lite.converters.musenet.places import PARTS, places
from magenta_lite.data import wad
from magenta_lite.data.listing import list_sources, read_file
from magenta_lite.data.midi_files import midi_to_sequence
from magenta_lite.data.reading import read_source
from magenta_lite.errors import UserError

GOLDEN = Path(__file__).parents[1] / "golden" / "musenet"
ENCODED, DECODED, PLACED = (
    sorted((GOLDEN / folder).glob("*.json")) for folder in ("encode", "decode", "embeddings")
)


def read(path):
    return json.loads(path.read_text())


def by_name(paths):
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def known():
    return read(GOLDEN / "vocabulary.json")


@pytest.fixture(scope="module")
def told():
    return read(GOLDEN / "conditioning.json")


# Vocabulary --------------------------------------------------------------------------------------


def test_every_id_means_what_it_meant(known):
    assert len(known["tokens"]) == vocabulary.SIZE
    for expected in known["tokens"]:
        token = vocabulary.token(expected["id"])
        for key in ("kind", "instrument", "pitch", "volume", "units"):
            assert getattr(token, key) == expected.get(key), expected
        if expected["kind"] == "instrument_set":
            assert token.families == tuple(expected["families"])
        else:
            assert token.name == expected.get("name")


def test_every_id_has_a_text_of_its_own_and_comes_back(known):
    texts = [vocabulary.text(id) for id in range(vocabulary.SIZE)]
    for expected in known["tokens"]:
        assert expected.get("text") in (None, texts[expected["id"]])
    assert [vocabulary.ids_of_text()[text] for text in texts] == list(range(vocabulary.SIZE))
    assert vocabulary.read_ids("[4096, 939,3979]") == [4096, 939, 3979]
    example = known["published_example"]
    pairs = [(t, i) for t, i in zip(example["text"], example["ids"], strict=True) if i is not None]
    assert vocabulary.read_ids(" ".join(t for t, _ in pairs)) == [i for _, i in pairs]
    with pytest.raises(UserError, match="'tempo90' is not a MuseNet token"):
        vocabulary.read_ids(" ".join(example["text"]))


def test_programs_and_velocities_become_what_they_became(known):
    for program, name in enumerate(known["program_to_instrument"]):
        assert vocabulary.instrument_of(program).name == name
    for velocity, block in enumerate(known["velocity_to_piano_block"]):
        if block is not None:
            assert vocabulary.on_id(vocabulary.PIANO, 60, velocity) == 128 * block + 60


def test_instrument_sets_and_styles_are_the_originals(told):
    for id, mask, name in told["instrument_sets"]:
        assert vocabulary.instrument_set_id(name.split("_")) == id == 4098 + mask
        assert vocabulary.text(id) == name
    assert len(told["instrument_sets"]) == 127
    for name, id in (told["demo_styles"] | told["genre_styles"]).items():
        assert vocabulary.original_styles()[id - 4226] == name
    unnamed = [4226 + i for i, name in enumerate(vocabulary.original_styles()) if not name]
    assert unnamed == told["unnamed_style_ids"]
    for name, family in told["family_of_instrument"].items():
        assert vocabulary.BY_NAME[name].family == family


# Notes to ids and back ---------------------------------------------------------------------------


@by_name(ENCODED)
def test_midi_files_become_the_recorded_ids(path):
    expected = read(path)
    converter = build_converter(MuseNetConverterConfig())
    notes = [vocabulary_note(start, end, *rest) for start, end, *rest in expected["notes"]]
    sequence = codec_sequence(notes)
    assert converter.ids_of(sequence) == [*expected["public_order"], vocabulary.END]
    (set_,) = {converter.prefix(None, families(converter, sequence))[1]}
    assert set_ == expected["instrument_set"]

    from_file = midi_to_sequence(path.with_suffix(".mid").read_bytes())
    assert converter.ids_of(from_file) == converter.ids_of(sequence)


def vocabulary_note(start, end, pitch, velocity, name):
    return (start, end, pitch, velocity, vocabulary.BY_NAME[name])


def codec_sequence(notes):
    sequence = music_pb2.NoteSequence()
    for start, end, pitch, velocity, instrument in notes:
        sequence.notes.add(
            start_time=start,
            end_time=end,
            pitch=pitch,
            velocity=velocity,
            program=instrument.program,
            is_drum=instrument is vocabulary.DRUMS,
        )
    return sequence


def families(converter, sequence):
    return {note.instrument.family for note in converter.notes_of(sequence)}


def in_seconds(notes):
    rate = vocabulary.UNITS_PER_SECOND
    return collections.Counter(
        (n.start / rate, n.end / rate, n.pitch, n.velocity, n.instrument.name) for n in notes
    )


@by_name(DECODED)
def test_ids_become_the_recorded_notes(path):
    expected = read(path)
    decoded = codec.decode(expected["tokens"])
    assert in_seconds(decoded.notes) == collections.Counter(map(tuple, expected["pairing"]))
    repaired = codec.repaired(decoded.notes)
    assert in_seconds(repaired) == collections.Counter(map(tuple, expected["repaired"]))
    assert repaired == codec.in_order(repaired)
    found = (decoded.units / 100, decoded.unmatched, decoded.hung)
    assert found == (expected["total_s"], expected["unmatched_offs"], expected["never_ended"])


@by_name(PLACED)
def test_places_are_the_recorded_ones(path):
    tree = read(path)
    found = places(
        tree["tokens"], tree["prefix_length"], tree["piece_offset"], tree["piece_length"]
    )
    for name, ids in found._asdict().items():
        np.testing.assert_array_equal(ids, tree[name], err_msg=name)


@pytest.mark.skipif(
    not any((wad.INSTALLED_FOLDER / name).is_file() for name in wad.INSTALLED),
    reason="Debian's packages freedoom and freedm are not installed",
)
@pytest.mark.parametrize("name", wad.INSTALLED)
def test_every_note_of_real_bands_comes_back_within_10_ms_or_is_counted(name):
    """Over whole songs: a clock that drifts would lose the later notes."""
    path = wad.INSTALLED_FOLDER / name
    if not path.is_file():
        pytest.skip(f"{path} is not installed")
    converter, songs = build_converter(MuseNetConverterConfig()), 0
    merging = build_converter(MuseNetConverterConfig(merge_doubled=True))
    for source in list_sources(path)[0]:
        for piece in read_source(source)[0]:
            report = Report()
            ids = converter.ids_of(piece.sequence, report)
            back = collections.defaultdict(list)
            for note in codec.decode(ids).notes:
                back[note.start, note.pitch, note.instrument].append(note.end)
            lost = moved = 0
            for note in converter.notes_of(piece.sequence):
                ends = back[note.start, note.pitch, note.instrument]
                if not ends:
                    lost += 1
                elif note.instrument is not vocabulary.DRUMS:
                    moved += min(abs(end - note.end) for end in ends) > 1
            doubled = report.dropped["note doubled by another of its instrument and pitch"]
            cut = report.dropped["end of a note that its instrument strikes again before"]
            assert lost <= doubled
            # The off of a note that was struck again before ends the one after it, too.
            assert moved <= 2 * cut
            # With doubled notes merged, no two begin together, and every note-off ends one.
            decoded = codec.decode(merging.ids_of(piece.sequence))
            begun = collections.Counter((n.start, n.pitch, n.instrument) for n in decoded.notes)
            assert max(begun.values()) == 1
            assert decoded.unmatched <= cut
            songs += 1
    assert songs > 20


# Rows --------------------------------------------------------------------------------------------


def piece(seconds=60.0, program=0):
    sequence = music_pb2.NoteSequence(filename="attic/Bossa Nova/tune.mid")
    for i in range(int(seconds * 4)):
        sequence.notes.add(
            start_time=i / 4, end_time=i / 4 + 0.2, pitch=50 + i % 20, velocity=70, program=program
        )
    sequence.notes.add(start_time=1.0, end_time=1.1, pitch=36, velocity=90, is_drum=True)
    return sequence


def test_rows_overlap_and_know_where_in_the_piece_they_are():
    converter = build_converter(MuseNetConverterConfig(crop=103))
    sequence = piece(program=33)
    rows = converter.encode(sequence).examples
    ids = converter.ids_of(sequence)
    front = converter.prefix("bossa_nova", ["bass", "drums"])
    for k, row in enumerate(rows):
        assert row.shape[0] <= converter.window_steps == PREFIX + 200
        np.testing.assert_array_equal(row[:PREFIX, 0], front)
        np.testing.assert_array_equal(row[PREFIX:, 0], ids[100 * k : 100 * k + 200])
        found = places(row[:, 0], PREFIX, 100 * k, len(ids))
        np.testing.assert_array_equal(row[:, 1], found.part)
        np.testing.assert_array_equal(row[:, 2], found.countdown)
    assert rows[-1][-1].tolist() == [vocabulary.END, 127, 0]


def test_part_and_countdown_count_the_time_of_a_piece():
    """As they do in generation."""
    converter = build_converter(MuseNetConverterConfig(crop=103, places_by_time=True))
    sequence = piece(seconds=60)
    sequence.notes.add(start_time=0.0, end_time=100.0, pitch=30, velocity=50, program=33)
    rows = converter.encode(sequence).examples
    units, total = 0, 100 * vocabulary.UNITS_PER_SECOND
    for row in (rows[0], *(row[PREFIX + 100 :] for row in rows[1:])):
        for id, part, countdown in row.tolist():
            units += vocabulary.token(id).units or 0
            assert part == min(PARTS * units // total, PARTS - 1)
            assert countdown == PARTS - 1 - part
    assert units == total
    # The last of 100 seconds of 60 is past the middle, where most tokens are before it.
    halves = np.concatenate([row[PREFIX : PREFIX + 100, 1] for row in rows]) < PARTS // 2
    assert halves.mean() > 0.8


def test_of_notes_that_begin_together_on_one_pitch_the_loudest_is_kept():
    converter, report = build_converter(MuseNetConverterConfig(merge_doubled=True)), Report()
    played = [(60, 1.0, 2.0, 50), (60, 1.0, 1.5, 90), (60, 1.004, 1.8, 90), (60, 1.2, 1.4, 20)]
    sequence = music_pb2.NoteSequence()
    for program in (0, 33):
        for pitch, start, end, velocity in played:
            sequence.notes.add(
                pitch=pitch, start_time=start, end_time=end, velocity=velocity, program=program
            )
    notes = converter.notes_of(sequence, report)
    kept = [(100, 180, 60, 90), (120, 140, 60, 20)]
    for name in ("piano", "bass"):
        assert [note[:4] for note in notes if note.instrument.name == name] == kept
    assert report.dropped["note doubled by another of its instrument and pitch"] == 4


def test_folders_and_genres_name_the_style():
    converter = build_converter(MuseNetConverterConfig())
    sequence = piece()
    assert converter.style_of(sequence) == "bossa_nova"
    sequence.sequence_metadata.genre.append("String-Quartet")
    assert converter.style_of(sequence) == "string_quartet"
    assert converter.style_of(music_pb2.NoteSequence(filename="x/y.mid")) is None
    assert converter.prefix(None, []) == [vocabulary.UNSPECIFIED, vocabulary.UNSPECIFIED, 4096]
    original = build_converter(MuseNetConverterConfig(styles=("original",)))
    assert original.prefix("bach", ["piano", "strings"]) == [4637, 4194, 4096]
    with pytest.raises(UserError, match=r"Unknown style 'baroqe'. Did you mean baroque"):
        converter.prefix("baroqe", [])


def test_the_report_says_who_plays_for_whom():
    report = Report()
    build_converter(MuseNetConverterConfig()).notes_of(piece(10, program=19), report)
    assert report.kept["notes of Organ as piano"] == 40


def test_decoding_gives_each_instrument_its_channel_and_program():
    converter = build_converter(MuseNetConverterConfig())
    sequence = converter.decode(converter.encode(piece(program=58)).examples[0])
    assert {(n.instrument, n.program, n.is_drum) for n in sequence.notes} == {
        (7, 56, False),
        (9, 0, True),
    }


def test_saved_tokens_are_read_and_written(tmp_path):
    converter = build_converter(MuseNetConverterConfig())
    path = tmp_path / "saved.txt"
    path.write_text(converter.text_of(piece(20)))
    (found,) = read_file(path)
    assert converter.text_of(found.sequence).split()[1:] == path.read_text().split()[1:]
    path.write_text("4226 4162 4096 piano:v72:G1 wait:12 piano:v0:G1")
    (note,) = read_file(path)[0].sequence.notes
    assert (note.pitch, note.velocity, note.start_time, note.end_time) == (43, 72, 0.0, 0.12)
    path.write_text("a letter to my mother")
    with pytest.raises(UserError, match="not a list of tokens: 'a' is not a MuseNet token"):
        read_file(path)
    assert not list_sources(tmp_path)[0]  # in a folder, text is no music

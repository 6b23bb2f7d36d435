"""Reading files: what is read equals note_seq's reading, what is bad costs only itself."""

import dataclasses
import importlib.util
import io
import os
import random
import zipfile
from pathlib import Path

import note_seq
import pytest
from archive_files import tar_of
from bad_files import midi_bytes, record, write_bad_files, write_good_files
from hypothesis import given, settings
from hypothesis import strategies as st
from note_seq.protobuf.music_pb2 import NoteSequence

from magenta_lite.converters.base import Report
from magenta_lite.data import (
    contents,
    formats,
    listing,
    midi_files,
    reading,
    records,
)
from magenta_lite.errors import UnreadableError, UserError
from tfds_datasets.arranged.make_dummy_data import hymn

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("MAGENTA_LITE_DATA", ROOT.parent / "shared" / "data"))
GROOVE = DATA / "groove_midi.zip"


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    return folder, write_bad_files(folder)


def test_every_bad_file_is_left_out_with_its_reason_and_the_odd_ones_are_read(bad):
    folder, expected = bad
    pieces, report = listing.read_all(folder)
    read = {piece.name.split("#")[0].split("/")[0] for piece in pieces}
    for name, words in expected.items():
        if not words:
            assert name in read, name
            continue
        assert name not in read, name
        reasons = [r for r, places in report.places.items() if any(name in p for p in places)]
        assert any(words in reason for reason in reasons), (name, words, reasons)


def test_a_book_with_a_number_twice_gives_both_tunes(bad):
    folder, _ = bad
    names = [piece.name for piece in listing.read_file(folder / "twice.abc")]
    assert names == ["twice.abc#X:1", "twice.abc#X:1-2"]


def test_a_file_that_the_user_names_is_refused_with_the_reason(bad):
    folder, _ = bad
    with pytest.raises(UserError, match="not a MIDI file"):
        listing.read_file(folder / "text.mid")
    with pytest.raises(UserError, match="There is no file"):
        listing.read_file(folder / "nowhere.mid")


def notes_of(sequence):
    return sorted(
        (
            note.pitch,
            note.velocity,
            round(note.start_time, 6),
            round(note.end_time, 6),
            note.instrument,
            note.program,
            note.is_drum,
        )
        for note in sequence.notes
    )


def assert_same(actual, expected):
    ours, theirs = notes_of(actual), notes_of(expected)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a[:2] + a[4:] == b[:2] + b[4:]
        assert a[2:4] == pytest.approx(b[2:4], abs=2e-6)
    assert [round(t.qpm, 4) for t in actual.tempos] == [round(t.qpm, 4) for t in expected.tempos]
    assert [(t.numerator, t.denominator) for t in actual.time_signatures] == [
        (t.numerator, t.denominator) for t in expected.time_signatures
    ]
    assert actual.ticks_per_quarter == expected.ticks_per_quarter


def band():
    """Returns a NoteSequence of three instruments with a change of tempo and metre."""
    sequence = note_seq.NoteSequence(ticks_per_quarter=220)
    sequence.tempos.add(qpm=120)
    sequence.tempos.add(time=4.0, qpm=90)
    sequence.time_signatures.add(numerator=4, denominator=4)
    sequence.time_signatures.add(time=4.0, numerator=3, denominator=4)
    for instrument, (program, drum) in enumerate([(0, False), (33, False), (0, True)]):
        for i in range(24):
            sequence.notes.add(
                pitch=40 + instrument * 3 + i % 7,
                velocity=60 + i,
                start_time=0.25 * i,
                end_time=0.25 * i + 0.2,
                instrument=instrument,
                program=program,
                is_drum=drum,
            )
    sequence.total_time = 6.2
    return sequence


def test_several_tracks_and_tempos_are_read_as_note_seq_reads_them(tmp_path):
    path = tmp_path / "band.mid"
    note_seq.sequence_proto_to_midi_file(band(), str(path))
    (piece,) = listing.read_file(path)
    assert_same(piece.sequence, note_seq.midi_file_to_note_sequence(str(path)))


@pytest.mark.skipif(not GROOVE.is_file(), reason=f"needs {GROOVE}")
def test_human_drumming_is_read_as_note_seq_reads_it():
    sources, _ = listing.list_sources(GROOVE)
    assert len(sources) == 1150
    with zipfile.ZipFile(GROOVE) as archive:
        for source in sources[::60]:
            (piece,), _ = reading.read_source(source)
            notes = [note for note in piece.sequence.notes if note.end_time > note.start_time]
            del piece.sequence.notes[:]
            piece.sequence.notes.extend(notes)
            expected = note_seq.midi_to_note_sequence(archive.read(source.member))
            assert_same(piece.sequence, expected)


def test_hits_of_no_length_stay():
    import symusic

    score = symusic.Score(480)
    track = symusic.Track("drums", is_drum=True)
    track.notes.append(symusic.Note(time=480, duration=0, pitch=38, velocity=90))
    track.notes.append(symusic.Note(time=960, duration=10, pitch=36, velocity=90))
    score.tracks.append(track)
    notes = midi_files.midi_to_sequence(score.dumps_midi()).notes
    assert [(note.pitch, note.start_time) for note in notes] == [(38, 0.5), (36, 1.0)]


def test_names_are_relative_and_hidden_files_are_no_music(tmp_path):
    write_good_files(tmp_path / "a" / "b", 1)
    (tmp_path / ".hidden.mid").write_bytes(midi_bytes([(60, 0, 1)]))
    sources, _ = listing.list_sources(tmp_path)
    assert [source.name for source in sources] == ["a/b/good_000.mid"]


def test_parts_of_a_score_without_midi_channels_are_instruments(tmp_path):
    (tmp_path / "hymn.xml").write_text(hymn(random.Random(1)), encoding="utf-8")
    pieces, _ = listing.list_sources(tmp_path)[0][0].read()
    voices = {note.instrument for note in pieces[0].sequence.notes}
    assert voices == {0, 1, 2, 3}


def test_music_xml_of_chorales_is_read():
    spec = importlib.util.find_spec("music21")
    folder = Path(spec.origin).parent / "corpus" / "bach"
    read = 0
    for path in sorted(folder.glob("bwv26*.mxl"))[:5]:
        pieces, report = reading.read_source(reading.Source(str(path), path.name))
        read += len(pieces)
        assert pieces or report.dropped
    assert read >= 3


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([".mid", ".abc", ".xml", ".mxl", ".zip", ".tar"]), st.binary(max_size=300))
def test_no_bytes_raise(tmp_path_factory, suffix, data):
    path = tmp_path_factory.mktemp("any") / f"any{suffix}"
    path.write_bytes(data)
    pieces, report = listing.read_all(path)
    assert pieces or report.dropped


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=60), st.integers(0, 200))
def test_no_damage_to_a_midi_file_raises(tmp_path_factory, patch, position):
    data = io.BytesIO(midi_bytes([(60 + i, i, i + 1) for i in range(16)]))
    data.seek(position)
    data.write(patch)
    path = tmp_path_factory.mktemp("damaged") / "tune.mid"
    path.write_bytes(data.getvalue())
    pieces, report = listing.read_all(path)
    assert pieces or report.dropped


def test_folders_named_like_splits_are_the_splits(tmp_path):
    for name in ("train/a.mid", "train/more/b.mid", "test/c.mid"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    sources, _ = listing.list_sources(tmp_path)
    assert {s.name: s.split for s in sources} == {
        "test/c.mid": "test",
        "train/a.mid": "train",
        "train/more/b.mid": "train",
    }
    (tmp_path / "d.mid").touch()  # which no such folder has: names decide, then
    assert {source.split for source in listing.list_sources(tmp_path)[0]} == {""}


def test_a_source_gives_its_split_to_its_pieces(tmp_path):
    (tmp_path / "a.mid").write_bytes(midi_bytes([(60, 0, 1)]))
    (source,), _ = listing.list_sources(tmp_path)
    assert source.split == source.read()[0][0].split == ""
    (piece,), _ = dataclasses.replace(source, split="test").read()
    assert piece.split == "test"


def test_a_table_gives_files_their_styles(tmp_path):
    write_good_files(tmp_path / "music", 3)
    table = tmp_path / "music" / "styles.csv"
    table.write_text("good_000.mid,Bossa Nova\ngood_002.mid,waltz\ngone.mid,polka\n")
    sources, report = listing.list_sources(tmp_path / "music")
    pieces = [piece for source in sources for piece in reading.read_source(source)[0]]
    genres = [list(piece.sequence.sequence_metadata.genre) for piece in pieces]
    assert genres == [["Bossa Nova"], [], ["waltz"]]
    assert report.places == {"style in styles.csv of what is not there": ["gone.mid"]}
    table.write_text("good_000.mid\n")
    with pytest.raises(UserError, match=r"Row 1 of .*styles.csv must be a file and its style"):
        listing.list_sources(tmp_path / "music")


def test_linked_folders_are_read_once_and_circles_end(tmp_path):
    write_good_files(tmp_path / "elsewhere", 2)
    folder = tmp_path / "music"
    write_good_files(folder / "own", 1)
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "own" / "circle").symlink_to(folder)
    (folder / "gone.mid").symlink_to(tmp_path / "nothing.mid")
    os.mkfifo(folder / "pipe.mid")
    (folder / ".git").mkdir()
    (folder / ".git" / "hidden.mid").write_bytes(b"1")
    sources, report = listing.list_sources(folder)
    assert [source.name for source in sources] == [
        "linked/good_000.mid",
        "linked/good_001.mid",
        "own/good_000.mid",
    ]
    assert report.places == {
        "folder that is read already under another name": ["own/circle"],
        "link to a file that is not there": ["gone.mid"],
        "not a file": ["pipe.mid"],
    }


def test_an_empty_tune_costs_no_other_of_its_book(tmp_path):
    tune = "X:{}\nM:4/4\nL:1/4\nK:C\n{}|\n\n"
    (tmp_path / "book.abc").write_text(tune.format(1, "z4") + tune.format(2, "CDEF"))
    pieces, report = listing.read_all(tmp_path)
    assert [piece.name for piece in pieces] == ["book.abc#X:2"]
    assert report.dropped == {"ABC tune: no notes": 1}


def test_any_error_costs_one_member_of_a_tar_and_one_tune_of_a_book(tmp_path, monkeypatch):
    tune = midi_bytes([(60, 0, 1)])
    tar_of(tmp_path / "all.tar", {"a.mid": tune, "b.mid": tune + b"bad", "c.mid": tune})
    book = "".join(f"X:{i}\nT:{i}\nK:C\nCDEF|\n\n" for i in range(3))
    (tmp_path / "book.abc").write_text(book)
    read_midi, read_tune = formats.read_score, formats.abc.read_tune

    def read_score(data):
        if data.endswith(b"bad"):
            raise MemoryError
        return read_midi(data)

    def tune_to_sequence(text):
        return tune_to_sequence(text) if "T:1" in text else read_tune(text)

    monkeypatch.setattr(formats, "read_score", read_score)
    monkeypatch.setattr(formats.abc, "read_tune", tune_to_sequence)
    pieces, report = listing.read_all(tmp_path)
    names = ["all.tar/a.mid", "all.tar/c.mid", "book.abc#X:0", "book.abc#X:2"]
    assert [piece.name for piece in pieces] == names
    assert report.places.pop("needed more memory than there is") == ["all.tar/b.mid"]
    (reason,) = report.places
    assert "RecursionError" in reason
    assert report.places[reason] == ["book.abc#X:1"]


def test_records_are_those_that_tensorflow_writes():
    data = bytes.fromhex("0300000000000000b099490e6162636e57f121000000000000000029039807d8ea82a2")
    assert list(records.records_in(data)) == [b"abc", b""]
    assert record(b"abc") + record(b"") == data
    for i in range(len(data)):
        damaged = bytearray(data)
        damaged[i] ^= 1
        with pytest.raises(UnreadableError):
            list(records.records_in(bytes(damaged)))


def test_names_are_printable_whatever_their_bytes(tmp_path):
    tune = midi_bytes([(60 + i % 5, i, i + 1) for i in range(8)])
    for name in (
        "sch\xf6n.mid".encode("latin-1"),
        "schön".encode() + b"\xe9.mid",
        b"a\nb\x1b[2J.mid",
    ):
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(tune)
    tar_of(tmp_path / "all.tar", {os.fsdecode(b"\xe9.mid"): tune, os.fsdecode(b"\xe9.txt"): b""})
    pieces, report = listing.read_all(tmp_path)
    assert sorted(piece.name for piece in pieces) == [
        "all.tar/é.mid",
        "a\ufffdb\ufffd[2J.mid",
        "schön.mid",
        "schöné.mid",
    ]
    assert report.places == {"not a music file": ["all.tar/é.txt"]}


def test_only_regular_files_are_opened(tmp_path):
    write_good_files(tmp_path / "music", 1)
    os.mkfifo(tmp_path / "music" / "styles.csv")
    os.mkfifo(tmp_path / "music" / "pipe.zip")
    (tmp_path / "music" / "zero.abc").symlink_to("/dev/zero")
    (tmp_path / "music" / "gone.zip").symlink_to("gone")
    (tmp_path / "music" / "self.mid").symlink_to("self.mid")
    sources, report = listing.list_sources(tmp_path / "music")
    assert [source.name for source in sources] == ["good_000.mid"]
    assert report.dropped.total() == 5
    pipe = reading.Source(str(tmp_path / "music" / "pipe.zip"), "pipe.mid", "")
    assert reading.read_source(pipe)[0] == []


def test_a_changed_table_of_styles_changes_the_data_set(tmp_path):
    write_good_files(tmp_path, 2)
    names = set()
    for style in ("", "good_000.mid,waltz", "good_000.mid,polka", "good_001.mid,polka"):
        (tmp_path / "styles.csv").write_text(style)
        names.add(contents.fingerprint(listing.list_sources(tmp_path)[0]))
    assert len(names) == 4


def test_a_note_that_ends_before_it_starts_costs_only_itself():
    tune = NoteSequence()
    for i in range(4):
        tune.notes.add(pitch=60 + i, velocity=80, start_time=i, end_time=i + 0.5)
    tune.notes[2].end_time = 1.0
    tune.notes[3].end_time = float("nan")
    report = Report()
    checked = formats.checked(tune, "tune.mid", report)
    assert [note.pitch for note in checked.notes] == [60, 61]
    assert report.dropped == {"note that ends before it starts": 2}
    assert report.places == {"note that ends before it starts": ["tune.mid"]}
    with pytest.raises(formats.UnreadableError, match="no notes"):
        formats.checked(NoteSequence(notes=[{"start_time": 2, "end_time": 1}]), "", Report())

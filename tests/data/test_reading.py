"""Reading files: what is read equals note_seq's reading, what is bad costs only itself."""

import dataclasses
import importlib.util
import io
import os
import random
import tarfile
import zipfile
from pathlib import Path

import note_seq
import pytest
from bad_files import midi_bytes, write_bad_files, write_good_files
from hypothesis import given, settings
from hypothesis import strategies as st

from magenta_lite.data import archives, listing, midi_files, reading
from magenta_lite.errors import UserError
from tfds_datasets.arranged.make_dummy_data import hymn

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("MAGENTA_LITE_DATA", ROOT.parent / "shared" / "data"))
GROOVE = DATA / "groove_midi.zip"


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    return folder, write_bad_files(folder)


def read_all(root):
    """Returns the pieces below `root` and the whole report."""
    sources, report = listing.list_sources(root)
    pieces = []
    for source in sources:
        found, more = reading.read_source(source)
        pieces += found
        report.merge(more)
    return pieces, report


def test_every_bad_file_is_left_out_with_its_reason_and_the_odd_ones_are_read(bad):
    folder, expected = bad
    pieces, report = read_all(folder)
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


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_archives_are_read_without_unpacking(tmp_path, suffix):
    paths = write_good_files(tmp_path / "good", 3)
    archive = tmp_path / f"all{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as file:
            for path in paths:
                file.write(path, f"deep/{path.name}")
    else:
        with tarfile.open(archive, "w:gz" if suffix.endswith("gz") else "w") as file:
            for path in paths:
                file.add(path, f"deep/{path.name}")
    pieces, _ = read_all(archive)
    assert [piece.name for piece in pieces] == [f"all{suffix}/deep/{p.name}" for p in paths]
    assert {path.name for path in tmp_path.iterdir()} == {"good", archive.name}


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
    pieces, report = read_all(path)
    assert pieces or report.dropped


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=60), st.integers(0, 200))
def test_no_damage_to_a_midi_file_raises(tmp_path_factory, patch, position):
    data = io.BytesIO(midi_bytes([(60 + i, i, i + 1) for i in range(16)]))
    data.seek(position)
    data.write(patch)
    path = tmp_path_factory.mktemp("damaged") / "tune.mid"
    path.write_bytes(data.getvalue())
    pieces, report = read_all(path)
    assert pieces or report.dropped


def test_a_zip_that_was_replaced_is_read_anew(tmp_path):
    path = tmp_path / "music.zip"
    read = []
    for tune in ([(60, 0, 1)], [(62, 0, 1), (64, 1, 2)]):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.mid", midi_bytes(tune))
        read.append([note.pitch for note in listing.read_file(path)[0].sequence.notes])
    assert read == [[60], [62, 64]]


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


def _zip(path: Path, members: dict[str, bytes]) -> bytes:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path.read_bytes()


def _tar(path: Path, members: dict[str, bytes]) -> bytes:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path.read_bytes()


def test_archives_inside_archives_are_read(tmp_path):
    tune = midi_bytes([(60 + i % 5, i, i + 1) for i in range(8)])
    inner_tar = _tar(tmp_path / "x", {"a.mid": tune, "cover.jpg": b"1"})
    inner_zip = _zip(tmp_path / "x", {"b.mid": tune, "deep.tgz": inner_tar, "note.txt": b"1"})
    (tmp_path / "x").unlink()
    _zip(tmp_path / "all.zip", {"in.zip": inner_zip, "in.tar.gz": inner_tar, "c.mid": tune})
    _tar(tmp_path / "all.tar", {"./in.zip": inner_zip, "__MACOSX/._c.mid": b"1"})
    pieces, report = read_all(tmp_path)
    assert sorted(piece.name for piece in pieces) == [
        "all.tar/in.zip/b.mid",
        "all.tar/in.zip/deep.tgz/a.mid",
        "all.zip/c.mid",
        "all.zip/in.tar.gz/a.mid",
        "all.zip/in.zip/b.mid",
        "all.zip/in.zip/deep.tgz/a.mid",
    ]
    assert report.dropped == {"not a music file": 5}


def test_archives_that_are_not_read_are_named_with_the_reason(tmp_path, monkeypatch):
    tune = midi_bytes([(60, 0, 1)])
    data = _zip(tmp_path / "x", {"a.mid": tune})
    for i in range(6):
        data = _zip(tmp_path / "x", {f"{i}.zip": data})
    (tmp_path / "x").rename(tmp_path / "deep.zip")
    _zip(tmp_path / "broken.zip", {"in.zip": b"PK and then nothing", "in.tar": b"nothing"})
    (tmp_path / "song.mid.gz").write_bytes(b"1")
    (tmp_path / "songs.RAR").write_bytes(b"1")
    pieces, report = read_all(tmp_path)
    assert not pieces
    assert report.places == {
        "archive that is neither zip nor tar; unpack it": ["song.mid.gz", "songs.RAR"],
        "zip archive cannot be read: File is not a zip file": ["broken.zip/in.zip"],
        "tar archive cannot be read: file could not be opened successfully:": ["broken.zip/in.tar"],
        "archive inside 4 others": ["deep.zip/5.zip/4.zip/3.zip/2.zip"],
    }
    monkeypatch.setattr(archives, "MAX_INNER_BYTES", 10)
    _, report = read_all(tmp_path / "deep.zip")
    assert report.places == {"larger than 0 MB": ["deep.zip/5.zip"]}


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
    pieces, report = read_all(tmp_path)
    assert [piece.name for piece in pieces] == ["book.abc#X:2"]
    assert report.dropped == {"ABC tune: no notes": 1}

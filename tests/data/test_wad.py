"""Songs in WAD files: made-up files, damaged ones, and the installed Freedoom."""

import struct

import pytest
from bad_files import midi_bytes

from magenta_lite.data import listing, wad
from magenta_lite.data.formats import UnreadableError
from magenta_lite.errors import UserError

TUNE = midi_bytes([(60 + i % 5, i, i + 1) for i in range(32)])
OTHER = midi_bytes([(72 - i % 7, i, i + 1) for i in range(32)])
MUS = b"MUS\x1a" + b"\0" * 20


def wad_bytes(lumps, kind=b"PWAD"):
    """Returns a WAD file of (name, content) pairs."""
    body, directory = b"", b""
    for name, content in lumps:
        directory += struct.pack("<ii8s", 12 + len(body), len(content), name.encode())
        body += content
    return struct.pack("<4sii", kind, len(lumps), 12 + len(body)) + body + directory


@pytest.fixture
def two_wads(tmp_path):
    lumps = [("MAP01", b""), ("THINGS", b"\1" * 10), ("D_RUNNIN", TUNE), ("D_OLD", MUS)]
    (tmp_path / "a.wad").write_bytes(wad_bytes(lumps, b"IWAD"))
    (tmp_path / "sub").mkdir()
    again = [("D_AGAIN", TUNE), ("D_INTRO", OTHER)]
    (tmp_path / "sub" / "b.WAD").write_bytes(wad_bytes(again))
    (tmp_path / "readme.txt").write_text("no wad")
    return tmp_path


def test_songs_are_named_by_their_lump_and_come_once(two_wads):
    songs, report = wad.list_songs(two_wads)
    assert [song.name for song in songs] == ["a.wad/D_RUNNIN.mid", "sub/b.WAD/D_INTRO.mid"]
    assert [song.read_bytes() for song in songs] == [TUNE, OTHER]
    assert report.dropped == {
        "lump of a WAD file that is not a song": 1,
        "song in Doom's MUS format, not MIDI": 1,
        "same song again": 1,
    }
    assert report.places["same song again"] == ["sub/b.WAD/D_AGAIN.mid"]


def test_a_song_is_read_as_a_midi_file_is(two_wads):
    songs, _ = wad.list_songs(two_wads / "a.wad")
    pieces, report = songs[0].read()
    assert [piece.name for piece in pieces] == ["a.wad/D_RUNNIN.mid"]
    assert [note.pitch for note in pieces[0].sequence.notes][:3] == [60, 61, 62]
    assert report.kept == {"pieces": 1}


def test_the_last_lump_of_a_name_counts(tmp_path):
    (tmp_path / "a.wad").write_bytes(wad_bytes([("D_E1M1", TUNE), ("D_E1M1", OTHER)]))
    songs, _ = wad.list_songs(tmp_path)
    assert [song.read_bytes() for song in songs] == [OTHER]


DAMAGED = {
    "": "not a WAD file",
    "IWAD": "not a WAD file",
    "text": "not a WAD file",
    "directory cut off": "directory lies outside",
    "negative count": "directory lies outside",
    "huge count": "directory lies outside",
    "lump behind the end": "lump outside the WAD file",
    "lump before the start": "lump outside the WAD file",
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_files_are_reported_and_the_rest_is_read(tmp_path, case):
    good = wad_bytes([("D_E1M1", TUNE)])
    data = {
        "": b"",
        "IWAD": b"IWAD",
        "text": b"this is a text about a WAD file",
        "directory cut off": good[:-3],
        "negative count": struct.pack("<4sii", b"IWAD", -1, 12),
        "huge count": struct.pack("<4sii", b"IWAD", 2**31 - 1, 12) + good,
        "lump behind the end": good[:-16] + struct.pack("<ii8s", 12, 2**20, b"D_E1M1"),
        "lump before the start": good[:-16] + struct.pack("<ii8s", -5, 9, b"D_E1M1"),
    }[case]
    (tmp_path / "bad.wad").write_bytes(data)
    (tmp_path / "good.wad").write_bytes(wad_bytes([("D_E1M2", OTHER)]))
    songs, report = wad.list_songs(tmp_path)
    assert [song.name for song in songs] == ["good.wad/D_E1M2.mid"]
    assert [reason for reason in report.dropped if DAMAGED[case] in reason], report.dropped
    assert "bad.wad" in "".join(next(iter(report.places.values())))


def test_a_lump_that_is_damaged_midi_costs_only_itself(tmp_path):
    lumps = [("D_BAD", TUNE[:40]), ("D_GOOD", OTHER)]
    (tmp_path / "a.wad").write_bytes(wad_bytes(lumps))
    bad, good = wad.list_songs(tmp_path)[0]
    pieces, report = bad.read()
    assert not pieces
    assert any("damaged MIDI file" in reason for reason in report.dropped)
    assert len(good.read()[0]) == 1


def test_a_file_that_changed_meanwhile_is_reported(two_wads):
    songs, _ = wad.list_songs(two_wads / "a.wad")
    (two_wads / "a.wad").write_bytes(wad_bytes([("D_INTRO", OTHER)]))
    with pytest.raises(UnreadableError, match="D_RUNNIN"):
        songs[0].read_bytes()
    pieces, report = songs[0].read()
    assert not pieces
    assert report.dropped == {"the WAD file has no lump D_RUNNIN": 1}


def test_wad_files_in_a_folder_of_music_give_their_songs(two_wads):
    (two_wads / "tune.mid").write_bytes(TUNE)
    (two_wads / "cut.wad").write_bytes(wad_bytes([("D_E1M1", TUNE)])[:-3])
    sources, report = listing.list_sources(two_wads)
    # The same song in two files comes twice here: they are two pieces of the user's.
    names = ["a.wad/D_RUNNIN.mid", "sub/b.WAD/D_AGAIN.mid", "sub/b.WAD/D_INTRO.mid", "tune.mid"]
    assert [source.name for source in sources] == names
    assert report.places["damaged WAD file: its directory lies outside it"] == ["cut.wad"]
    assert report.places["not a music file"] == ["readme.txt"]
    assert report.dropped["lump of a WAD file that is not a song"] == 1
    pieces = [piece for source in sources for piece in source.read()[0]]
    assert [piece.name for piece in pieces] == names
    assert [piece.sequence.notes[0].pitch for piece in pieces] == [60, 60, 72, 60]
    assert len(listing.read_file(two_wads / "sub" / "b.WAD")) == 2


def test_no_wad_file_is_told(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no WAD file"):
        wad.list_songs(tmp_path)
    with pytest.raises(UserError, match="no WAD file"):
        wad.list_songs(tmp_path / "none.wad")
    monkeypatch.setattr(wad, "INSTALLED_FOLDER", tmp_path)
    with pytest.raises(UserError, match="apt-get install freedoom"):
        wad.list_songs()


def test_the_installed_freedoom_has_94_songs():
    if not all((wad.INSTALLED_FOLDER / name).is_file() for name in wad.INSTALLED):
        pytest.skip("Debian's packages freedoom and freedm are not installed")
    songs, report = wad.list_songs()
    assert len(songs) == 94
    assert report.dropped["same song again"] == 8
    minutes = 0.0
    for song in songs:
        pieces, problems = song.read()
        assert not problems.dropped, problems.table()
        minutes += pieces[0].sequence.total_time / 60
    assert 225 < minutes < 231

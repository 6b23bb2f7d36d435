"""Reading archives: nested, damaged, and made to do harm."""

import tarfile
import tracemalloc
import zipfile

import pytest
from archive_files import add, tar_of, zip_of
from bad_files import midi_bytes, write_good_files

from magenta_lite.data import archives, listing


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
    pieces, _ = listing.read_all(archive)
    assert [piece.name for piece in pieces] == [f"all{suffix}/deep/{p.name}" for p in paths]
    assert {path.name for path in tmp_path.iterdir()} == {"good", archive.name}


def test_a_zip_that_was_replaced_is_read_anew(tmp_path):
    path = tmp_path / "music.zip"
    read = []
    for tune in ([(60, 0, 1)], [(62, 0, 1), (64, 1, 2)]):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.mid", midi_bytes(tune))
        read.append([note.pitch for note in listing.read_file(path)[0].sequence.notes])
    assert read == [[60], [62, 64]]


def test_archives_inside_archives_are_read(tmp_path):
    tune = midi_bytes([(60 + i % 5, i, i + 1) for i in range(8)])
    inner_tar = tar_of(tmp_path / "x", {"a.mid": tune, "cover.jpg": b"1"})
    inner_zip = zip_of(tmp_path / "x", {"b.mid": tune, "deep.tgz": inner_tar, "note.txt": b"1"})
    (tmp_path / "x").unlink()
    zip_of(tmp_path / "all.zip", {"in.zip": inner_zip, "in.tar.gz": inner_tar, "c.mid": tune})
    tar_of(tmp_path / "all.tar", {"./in.zip": inner_zip, "__MACOSX/._c.mid": b"1"})
    pieces, report = listing.read_all(tmp_path)
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
    data = zip_of(tmp_path / "x", {"a.mid": tune})
    for i in range(6):
        data = zip_of(tmp_path / "x", {f"{i}.zip": data})
    (tmp_path / "x").rename(tmp_path / "deep.zip")
    zip_of(tmp_path / "broken.zip", {"in.zip": b"PK and then nothing", "in.tar": b"nothing"})
    (tmp_path / "song.mid.gz").write_bytes(b"1")
    (tmp_path / "songs.RAR").write_bytes(b"1")
    pieces, report = listing.read_all(tmp_path)
    assert not pieces
    assert report.places == {
        "archive that is neither zip nor tar; unpack it": ["song.mid.gz", "songs.RAR"],
        "zip archive cannot be read: File is not a zip file": ["broken.zip/in.zip"],
        "tar archive cannot be read: truncated header": ["broken.zip/in.tar"],
        "archive inside 4 others": ["deep.zip/5.zip/4.zip/3.zip/2.zip"],
    }
    monkeypatch.setattr(archives, "MAX_INNER_BYTES", 10)
    _, report = listing.read_all(tmp_path / "deep.zip")
    assert report.places == {"larger than 0 MB": ["deep.zip/5.zip"]}


def test_a_tar_is_read_member_by_member(tmp_path):
    """A tar with two gigabytes of zeros needs little memory."""
    tune = midi_bytes([(60 + i % 5, i, i + 1) for i in range(8)])
    path = tmp_path / "big.tar"
    with tarfile.open(path, "w") as archive:
        add(archive, "a.mid", tune)
        zeros = tarfile.TarInfo("zeros.mid")
        zeros.size = 2 * 2**30
        archive.fileobj.write(zeros.tobuf())
        archive.fileobj.seek(zeros.size, 1)  # takes no room on the disk
        archive.offset = archive.fileobj.tell()
        add(archive, "b.mid", tune)
    tracemalloc.start()
    pieces, report = listing.read_all(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [piece.name for piece in pieces] == ["big.tar/a.mid", "big.tar/b.mid"]
    assert report.places == {"larger than 64 MB": ["big.tar/zeros.mid"]}
    assert most < 20 * 2**20


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.REGTYPE])
@pytest.mark.parametrize("size", [8 * 2**30, -1024, -512])
def test_sizes_that_a_tar_states_are_not_believed(tmp_path, kind, size):
    path = tmp_path / "lies.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        add(archive, "a.mid", midi_bytes([(60, 0, 1)]))
        lie = tarfile.TarInfo("lie.mid")
        lie.size, lie.type = size, kind
        archive.fileobj.write(lie.tobuf(tarfile.GNU_FORMAT))
        archive.fileobj.write(bytes(4096))
    pieces, report = listing.read_all(path)
    assert [piece.name for piece in pieces] == ["lies.tar/a.mid"]
    assert report.dropped.total() >= 1


@pytest.mark.parametrize("size", ["-5000", "99999999999", "1e400", "x", "-512"])
def test_pax_headers_that_lie_end_the_archive(tmp_path, size):
    path = tmp_path / "pax.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        add(archive, "a.mid", midi_bytes([(60, 0, 1)]))
        add(archive, "b.mid", midi_bytes([(60, 0, 1)]), pax_headers={"size": size})
    pieces, _ = listing.read_all(path)
    assert pieces[0].name == "pax.tar/a.mid"


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    tune = midi_bytes([(60, 0, 1)])
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.mid", bytes(2**24))
        archive.writestr("inner.zip", bytes(2**24))
        archive.writestr("a.mid", tune)
    pieces, report = listing.read_all(tmp_path / "bomb.zip")
    assert [piece.name for piece in pieces] == ["bomb.zip/a.mid"]
    reason = "zip archive cannot be read: it unpacks to more than 200 times its size"
    assert sorted(report.places[reason]) == ["bomb.zip/inner.zip", "bomb.zip/zeros.mid"]


def test_files_of_a_zip_that_share_their_bytes_are_a_bomb(tmp_path):
    path = tmp_path / "overlap.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a.mid", "b.mid"):
            archive.writestr(name, midi_bytes([(60, 0, 1)]))
        archive.filelist[1].header_offset = archive.filelist[0].header_offset
    pieces, report = listing.read_all(path)
    assert not pieces
    assert report.places == {"zip archive cannot be read: its files overlap": ["overlap.zip"]}


def test_archives_of_too_many_files_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 2)
    monkeypatch.setattr(archives, "MAX_DIRECTORY", 100)
    members = {f"{i}.mid": midi_bytes([(60, 0, 1)]) for i in range(3)}
    zip_of(tmp_path / "many.zip", members)
    tar_of(tmp_path / "many.tar", members)
    pieces, report = listing.read_all(tmp_path)
    assert [piece.name for piece in pieces] == ["many.tar/0.mid", "many.tar/1.mid"]
    assert report.places == {
        "zip archive cannot be read: a header of 153 bytes; at most 100 are read": ["many.zip"],
        "archive of more than 2 files; the others": ["many.tar"],
    }


def test_a_damaged_archive_inside_another_costs_only_itself(tmp_path):
    tune = midi_bytes([(60, 0, 1)])
    inner = zip_of(tmp_path / "x", {"a.mid": tune})
    damaged = inner.replace(tune, tune[:-1] + b"?")
    outer = zip_of(tmp_path / "x", {"in.zip": damaged, "b.mid": tune}).replace(
        damaged[-9:], b"?" * 9
    )
    tar_of(tmp_path / "all.tar", {"out.zip": outer, "c.mid": tune})
    (tmp_path / "x").unlink()
    pieces, report = listing.read_all(tmp_path)
    assert [piece.name for piece in pieces] == ["all.tar/out.zip/b.mid", "all.tar/c.mid"]
    (reason,) = report.places
    assert reason.startswith("archive cannot be read: Bad CRC-32")

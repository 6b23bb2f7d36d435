"""Encoded files that are kept: what was read is not read again, and the results are the same."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import signal
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from archive_files import tar_of
from bad_files import write_good_files

from magenta_lite import datasets
from magenta_lite.config import DataConfig
from magenta_lite.converters.audio import AudioConverterConfig
from magenta_lite.converters.melody import MelodyConverterConfig
from magenta_lite.converters.performance import PerformanceConverterConfig
from magenta_lite.data import audio, building, file_cache, listing, progress, reading
from magenta_lite.data.file_cache import FileCache

CONFIG = MelodyConverterConfig(bars=2)


@pytest.fixture
def music(tmp_path):
    """A folder of eight melodies and a broken file."""
    write_good_files(tmp_path / "music", 8)
    (tmp_path / "music" / "good_003 broken.mid").write_bytes(b"MThd broken")
    return tmp_path / "music"


@pytest.fixture
def archive(music):
    """An archive of the melodies, the broken file, and a text."""
    members = {path.name: path.read_bytes() for path in sorted(music.iterdir())}
    path = music.with_name("music.tar.gz")
    tar_of(path, members | {"readme.txt": b"no music"})
    return path


@pytest.fixture
def read(monkeypatch):
    """The names of the files that are read in this process."""
    names, encode = [], building._encode_file

    def noted(file, converter_config):
        names.append(file.name)
        return encode(file, converter_config)

    monkeypatch.setattr(building, "_encode_file", noted)
    return names


def _open(folder: Path, code: str = "0123") -> FileCache:
    return FileCache(folder / "cache", code, "a", progress.say)


def _build(source: Path, folder: Path | None, code: str = "0123"):
    """Returns what is built of a source, with the cache in a folder, or without one."""
    lists = audio.list_sounds if source.name == "sounds" else listing.list_sources
    config = AudioConverterConfig() if source.name == "sounds" else CONFIG
    with contextlib.nullcontext() if folder is None else _open(folder, code) as cache:
        windows = building.build(*lists(source), config, cache=cache)
        splits = {split: list(kept) for split, kept in windows.splits.items()}
        if cache:
            cache.clean()
    return splits, windows.report.to_json(), windows.facts


def test_only_new_and_changed_files_are_read(music, tmp_path, read):
    assert _build(music, tmp_path) == _build(music, None)
    del read[:]
    assert _build(music, tmp_path) == _build(music, None)
    assert len(read) == 9  # those without a cache
    (music / "good_001.mid").rename(music / "other.mid")  # a piece's name is in its examples
    os.utime(music / "good_002.mid", (1, 1))
    (music / "good_004.mid").write_bytes((music / "good_005.mid").read_bytes())
    (music / "good_006.mid").unlink()
    expected = _build(music, None)
    del read[:]
    assert _build(music, tmp_path) == expected
    assert read == ["good_004.mid", "other.mid"]
    moved = music.rename(tmp_path / "moved")
    del read[:]
    assert _build(moved, tmp_path) == expected
    assert not read


def test_sound_is_kept_with_its_labels_and_positions(tmp_path, capsys):
    (tmp_path / "sounds").mkdir()
    samples = np.random.default_rng(0).normal(scale=0.1, size=(40_000, 1))
    for name in ("a.wav", "b.wav"):
        audio.write_audio(tmp_path / "sounds" / name, audio.Audio(samples, 16_000))
        samples = samples[::-1]
    table = tmp_path / "sounds" / "labels.csv"
    table.write_text("file,artist\na.wav,Me\nb.wav,You\n")
    first = _build(tmp_path / "sounds", tmp_path)
    assert _build(tmp_path / "sounds", tmp_path) == first == _build(tmp_path / "sounds", None)
    assert first[2]["a.wav"]["artist"] == "Me"
    assert {window.position for window in first[0]["train"]} >= {(0, 40_000)}
    table.write_text("file,artist\na.wav,Me\nb.wav,Her\n")
    capsys.readouterr()
    assert _build(tmp_path / "sounds", tmp_path)[2]["b.wav"]["artist"] == "Her"
    assert "1 of 2 files have been read before" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [1, 2])
def test_of_an_archive_only_the_missing_parts_are_read(archive, tmp_path, monkeypatch, workers):
    monkeypatch.setattr(building, "_cores", lambda: workers)
    monkeypatch.setattr(building, "SERIAL_SECONDS", 0.0)
    expected = _build(archive, None)
    assert expected == _build(archive, tmp_path)
    kept, keep = [], FileCache.keep
    for missing in ({1, 3, 4, 9}, {0, 8}, set()):
        with _open(tmp_path) as cache:
            for number in missing:  # a killed build has some parts in any order
                cache._parts.execute("DELETE FROM parts WHERE number = ?", (number,))
        del kept[:]
        with monkeypatch.context() as patch:
            patch.setattr(
                FileCache,
                "keep",
                lambda self, key, file: (kept.append(file.number), keep(self, key, file)),
            )
            assert _build(archive, tmp_path) == expected
        assert set(kept) == missing


def test_killed_builds_go_on_from_the_files_that_are_done(music, tmp_path):
    expected = _build(music, None)
    log = tmp_path / "log"
    for when in ("before 2", "written 3", "kept 4", "written 2", "never 0"):
        process = multiprocessing.get_context("fork").Process(
            target=_killed_build, args=(music, tmp_path, log, when)
        )
        process.start()
        process.join()
        assert process.exitcode == (0 if when == "never 0" else -signal.SIGKILL)
    lines = [line.split(" ", 1) for line in log.read_text().splitlines()]
    done: list[str] = []
    for what, name in lines:
        if what == "before":
            assert name not in done
        elif what == "kept":
            done.append(name)
    assert len(done) == len(set(done)) == 9
    assert [what for what, _ in lines].count("before") == 9 + 3  # the kept one was not lost
    assert _build(music, tmp_path) == expected


def _killed_build(music, folder, log, when):
    """Builds, and notes and kills itself at the stated one of the notes."""
    what, number = when.split()
    notes = {"before": 0, "written": 0, "kept": 0}

    def note(kind, name):
        with log.open("a") as file:
            file.write(f"{kind} {name}\n")
        notes[kind] += 1
        if notes.get(what) == int(number):
            os.kill(os.getpid(), signal.SIGKILL)

    encode, keep = building._encode_file, FileCache.keep

    def noted(file, converter_config):
        note("before", file.name)
        encoded = encode(file, converter_config)
        return encoded

    def kept(self, key, file):
        note("written", str(file.number))
        keep(self, key, file)
        note("kept", names[key])

    names = {building.contents.key_of(s): s.name for s in listing.list_sources(music)[0]}
    building._encode_file, FileCache.keep = noted, kept
    _build(music, folder)
    os._exit(0)


def test_what_may_be_read_another_time_is_not_kept(music, tmp_path, monkeypatch):
    read_bytes = reading.Source.read_bytes

    def fails(self):
        if self.name == "good_001.mid":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self.name == "good_002.mid":
            raise MemoryError
        return read_bytes(self)

    with monkeypatch.context() as patch:
        patch.setattr(reading.Source, "read_bytes", fails)
        report = _build(music, tmp_path)[1]
        assert {"Input/output error", "needed more memory than there is"} <= set(report["dropped"])
    assert _build(music, tmp_path) == _build(music, None)


def test_a_file_that_changes_while_it_is_read_is_not_kept(music, tmp_path, monkeypatch):
    encode = building._encode_file

    def changes(file, converter_config):
        if file.name == "good_001.mid":
            Path(file.path).write_bytes((music / "good_002.mid").read_bytes())
        return encode(file, converter_config)

    before = (music / "good_001.mid").read_bytes()
    expected = _build(music, None)
    with monkeypatch.context() as patch:
        patch.setattr(building, "_encode_file", changes)
        _build(music, tmp_path)
    (music / "good_001.mid").write_bytes(before)
    assert _build(music, tmp_path) == expected


def _no_database(folder):
    (folder / "0123.sqlite").write_bytes(b"no database" * 1000)


def _cut_database(folder):
    os.truncate(folder / "0123.sqlite", (folder / "0123.sqlite").stat().st_size // 2)


def _cut_records(folder):
    os.truncate(folder / "0123.records", (folder / "0123.records").stat().st_size - 1)


def _other_columns(folder):
    with contextlib.closing(sqlite3.connect(folder / "0123.sqlite")) as database:
        database.execute("ALTER TABLE parts DROP COLUMN report")


@pytest.mark.parametrize("damage", [_no_database, _cut_database, _cut_records, _other_columns])
def test_damaged_folder_is_read_again_with_a_line(damage, music, tmp_path, capsys, read):
    expected = _build(music, tmp_path)
    damage(tmp_path / "cache")
    capsys.readouterr()
    del read[:]
    assert _build(music, tmp_path) == expected
    (line,) = capsys.readouterr().err.splitlines()[:1]
    assert f"{tmp_path / 'cache'} is damaged (" in line
    assert len(read) == 9
    assert _build(music, tmp_path) == expected
    assert len(read) == 9


def test_another_code_reads_all_again_and_removes_the_rest(music, tmp_path, read):
    _build(music, tmp_path)
    _build(music, tmp_path, "4567")
    assert len(read) == 18
    assert {path.name.split(".")[0] for path in (tmp_path / "cache").iterdir()} == {
        "4567",
        "data_sets",
    }
    assert file_cache.code_of([1]) == file_cache.code_of([1]) != file_cache.code_of([2])


def test_records_of_files_that_are_gone_do_not_stay(music, tmp_path, read):
    _build(music, tmp_path)
    (music / "good_000.mid").unlink()
    _build(music, tmp_path)
    with _open(tmp_path) as cache:
        assert cache._parts.execute("SELECT count(*) FROM parts").fetchone() == (8,)
    for number in range(1, 6):
        (music / f"good_{number:03}.mid").unlink()
    _build(music, tmp_path)
    assert not list((tmp_path / "cache").glob("0123.*"))
    del read[:]
    assert _build(music, tmp_path) == _build(music, None)


def test_full_disk_is_an_error_and_nothing_half_written_counts(music, tmp_path):
    expected = _build(music, None)
    with _open(tmp_path) as cache:
        cache._parts.execute("PRAGMA max_page_count = 4")
        with pytest.raises(OSError, match="No space left on device"):
            building.build(*listing.list_sources(music), CONFIG, cache=cache)
    assert _build(music, tmp_path) == expected


def test_a_source_is_read_once_for_several_data_sets(music, read, tmp_path):
    data = DataConfig(source=str(music))
    configs = [CONFIG, PerformanceConverterConfig(min_tokens=1)]
    alone = [datasets.open_collection(data, config, str(tmp_path / "alone")) for config in configs]
    read.clear()
    together = datasets.build_together(data, configs, str(tmp_path / "together"))
    assert sorted(read) == sorted(path.name for path in music.iterdir())
    for ours, theirs in zip(together, alone, strict=True):
        assert (ours.name, ours.sizes) == (theirs.name, theirs.sizes)
        assert ours.report.to_json() == theirs.report.to_json()
        names = {path.name for path in theirs.folder.glob("*.tfrecord*")}
        assert names
        for name in names:
            assert (ours.folder / name).read_bytes() == (theirs.folder / name).read_bytes()

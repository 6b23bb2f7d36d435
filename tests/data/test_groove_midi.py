"""The Groove MIDI Dataset: what is listed, its official splits, and how it is opened."""

from __future__ import annotations

import collections
import dataclasses
import os
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from magenta_lite.config import DataConfig
from magenta_lite.converters.groove import GrooveConverterConfig
from magenta_lite.converters.melody import MelodyConverterConfig
from magenta_lite.data import building, groove_midi
from magenta_lite.data.naming import list_source
from magenta_lite.datasets import open_collection
from magenta_lite.errors import UserError

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("MAGENTA_LITE_DATA", ROOT.parent / "shared" / "data"))
REAL = DATA / "groove_midi.zip"

GROOVE = GrooveConverterConfig(bars=2, hop_bars=1)


@pytest.fixture
def copy(grooves, tmp_path):
    """A copy of the dummy takes that a test may spoil."""
    return Path(shutil.copytree(grooves, tmp_path / "copy"))


def zipped(folder: Path, inside: str) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, inside + file.relative_to(folder).as_posix())
    return path


def names_and_splits(path):
    sources, report = groove_midi.list_grooves(str(path))
    assert not report.dropped
    return [(source.name, source.split, len(source.read_bytes())) for source in sources]


@pytest.mark.parametrize("inside", ["", "groove/"])
def test_a_zip_lists_the_same_takes_as_a_folder(copy, inside):
    takes = names_and_splits(copy)
    assert names_and_splits(copy.parent) == takes  # the folder that holds the data set's own
    assert names_and_splits(zipped(copy, inside)) == takes
    assert takes[0][:2] == ("drummer1/session1/1_rock_100_beat_4-4.mid", "train")
    splits = collections.Counter(split for _, split, _ in takes)
    assert splits == {"train": 5, "validation": 2, "test": 2}


def test_takes_that_are_missing_or_not_listed_are_counted(copy):
    session = copy / "drummer1" / "session1"
    (session / "1_rock_100_beat_4-4.mid").rename(session / "new.mid")
    sources, report = groove_midi.list_grooves(copy)
    assert len(sources) == 8
    assert report.dropped == {"listed in info.csv but missing": 1, "not listed in info.csv": 1}
    assert report.places["not listed in info.csv"] == ["drummer1/session1/new.mid"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "info.csv").unlink(), "no info.csv.*--data=PATH"),
        (lambda folder: (folder / "info.csv").write_text("a,b\n1,2\n"), "midi_filename and split"),
        (lambda folder: (folder / "info.csv").write_text(""), "midi_filename and split"),
        (
            lambda folder: (folder / "info.csv").write_text("midi_filename,split\na.mid,exam\n"),
            "puts a.mid into the split 'exam'",
        ),
        (lambda folder: (folder / "info.csv").write_bytes(b"\xff\xfe\x00"), "cannot be read"),
    ],
)
def test_what_is_not_the_data_set_is_a_user_error(copy, spoil, words):
    spoil(copy)
    with pytest.raises(UserError, match=words):
        groove_midi.list_grooves(copy)
    with pytest.raises(UserError, match=words):
        groove_midi.list_grooves(zipped(copy, "groove/"))


def test_missing_or_broken_files_are_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"no file or folder .*nowhere"):
        groove_midi.list_grooves(tmp_path / "nowhere")
    (tmp_path / "cut.zip").write_bytes(b"PK\3\4 cut off")
    with pytest.raises(UserError, match="cannot be read"):
        groove_midi.list_grooves(tmp_path / "cut.zip")


def test_official_splits_win_over_the_hash(grooves):
    sources, listing = list_source(f"groove_midi:{grooves}")
    split_of = {source.name: source.split for source in sources}
    windows = building.build(sources, listing, GROOVE)
    for split, kept in windows.splits.items():
        assert kept
        assert {split_of[window.piece] for window in kept} == {split}
    assert windows.report.dropped["time signature 3/4 is not 4/4"] == 1


def test_pieces_without_a_split_still_go_by_their_hash(grooves):
    sources, listing = list_source(f"groove_midi:{grooves}")
    sources = [dataclasses.replace(s, split="train" if s.split == "test" else "") for s in sources]
    windows = building.build(sources, listing, GROOVE)
    assert windows.sizes["validation"]
    assert any("drummer3" in window.piece for window in windows.splits["train"])
    assert not any(
        "drummer3" in window.piece
        for name in ("validation", "test")
        for window in windows.splits[name]
    )


def opened(source, converter, data_dir):
    return open_collection(DataConfig(source=str(source)), converter, str(data_dir))


def test_groove_windows_are_stored_as_they_were_encoded(copy, tmp_path):
    folder = opened(f"groove_midi:{copy}", GROOVE, tmp_path / "data")
    archive = opened(f"groove_midi:{zipped(copy, 'groove/')}", GROOVE, tmp_path / "data")
    assert folder.name != archive.name
    windows = building.build(*groove_midi.list_grooves(copy), GROOVE)
    for split, kept in windows.splits.items():
        examples = folder.split(split)
        assert examples.events.dtype == np.float32
        assert examples.events.shape == (len(kept), 32, 27)
        assert examples.controls is None
        assert sorted(row.tobytes() for row in examples.events) == sorted(w.events for w in kept)
        np.testing.assert_array_equal(archive.split(split).events, examples.events)


def test_another_pitch_map_is_another_data_set(copy, tmp_path):
    source = f"groove_midi:{copy}"
    plain = opened(source, GROOVE, tmp_path)
    other = dataclasses.replace(GROOVE, pitch_map="reduced")
    assert opened(source, other, tmp_path).name != plain.name


def test_converter_that_finds_nothing_says_why(grooves, tmp_path):
    with pytest.raises(UserError, match=r"(?s)nothing to train on.*drum note"):
        opened(f"groove_midi:{grooves}", MelodyConverterConfig(bars=2), tmp_path)


def test_looking_into_the_bare_name_asks_for_a_path():
    with pytest.raises(UserError, match="groove_midi:PATH"):
        list_source("groove_midi")
    with pytest.raises(UserError, match="no argument after its colon"):
        list_source("groove_midi:")


def test_bare_name_downloads_the_published_file(grooves, tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    asked = []

    def download(self, url):
        asked.append(url)
        return grooves

    monkeypatch.setattr(tfds.download.DownloadManager, "download", download)
    collection = opened("groove_midi", GROOVE, tmp_path)
    assert asked == [groove_midi.URL]
    assert collection.name == "groove_midi/groove_2bar/1.1.0"
    assert opened("tfds:groove_midi/groove_2bar", GROOVE, tmp_path).sizes == collection.sizes
    with pytest.raises(UserError, match=r"converter\.pitch_map is roland there and reduced here"):
        opened(
            "tfds:groove_midi/groove_2bar",
            dataclasses.replace(GROOVE, pitch_map="reduced"),
            tmp_path,
        )
    assert len(asked) == 1


def test_failed_download_names_the_other_way():
    from tfds_datasets.collection_builder import downloaded

    def download(url):
        raise ConnectionError("no network")

    with pytest.raises(UserError, match=r"ConnectionError.*--data=groove_midi:PATH"):
        downloaded(SimpleNamespace(download=download), groove_midi.URL, "groove_midi")


def test_published_file_is_registered_with_its_checksum():
    from tfds_datasets.groove_midi.groove_midi_dataset_builder import Builder

    info = Builder.url_infos[groove_midi.URL]
    assert info.size == 3_260_318
    assert info.checksum.startswith("651cbc524ffb891b")


@pytest.mark.skipif(not REAL.exists(), reason="needs the Groove MIDI Dataset")
def test_real_takes_have_the_published_splits_and_nearly_all_encode():
    sources, report = groove_midi.list_grooves(REAL)
    assert not report.dropped
    splits = collections.Counter(source.split for source in sources)
    assert splits == {"train": 897, "validation": 124, "test": 129}
    some = [source for source in sources if source.name.startswith("drummer5/")]
    windows = building.build(some, report, GROOVE)
    odd = {r: n for r, n in windows.report.dropped.items() if r.startswith("time signature")}
    assert odd == {"time signature 3/4 is not 4/4": 1, "time signature 5/8 is not 4/4": 1}
    assert not any("pitch" in reason for reason in windows.report.dropped)
    assert all(windows.sizes.values())

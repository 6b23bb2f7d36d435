"""Building collections with TFDS and loading them as arrays."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tfds_datasets
from magenta_lite.config import DataConfig, get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.drums import DrumsConverterConfig
from magenta_lite.converters.melody import MelodyConverterConfig
from magenta_lite.data import building, folk, listing, summaries, wad
from magenta_lite.data.specs import DATASETS, NOTE_ENCODINGS, PERFORMANCE_ENCODINGS
from magenta_lite.datasets import data_set_name, open_collection
from magenta_lite.errors import UserError

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tfds_datasets" / "midi_dir" / "dummy_data"
MEL_2BAR = MelodyConverterConfig(bars=2, programs=(0, 31))


def _open(source, data_dir, converter=MEL_2BAR):
    return open_collection(DataConfig(source=str(source)), converter, str(data_dir))


def _rows(collection) -> dict[str, list]:
    return {
        name: [
            (bytes(row[:length]), piece)
            for row, length, piece in zip(split.events, split.lengths, split.pieces, strict=True)
        ]
        for name in building.SPLITS
        for split in [collection.split(name)]
    }


@pytest.fixture
def books(folk_dummy):
    """Lets `folk` mean the dummy books."""


@pytest.fixture
def folder(tmp_path):
    """A copy of the dummy folder, with bad files and an archive in it."""
    return Path(shutil.copytree(FOLDER, tmp_path / "music"))


def test_every_data_set_has_a_folder_with_its_builder():
    builders = (ROOT / "tfds_datasets").glob("*/*_dataset_builder.py")
    assert {path.parent.name for path in builders} == DATASETS.keys()
    for name, spec in DATASETS.items():
        builder = tfds_datasets.builder_class(name)
        assert (builder.name, builder.SPEC) == (name, spec)


def test_folders_may_be_grouped_by_their_subfolders_and_data_sets_may_not(tmp_path, folder):
    def opened(source):
        data = DataConfig(source=str(source), group_by="folder")
        return open_collection(data, MEL_2BAR, str(tmp_path / "tfds"))

    grouped = opened(folder)
    assert grouped.name.startswith("midi_dir/mel_2bar-")
    settings = [f"data.source={folder}", "converter.programs=[0,31]"]
    by_content = data_set_name(get_config("cat-mel_2bar", settings), None, str(tmp_path / "tfds"))
    assert by_content.startswith("midi_dir/mel_2bar-") and grouped.name != by_content
    for source in ("folk", "freedoom:x.wad", "tfds:folk/mel_2bar"):
        with pytest.raises(UserError, match="is for folders of your own"):
            opened(source)


def test_freedoom_that_is_not_installed_is_a_user_error(tmp_path, monkeypatch):
    monkeypatch.setattr(wad, "INSTALLED_FOLDER", tmp_path)
    with pytest.raises(UserError, match="Freedoom is not installed"):
        _open("freedoom", tmp_path / "tfds")
    assert not (tmp_path / "tfds").exists()


def test_folk_gives_padded_windows_of_two_bars(books, tmp_path):
    collection = _open("folk", tmp_path)
    assert collection.name == "folk/mel_2bar/1.2.0"
    for name in building.SPLITS:
        split = collection.split(name)
        assert split.events.dtype == np.uint8
        assert split.events.shape == (len(split), 32)
        assert len(split) > 0
        assert split.lengths.dtype == np.int32
        assert set(split.lengths) == {32}
        assert len(split.pieces) == len(split)
        assert not split.events[:, 0].tolist().count(1)  # a window starts with no note off


def key_of_window(events: bytes) -> bytes:
    return build_converter(MEL_2BAR).transposition_key(np.frombuffer(events, np.uint8))


def test_splits_share_no_window_in_any_key(books, tmp_path):
    rows = _rows(_open("folk", tmp_path))
    keys = {name: {key_of_window(events) for events, _ in split} for name, split in rows.items()}
    for one, other in itertools.combinations(building.SPLITS, 2):
        assert not keys[one] & keys[other]
    for split in rows.values():
        assert len({events for events, _ in split}) == len(split)


def test_second_opening_reuses_the_data_and_the_report(books, tmp_path, monkeypatch):
    first = _open("folk", tmp_path)
    monkeypatch.setattr(building, "build", None)  # a second build would fail
    second = _open("folk", tmp_path)
    assert _rows(second) == _rows(first)
    assert second.report.to_json() == first.report.to_json()
    assert second.report.kept["windows"] >= sum(second.sizes.values())
    assert second.converter == building.converter_json(MEL_2BAR)


def test_restricted_collections_are_kept_apart(books, tmp_path):
    plain = {piece for split in _rows(_open("folk", tmp_path)).values() for _, piece in split}
    kids = {piece for split in _rows(_open("folk:kids", tmp_path)).values() for _, piece in split}
    assert all("kinder0.abc" in piece for piece in kids)
    assert not any("kinder0" in piece or "han1" in piece for piece in plain)
    with pytest.raises(UserError, match=r"folk collection 'kidz'.*kids"):
        _open("folk:kidz", tmp_path)


def test_another_converter_gets_its_own_data_set(books, tmp_path):
    usual = _open("folk", tmp_path)
    longer = _open("folk", tmp_path, MelodyConverterConfig(bars=4))
    assert longer.name != usual.name
    assert longer.split("train").events.shape[1] == 64
    assert _rows(_open("folk", tmp_path)) == _rows(usual)


def test_whole_melodies_are_padded_and_keep_their_lengths(books, tmp_path):
    converter = MelodyConverterConfig(bars=0, programs=(0, 31), end_token=True)
    collection = _open("folk", tmp_path, converter)
    split = collection.split("train")
    assert split.events.shape[1] == split.lengths.max()
    assert len(set(split.lengths)) >= 1
    for row, length in zip(split.events, split.lengths, strict=True):
        assert row[length - 1] == 90  # the end id
        assert not row[length:].any()


ANY_LENGTH = {"mel_whole", "event_melody", *PERFORMANCE_ENCODINGS}


@pytest.mark.parametrize("name", sorted(NOTE_ENCODINGS.keys() - ANY_LENGTH))
def test_every_encoding_is_stored_as_it_was_encoded(name, bands, tmp_path):
    config = NOTE_ENCODINGS[name]
    converter = build_converter(config)
    collection = _open(bands, tmp_path, config)
    assert collection.name.startswith(f"midi_dir/{name}-")
    windows = building.build(*listing.list_sources(bands), config)
    for split, kept in windows.splits.items():
        examples = collection.split(split)
        assert len(examples) == len(kept) > 0
        assert examples.events.dtype == converter.event_format.event_dtype
        shape = converter.window_steps, *converter.event_format.event_shape
        assert examples.events.shape == (len(kept), *shape)
        assert set(examples.lengths) == {converter.window_steps}
        controls = examples.controls
        assert (controls is None) == (not name.endswith("_chords"))
        if controls is None:
            controls = np.zeros((len(kept), 0), np.uint8)
        else:
            assert controls.dtype == np.uint8
            assert controls.shape == (len(kept), converter.window_steps)
            assert controls.any()
        stored = [
            (events.tobytes(), chords.tobytes(), piece)
            for events, chords, piece in zip(
                examples.events, controls, examples.pieces, strict=True
            )
        ]
        assert sorted(stored) == sorted((w.events, w.controls, w.piece) for w in kept)


@pytest.mark.parametrize("name", ["trio_16bar", "mel_2bar_chords"])
def test_empty_split_has_the_shape_of_the_others(name, bands, tmp_path):
    collection = _open(bands / "0.mid", tmp_path, NOTE_ENCODINGS[name])
    full, empty = collection.split("train"), collection.split("test")
    assert len(full) > 0
    assert len(empty) == 0
    assert empty.events.shape[2:] == full.events.shape[2:]
    assert empty.events.dtype == full.events.dtype
    assert (empty.controls is None) == (full.controls is None)


def test_folder_with_bad_files_uses_the_good_ones(folder, tmp_path):
    collection = _open(folder, tmp_path / "tfds")
    rows = _rows(collection)
    pieces = {piece for split in rows.values() for _, piece in split}
    assert {Path(piece.split("#")[0]).suffix for piece in pieces} >= {".mid", ".abc"}
    assert any("more.zip" in piece for piece in pieces)
    table = collection.report.table()
    assert "truncated.mid" in table
    assert "empty.mid" in table


def test_home_folder_can_be_written_with_a_tilde(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    collection = _open("~/music", "~/data")
    assert len(collection.split("train")) > 0
    assert collection.folder.is_relative_to(tmp_path / "data")


def test_single_file_is_a_collection_without_held_out_splits(tmp_path):
    collection = _open(FOLDER / "a.mid", tmp_path)
    assert len(collection.split("train")) > 0
    assert len(collection.split("test")) == len(collection.split("validation")) == 0
    assert "Nothing is held out" in summaries.summary(collection.sizes, collection.report)


def test_junk_folder_is_a_user_error_with_the_report(tmp_path):
    junk = tmp_path / "junk"
    junk.mkdir()
    (junk / "a.mid").write_bytes(b"MThd broken")
    (junk / "b.txt").write_text("no music")
    with pytest.raises(UserError, match=r"(?s)nothing to train on.*0 of 1 file is used.*a\.mid"):
        _open(junk, tmp_path / "tfds")
    assert not list((tmp_path / "tfds").rglob("dataset_info.json"))


@pytest.mark.parametrize("source", ["no/such/folder", "~/no_such_folder"])
def test_missing_folder_is_a_user_error(source, tmp_path):
    with pytest.raises(UserError, match=r"no folder or file .*no.such.folder"):
        _open(source, tmp_path)


def test_changed_folder_is_built_anew_and_unchanged_one_is_not(folder, tmp_path):
    first = _open(folder, tmp_path / "tfds")
    assert _open(folder, tmp_path / "tfds").folder == first.folder
    shutil.copy(folder / "b.midi", folder / "sub" / "another.mid")
    (folder / "a.mid").unlink()
    second = _open(folder, tmp_path / "tfds")
    assert second.folder != first.folder
    os.utime(folder / "b.midi", (1, 1))
    assert _open(folder, tmp_path / "tfds").folder == second.folder
    renamed = folder.rename(tmp_path / "renamed")
    assert _open(renamed, tmp_path / "tfds").folder == second.folder


KILLED_BUILD = """
import os, signal, sys
from magenta_lite import datasets
from magenta_lite.data import folk
from magenta_lite.config import DataConfig
from magenta_lite.converters.melody import MelodyConverterConfig
from pathlib import Path
from tfds_datasets.collection_builder import CollectionBuilder
folk.corpus_folder = lambda: Path(sys.argv[1])
write_split = CollectionBuilder._write_split
def die(*arguments):
    write_split(*arguments)  # the first split is on disk
    os.kill(os.getpid(), signal.SIGKILL)
CollectionBuilder._write_split = die
converter = MelodyConverterConfig(bars=2, programs=(0, 31))
datasets.open_collection(DataConfig(source="folk"), converter, sys.argv[2])
"""


def test_killed_build_leaves_nothing_that_counts_as_whole(books, tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", KILLED_BUILD, folk.corpus_folder(), tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.returncode == -9, result.stderr
    assert list(tmp_path.rglob("*tfrecord*")), "the build was killed before it wrote anything"
    collection = _open("folk", tmp_path)
    assert all(len(collection.split(name)) > 0 for name in building.SPLITS)
    assert _rows(collection) == _rows(_open("folk", tmp_path / "undisturbed"))


def test_data_set_that_lost_its_description_is_not_read_as_empty(books, tmp_path):
    (_open("folk", tmp_path).folder / "dataset_info.json").unlink()
    with pytest.raises(UserError, match="not a whole data set; delete it"):
        _open("folk", tmp_path)


def test_build_that_another_process_finished_first_is_used(books, tmp_path, monkeypatch):
    from tfds_datasets.folk.folk_dataset_builder import Builder

    build = Builder.download_and_prepare

    def beaten(self, **kwargs):
        build(Builder(data_dir=tmp_path, config=self.builder_config.name))
        raise OSError("directory not empty")

    monkeypatch.setattr(Builder, "download_and_prepare", beaten)
    assert len(_open("folk", tmp_path).split("train")) > 0


def test_unwritable_data_dir_is_a_user_error(books, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--data_dir"):
        _open("folk", tmp_path / "file")


def test_tfds_name_opens_our_builders_and_checks_the_converter(books, tmp_path):
    usual = _open("folk", tmp_path)
    assert _rows(_open("tfds:folk/mel_2bar", tmp_path)) == _rows(usual)
    with pytest.raises(UserError, match=r"converter\.bars is 2 there and 4 here"):
        _open("tfds:folk/mel_2bar", tmp_path, MelodyConverterConfig(bars=4, programs=(0, 31)))


def test_tfds_data_set_of_another_kind_of_converter_is_a_user_error(books, tmp_path):
    with pytest.raises(UserError, match=r"converter\.kind is melody there and drums here"):
        _open("tfds:folk/mel_2bar", tmp_path, DrumsConverterConfig())
    assert not list(tmp_path.iterdir())  # and was not built for that


def test_tfds_name_that_does_not_exist_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="tfds:no_such_set cannot be opened"):
        _open("tfds:no_such_set", tmp_path)
    with pytest.raises(UserError, match="tfds:folk/mel_3bar cannot be opened"):
        _open("tfds:folk/mel_3bar", tmp_path)
    with pytest.raises(UserError, match="tfds:midi_dir/mel_2bar cannot be opened: Manual dir"):
        _open("tfds:midi_dir/mel_2bar", tmp_path)


def test_tfds_data_set_without_events_is_a_user_error(tmp_path):
    words = r"no feature 'events' of shape \(T\) and type uint8 but image, label"
    with pytest.raises(UserError, match=words):
        _open("tfds:mnist", tmp_path)
    words = r"no feature 'events' of shape \(T, 9\) and type uint8"
    with pytest.raises(UserError, match=words):
        _open("tfds:mnist", tmp_path, DrumsConverterConfig(roll=True))
    assert not list(tmp_path.iterdir())


def test_unknown_split_names_the_known_ones(books, tmp_path):
    with pytest.raises(UserError, match="Did you mean train"):
        _open("folk", tmp_path).split("trian")

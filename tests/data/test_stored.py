"""Built data sets as they are listed and removed, and what a run finds of data that moved."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from bad_files import write_good_files

from magenta_lite.config import DataConfig
from magenta_lite.converters.melody import MelodyConverterConfig
from magenta_lite.data import building, folk, naming, progress, stored
from magenta_lite.datasets import data_set_name, open_collection
from magenta_lite.errors import UserError

MEL_2BAR = MelodyConverterConfig(bars=2, programs=(0, 31))

# The command, in a process where TensorFlow cannot be imported.
COMMAND = (
    "import sys; sys.modules['tensorflow'] = None; sys.modules['tensorflow_datasets'] = None;"
    "import runpy; runpy.run_module('magenta_lite.data', run_name='__main__')"
)


@pytest.fixture
def music(tmp_path):
    """A folder of six melodies."""
    write_good_files(tmp_path / "music", 6)
    return tmp_path / "music"


def _open(source, data_dir, built=""):
    return open_collection(DataConfig(source=str(source)), MEL_2BAR, str(data_dir), built)


def _data(*arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_a_data_set_is_listed_with_its_folder_size_and_dates(music, tmp_path):
    collection = _open(music, tmp_path / "tfds")
    (data,) = stored.list_stored(str(tmp_path / "tfds"))
    assert collection.name.startswith(data.name + "/")
    assert (data.source, data.converter, data.sizes) == (str(music), "melody", collection.sizes)
    assert data.size >= sum(f.stat().st_size for f in collection.folder.glob("*tfrecord*")) > 0
    assert data.built.date() == data.used.date()
    listed = _data("list", f"--data_dir={tmp_path / 'tfds'}")
    assert listed.returncode == 0, listed.stderr
    for words in (data.name, f"of {music}", "train", "MB, built"):
        assert words in listed.stdout


def test_what_is_removed_is_named_and_built_again_when_needed(music, tmp_path):
    name = _open(music, tmp_path / "tfds").name.rpartition("/")[0]
    (tmp_path / "tfds" / "mnist" / "3.0.1").mkdir(parents=True)  # not ours
    removed = _data("remove", name, f"--data_dir={tmp_path / 'tfds'}")
    assert removed.returncode == 0, removed.stderr
    assert name in removed.stdout
    assert str(music) in removed.stdout
    assert (tmp_path / "tfds" / "mnist" / "3.0.1").is_dir()
    assert not (tmp_path / "tfds" / "midi_dir").exists()
    assert len(_open(music, tmp_path / "tfds").split("train")) > 0


def test_encoded_files_are_listed_and_removed_with_the_last_data_set(music, tmp_path):
    one = _open(music, tmp_path / "tfds").name.rpartition("/")[0]
    write_good_files(music, 7)
    other = _open(music, tmp_path / "tfds").name.rpartition("/")[0]
    (cache,) = (tmp_path / "tfds" / "midi_dir" / ".files").iterdir()
    size = sum(path.stat().st_size for path in cache.iterdir())
    files = {data.name: data.files for data in stored.list_stored(str(tmp_path / "tfds"))}
    assert files == {one: 0, other: size}
    list(stored.remove([other], str(tmp_path / "tfds")))
    (left,) = stored.list_stored(str(tmp_path / "tfds"))
    assert (left.name, left.files) == (one, size)
    assert "of encoded files" in _data("list", f"--data_dir={tmp_path / 'tfds'}").stdout
    list(stored.remove([one], str(tmp_path / "tfds")))
    assert not (tmp_path / "tfds" / "midi_dir").exists()


def test_encoded_files_of_the_package_do_not_stay(tmp_path, monkeypatch):
    dummy = Path(__file__).parents[2] / "tfds_datasets" / "folk" / "dummy_data"
    monkeypatch.setattr(folk, "corpus_folder", lambda: dummy)
    _open("folk", tmp_path)
    assert not list((tmp_path / "folk" / ".files").iterdir())
    (data,) = stored.list_stored(str(tmp_path))
    assert data.files == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["remove", "midi_dir/mel_3bar"], "There is no built data set midi_dir/mel_3bar"),
        (["remove", "../music"], "There is no built data set ../music"),
        (["remove", "mnist/3.0.1"], "There is no built data set mnist/3.0.1"),
        (["remove"], "needs the name"),
        (["delete", "x"], "delete is not a command"),
        ([], "list, remove NAME, or build FOLDER"),
        (["list", "x"], "list takes no names"),
    ],
)
def test_what_is_not_there_or_not_ours_is_not_removed(music, tmp_path, words, told):
    (tmp_path / "tfds" / "mnist" / "3.0.1").mkdir(parents=True)
    done = _data(*words, f"--data_dir={tmp_path / 'tfds'}")
    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert music.is_dir()
    assert (tmp_path / "tfds" / "mnist" / "3.0.1").is_dir()


def test_one_wrong_name_leaves_all_where_they_are(music, tmp_path):
    name = _open(music, tmp_path / "tfds").name.rpartition("/")[0]
    with pytest.raises(UserError, match="no built data set"):
        list(stored.remove([name, "midi_dir/other"], str(tmp_path / "tfds")))
    assert len(stored.list_stored(str(tmp_path / "tfds"))) == 1


def test_a_build_that_was_killed_is_listed_as_unfinished(tmp_path):
    (tmp_path / "midi_dir" / "mel_2bar-0" / "incomplete.ABC_1.0.0").mkdir(parents=True)
    listed = _data("list", f"--data_dir={tmp_path}")
    assert "midi_dir/mel_2bar-0\n" in listed.stdout
    assert "not finished" in listed.stdout


def test_no_data_set_is_said_so(tmp_path):
    assert "No data set is built" in _data("list", f"--data_dir={tmp_path}").stdout


def test_a_moved_folder_is_the_data_set_it_was_and_is_listed_where_it_is(
    music, tmp_path, monkeypatch
):
    first = _open(music, tmp_path / "tfds")
    moved = music.rename(tmp_path / "moved")
    monkeypatch.setattr(building, "build", None)  # a second build would fail
    assert _open(moved, tmp_path / "tfds").folder == first.folder
    (data,) = stored.list_stored(str(tmp_path / "tfds"))
    assert data.source == str(moved)


def test_of_a_folder_that_is_gone_the_built_data_set_is_used(music, tmp_path, capsys):
    first = _open(music, tmp_path / "tfds")
    expected = first.split("train").events.tolist()
    music.rename(tmp_path / "elsewhere")
    again = _open(music, tmp_path / "tfds", built=first.name)
    assert again.split("train").events.tolist() == expected
    assert again.sizes == first.sizes
    assert "is gone" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"music is gone, and so is the data set .*--data=FOLDER"):
        _open(music, tmp_path / "other", built=first.name)


def test_sources_with_a_path_become_absolute_and_others_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    absolute = naming.absolute_source
    assert absolute("my music") == f"{tmp_path}/my music"
    assert absolute("~/music") == "/home/me/music"
    assert absolute("groove_midi:groove.zip") == f"groove_midi:{tmp_path}/groove.zip"
    for same in ("folk", "folk:kids", "groove_midi", "tfds:folk/mel_2bar", "/a/b", ""):
        assert absolute(same) == same


def test_the_name_of_a_data_set_is_known_before_it_is_built(music, tmp_path):
    from magenta_lite.config import get_config

    config = get_config("cat-mel_2bar", [f"data.source={music}"])
    name = data_set_name(config, None, str(tmp_path))
    assert not (tmp_path / "midi_dir").exists()
    assert _open(music, tmp_path).name == name
    gone = dataclasses.replace(config, data=DataConfig(source=str(tmp_path / "nowhere")))
    assert data_set_name(gone, None, str(tmp_path), built=name) == name


def test_a_folder_with_the_name_of_a_collection_is_mentioned(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    naming.mention_folder.cache_clear()
    naming.list_source("folk")
    assert "./folk" not in capsys.readouterr().err
    write_good_files(Path("folk"), 1)
    naming.mention_folder.cache_clear()
    sources, _ = naming.list_source("folk")
    assert len(sources) > 1000
    assert "--data=./folk" in capsys.readouterr().err
    sources, _ = naming.list_source("./folk")
    assert [source.name for source in sources] == ["good_000.mid"]


def test_use_of_a_data_set_that_cannot_be_written_to_is_no_error(tmp_path):
    stored.note_use(tmp_path / "not there", "folk")
    stored.note_use(tmp_path, "folk")
    assert json.loads((tmp_path / stored.USED).read_text())["source"] == "folk"


def test_two_builds_at_once_give_one_data_set(music, tmp_path, monkeypatch, capsys):
    """The second one waits for the first, and removes nothing of it."""
    builds, build, say = [], building.build, progress.say
    other_waits = threading.Event()

    def slow_build(*arguments):
        builds.append(threading.current_thread())
        assert other_waits.wait(60)
        return build(*arguments)

    def heard(text):
        say(text)
        if text.startswith("Waiting"):
            other_waits.set()

    monkeypatch.setattr(building, "build", slow_build)
    monkeypatch.setattr(progress, "say", heard)
    opened = []
    threads = [
        threading.Thread(target=lambda: opened.append(_open(music, tmp_path / "tfds")))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1
    assert [collection.sizes for collection in opened] == 2 * [opened[0].sizes]
    assert f"Waiting for process {os.getpid()}, which builds" in capsys.readouterr().err


def test_the_rest_of_a_killed_build_is_removed(music, tmp_path):
    folder = _open(music, tmp_path / "tfds").folder
    shutil.rmtree(folder)
    left = folder.with_name(f"incomplete.ABCDEF_{folder.name}")
    left.mkdir()
    (left / "x.tfrecord").touch()
    (other := folder.with_name("incomplete.ABCDEF_0.0.1")).mkdir()  # maybe of a running process
    assert _open(music, tmp_path / "tfds").folder == folder
    assert {path.name for path in folder.parent.iterdir()} == {folder.name, other.name}

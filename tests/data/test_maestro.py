"""MAESTRO: what is listed, its official splits, and how it is opened."""

from __future__ import annotations

import collections
import shutil
import zipfile
from pathlib import Path

import pytest

from magenta_lite.config import DataConfig
from magenta_lite.converters.performance import PerformanceConverter, PerformanceConverterConfig
from magenta_lite.data import building, maestro
from magenta_lite.data.naming import list_source
from magenta_lite.datasets import open_collection
from magenta_lite.errors import UserError

DUMMY = Path(__file__).parents[2] / "tfds_datasets" / "maestro_midi" / "dummy_data"
TABLE = "maestro-v3.0.0.csv"
CONFIG = PerformanceConverterConfig()


@pytest.fixture
def copy(tmp_path):
    """A copy of the dummy performances that a test may spoil."""
    return Path(shutil.copytree(DUMMY / "maestro-v3.0.0", tmp_path / "copy"))


@pytest.fixture
def archive(tmp_path):
    """The same as a zip file with the layout of the published one."""
    path = tmp_path / "maestro-v3.0.0-midi.zip"
    with zipfile.ZipFile(path, "w") as file:
        for member in sorted(DUMMY.rglob("*.*")):
            file.write(member, member.relative_to(DUMMY).as_posix())
    return path


def opened(source, data_dir):
    return open_collection(DataConfig(source=source), CONFIG, str(data_dir))


def test_a_zip_lists_the_same_performances_as_a_folder(copy, archive):
    def listed(path):
        sources, report = maestro.list_performances(str(path))
        assert not report.dropped
        return [(source.name, source.split, source.read_bytes()) for source in sources]

    assert listed(archive) == listed(copy) == listed(copy.parent)
    splits = collections.Counter(split for _, split, _ in listed(copy))
    assert splits == {"train": 3, "validation": 1, "test": 2}


def test_performances_that_are_missing_or_not_listed_cost_only_themselves(copy):
    (copy / "2004" / "MIDI-Dummy_01.midi").rename(copy / "2004" / "new.midi")
    sources, report = maestro.list_performances(copy)
    assert len(sources) == 5
    assert report.dropped == {f"listed in {TABLE} but missing": 1, f"not listed in {TABLE}": 1}
    assert report.places[f"not listed in {TABLE}"] == ["2004/new.midi"]


def test_an_unknown_split_is_a_user_error_that_names_it(copy):
    table = copy / TABLE
    table.write_text(table.read_text().replace(",validation,", ",valid,"))
    words = r"puts 2011/MIDI-Dummy_04\.midi into the split 'valid', which is none of train"
    with pytest.raises(UserError, match=words):
        maestro.list_performances(copy)


def test_what_is_not_the_data_set_is_a_user_error(copy):
    (copy / TABLE).write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="lacks the columns midi_filename and split"):
        maestro.list_performances(copy)
    (copy / TABLE).unlink()
    with pytest.raises(UserError, match=rf"no {TABLE}, so it is not the MAESTRO.*--data=PATH"):
        maestro.list_performances(copy)
    with pytest.raises(UserError, match=r"no file or folder .*nowhere"):
        maestro.list_performances(copy / "nowhere")
    with pytest.raises(UserError, match=r"midi\.zip and give its path: maestro_midi:PATH"):
        list_source("maestro_midi")


def test_pedal_and_velocities_are_read_and_splits_are_the_official_ones(archive, tmp_path):
    sources, _ = list_source(f"maestro_midi:{archive}")
    split_of = {source.name: source.split for source in sources}
    (piece,), _ = sources[0].read()
    assert {change.control_number for change in piece.sequence.control_changes} == {64}
    assert len({note.velocity for note in piece.sequence.notes}) > 10
    collection = opened(f"maestro_midi:{archive}", tmp_path / "data")
    assert collection.name.startswith("maestro_midi/performance-")
    for name in building.SPLITS:
        assert {split_of[piece] for piece in collection.split(name).pieces} == {name}
    row = collection.split("train").events[0]
    assert len(PerformanceConverter(CONFIG).decode(row).notes) == len(piece.sequence.notes)


def test_bare_name_downloads_the_published_file(archive, tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    from tfds_datasets.maestro_midi.maestro_midi_dataset_builder import Builder

    asked = []
    monkeypatch.setattr(
        tfds.download.DownloadManager, "download", lambda self, url: asked.append(url) or archive
    )
    assert opened("maestro_midi", tmp_path / "data").name == "maestro_midi/performance/1.0.0"
    assert asked == [maestro.URL]
    info = Builder.url_infos[maestro.URL]
    assert info.size == 58_416_533
    assert info.checksum.startswith("70470ee253295c8d")

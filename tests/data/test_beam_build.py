"""The builders on Apache Beam, and the `tfds build` command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow_datasets as tfds
from bad_files import write_good_files
from processes import run

from magenta_lite.converters.groove import GrooveConverterConfig
from magenta_lite.data import building
from magenta_lite.data.collections import Collection
from magenta_lite.errors import UserError
from tfds_datasets import collection_builder
from tfds_datasets.audio_dir import audio_dir_dataset_builder
from tfds_datasets.folk import folk_dataset_builder
from tfds_datasets.groove_midi import groove_midi_dataset_builder
from tfds_datasets.midi_dir import midi_dir_dataset_builder

beam = pytest.importorskip("apache_beam")
beam_pipeline = pytest.importorskip("tfds_datasets.beam_pipeline")

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tfds_datasets" / "midi_dir" / "dummy_data"


def _beam_config(**kwargs):
    # DirectRunner would first try to download another one.
    options = beam.options.pipeline_options.PipelineOptions(["--runner=FnApiRunner"])
    return tfds.download.DownloadConfig(beam_options=options, **kwargs)


def _rows(builder):
    collection = Collection(builder)
    return {
        name: [
            (row.tobytes(), piece) for row, piece in zip(split.events, split.pieces, strict=True)
        ]
        for name in building.SPLITS
        for split in [collection.split(name)]
    }


def _built(builder_class, data_dir, config, **download):
    builder = builder_class(data_dir=data_dir, config=config)
    builder.download_and_prepare(**download)
    return builder


def _assert_same(on_beam, plain):
    files = [sorted(path.name for path in Path(b.data_dir).iterdir()) for b in (on_beam, plain)]
    assert files[0] == files[1]
    assert _rows(on_beam) == _rows(plain)
    assert on_beam.sizes == plain.sizes
    assert on_beam.info.metadata == plain.info.metadata  # the report, and facts of the pieces


def test_direct_runner_writes_exactly_what_one_process_writes(folk_dummy, tmp_path, monkeypatch):
    plain = _built(folk_dataset_builder.Builder, tmp_path / "plain", "mel_2bar")
    monkeypatch.setattr(building, "build", None)  # the plain way is closed
    on_beam = _built(
        folk_dataset_builder.Builder, tmp_path / "beam", "mel_2bar", download_config=_beam_config()
    )
    _assert_same(on_beam, plain)


def test_direct_runner_keeps_the_splits_that_a_data_set_gives(grooves, tmp_path):
    builder_class = groove_midi_dataset_builder.Builder
    config = builder_class.config_for(str(grooves), GrooveConverterConfig())
    plain = _built(builder_class, tmp_path / "plain", config)
    on_beam = _built(builder_class, tmp_path / "beam", config, download_config=_beam_config())
    _assert_same(on_beam, plain)
    assert all(_rows(plain).values())


@pytest.mark.parametrize("encoding", ["mel_2bar", "mono_16khz"])
def test_a_split_without_windows_stays_empty_on_beam(encoding, tmp_path):
    music = tmp_path / "music"
    if encoding == "mel_2bar":
        builder_class = midi_dir_dataset_builder.Builder
        write_good_files(music, 2)
    else:
        builder_class = audio_dir_dataset_builder.Builder
        shutil.copytree(ROOT / "tfds_datasets" / "audio_dir" / "dummy_data", music)
    config = builder_class.config_for(str(music), builder_class.SPEC.encodings[encoding])
    plain = _built(builder_class, tmp_path / "plain", config)
    on_beam = _built(builder_class, tmp_path / "beam", config, download_config=_beam_config())
    assert len(plain.sizes) < len(building.SPLITS)
    _assert_same(on_beam, plain)


def test_files_of_an_archive_are_read_by_several_workers(tmp_path, monkeypatch):
    write_good_files(tmp_path / "music", 6)
    archive = shutil.make_archive(str(tmp_path / "music"), "gztar", tmp_path / "music")
    builder_class = midi_dir_dataset_builder.Builder
    config = builder_class.config_for(archive, builder_class.SPEC.encodings["mel_2bar"])
    plain = _built(builder_class, tmp_path / "plain", config)
    monkeypatch.setattr(beam_pipeline, "ARCHIVE_SHARES", 4)
    on_beam = _built(builder_class, tmp_path / "beam", config, download_config=_beam_config())
    assert on_beam.sizes["train"]
    _assert_same(on_beam, plain)


def test_beam_says_why_nothing_is_left_to_train_on(tmp_path, monkeypatch, capsys):
    junk = tmp_path / "junk"
    junk.mkdir()
    (junk / "broken.mid").write_bytes(b"MThd broken")
    builder = midi_dir_dataset_builder.Builder(data_dir=tmp_path / "tfds", config="mel_2bar")
    with pytest.raises(UserError, match=r"(?s)nothing to train on.*broken\.mid") as raised:
        builder.download_and_prepare(download_config=_beam_config(manual_dir=junk))
    assert raised.value.__context__ is None
    assert not builder.is_prepared()
    assert not list((tmp_path / "tfds" / "midi_dir" / "mel_2bar").iterdir())
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "argv", ["/usr/bin/tfds", "build"])
    with pytest.raises(UserError):
        builder.download_and_prepare(download_config=_beam_config(manual_dir=junk))
    capsys.readouterr()
    sys.excepthook(raised.type, raised.value, raised.tb)
    assert capsys.readouterr().err == f"Error: {raised.value}\n"


def test_a_pipeline_that_fails_leaves_nothing_and_says_what_to_do(
    folk_dummy, tmp_path, monkeypatch
):
    def fail(*_):
        raise OSError("full disk")

    monkeypatch.setattr(collection_builder, "_write_found", fail)
    builder = folk_dataset_builder.Builder(data_dir=tmp_path, config="mel_2bar")
    with pytest.raises(OSError, match="full disk") as raised:
        builder.download_and_prepare(download_config=_beam_config())
    assert raised.value.__notes__ == [
        f"Nothing of {builder.info.full_name} is stored; build it again without the cause"
    ]
    assert not builder.is_prepared()
    assert not list((tmp_path / "folk" / "mel_2bar").iterdir())


def test_plain_build_imports_no_beam(tmp_path):
    program = tmp_path / "build.py"
    program.write_text(
        "import sys\n"
        "from magenta_lite.config import DataConfig\n"
        "from magenta_lite.datasets import open_collection\n"
        "from magenta_lite.converters.melody import MelodyConverterConfig\n"
        "sys.modules['apache_beam'] = None\n"
        f"open_collection(DataConfig(source={str(FOLDER)!r}), MelodyConverterConfig(bars=2),"
        f" {str(tmp_path)!r})\n"
    )
    code, out, error = run(program, cwd=ROOT)
    assert code == 0, out + error


@pytest.mark.parametrize("options", [[], ["--beam_pipeline_options=runner=DirectRunner"]])
def test_tfds_build_works_inside_the_folder(options, tmp_path):
    music = shutil.copytree(FOLDER, tmp_path / "music")
    write_good_files(Path(music), 6)  # with as many pieces every split has windows of its own
    command = [
        Path(sys.executable).parent / "tfds",
        "build",
        "--config=mel_2bar",
        f"--manual_dir={music}",
        f"--data_dir={tmp_path / 'data'}",
        *options,
    ]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        command,
        cwd=ROOT / "tfds_datasets" / "midi_dir",
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert "different windows" in result.stderr
    builder = midi_dir_dataset_builder.Builder(data_dir=tmp_path / "data", config="mel_2bar")
    assert builder.is_prepared()
    assert all(_rows(builder).values())

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
from tfds_datasets.folk import folk_dataset_builder
from tfds_datasets.groove_midi import groove_midi_dataset_builder
from tfds_datasets.midi_dir import midi_dir_dataset_builder

beam = pytest.importorskip("apache_beam")

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tfds_datasets" / "midi_dir" / "dummy_data"


def _beam_config(**kwargs):
    options = beam.options.pipeline_options.PipelineOptions(["--runner=DirectRunner"])
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


def test_direct_runner_writes_exactly_what_one_process_writes(folk_dummy, tmp_path, monkeypatch):
    plain = folk_dataset_builder.Builder(data_dir=tmp_path / "plain", config="mel_2bar")
    plain.download_and_prepare()
    monkeypatch.setattr(building, "build", None)  # the plain way is closed
    on_beam = folk_dataset_builder.Builder(data_dir=tmp_path / "beam", config="mel_2bar")
    on_beam.download_and_prepare(download_config=_beam_config())
    assert _rows(on_beam) == _rows(plain)
    assert on_beam.report.kept == plain.report.kept
    assert on_beam.report.dropped == plain.report.dropped
    assert on_beam.info.metadata["converter"] == plain.info.metadata["converter"]


def test_direct_runner_keeps_the_splits_that_a_data_set_gives(grooves, tmp_path):
    config = groove_midi_dataset_builder.Builder.config_for(str(grooves), GrooveConverterConfig())
    plain = groove_midi_dataset_builder.Builder(data_dir=tmp_path / "plain", config=config)
    plain.download_and_prepare()
    on_beam = groove_midi_dataset_builder.Builder(data_dir=tmp_path / "beam", config=config)
    on_beam.download_and_prepare(download_config=_beam_config())
    assert _rows(on_beam) == _rows(plain)
    assert all(_rows(plain).values())
    assert on_beam.report.dropped == plain.report.dropped


def test_beam_says_why_nothing_is_left_to_train_on(tmp_path):
    junk = tmp_path / "junk"
    junk.mkdir()
    (junk / "broken.mid").write_bytes(b"MThd broken")
    builder = midi_dir_dataset_builder.Builder(data_dir=tmp_path / "tfds", config="mel_2bar")
    with pytest.raises(Exception, match=r"(?s)nothing to train on.*broken\.mid"):
        builder.download_and_prepare(download_config=_beam_config(manual_dir=junk))
    assert not builder.is_prepared()


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

"""Folders of sound as built collections: splits, whole pieces, labels, and folders of notes."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from magenta_lite.config import DataConfig
from magenta_lite.converters.audio import Audio, AudioConverterConfig, pieces, to_int16
from magenta_lite.converters.melody import MelodyConverterConfig
from magenta_lite.data import building, summaries
from magenta_lite.data.audio import list_sounds, read_audio, write_audio
from magenta_lite.data.naming import list_source
from magenta_lite.datasets import open_collection
from magenta_lite.errors import UserError

ROOT = Path(__file__).parents[2]
DUMMY = ROOT / "tfds_datasets" / "audio_dir" / "dummy_data"
NOTES = ROOT / "tfds_datasets" / "midi_dir" / "dummy_data"
CONFIG = AudioConverterConfig(sample_rate=8000, crop=1000)


def _open(source, data_dir, converter=CONFIG):
    return open_collection(DataConfig(source=str(source)), converter, str(data_dir))


def _loops(folder: Path) -> None:
    """Writes pieces of different lengths that repeat one clip, so that many rows are the same."""
    for i in range(24):
        clip = np.random.default_rng(i).uniform(-0.5, 0.5, 1000)
        samples = np.tile(clip, 8)[: 3000 + 450 * (i % 12)]
        write_audio(folder / f"{i}.flac", Audio(np.float32(samples[:, None]), 8000))
    (folder / "copies").mkdir()
    for i in (13, 15):  # by its name one falls into the split of the first, one does not
        shutil.copy(folder / f"{i}.flac", folder / "copies")


@pytest.fixture(scope="module")
def loops(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loops")
    _loops(folder)
    return folder


@pytest.fixture(scope="module")
def built(loops, tmp_path_factory):
    return _open(loops, tmp_path_factory.mktemp("tfds"))


def test_pieces_are_whole_in_one_split_each_and_copies_are_gone(loops, built):
    found = {}
    for split in building.SPLITS:
        for name, samples in pieces(built.split(split)):
            assert name not in found
            found[name] = samples
            heard = to_int16(read_audio(loops / name, 8000).samples)[0]
            np.testing.assert_array_equal(samples, heard)
            assert built.facts[name]["samples"] == len(heard)
    kept = {Path(name).name for name in found}
    assert len(found) == len(kept) == 24
    # A copy falls into the split of what it is a copy of, though its name alone would not.
    assert built.report.dropped == {"same window again in the split": 7}
    assert built.report.files.dropped == {building.SAME_MUSIC: 2}


def test_rows_are_clips_of_their_piece(built):
    train = built.split("train")
    assert train.events.dtype == np.int16
    assert train.events.shape == (len(train), 2000, 1)
    assert train.positions.shape == (len(train), 2)
    whole = dict(pieces(train))
    for row, length, name, (start, total) in zip(
        train.events, train.lengths, train.pieces, train.positions, strict=True
    ):
        assert 1000 <= length <= 2000
        assert total == len(whole[name])
        np.testing.assert_array_equal(row[:length], whole[name][start : start + length])


def test_dummy_folder_has_its_counts_and_labels():
    windows = building.build(*list_sounds(DUMMY), AudioConverterConfig())
    assert sum(windows.sizes.values()) == 8
    reasons = {
        "sound shorter than 0.512 s": ["short.wav"],
        "silent sound (no sample above -60 dB of full scale)": ["silent.flac"],
        "truncated: there is less sound than its header says": ["truncated.wav"],
        "the file is empty": ["empty.wav"],
        "cannot be decoded: Format not recognised.": ["text.wav"],
        "not a sound file": ["notes.txt"],
        "labels in labels.csv of what is not there": ["missing.wav"],
        "same window again in the split": ["same_as_a.wav"],
    }
    for reason, places in reasons.items():
        assert windows.report.places.get(reason) == places, windows.report.table()
        assert windows.report.dropped[reason] == 1
    assert windows.facts["b.flac"] == {
        "artist": "Two Tones, Together",
        "genre": "tone",
        "lyrics": "Hum, hum,\nhum again.",
        "samples": 12_800,
    }
    assert windows.facts["sub/c.ogg"]["lyrics"] == "La la"
    assert summaries.hints(windows.report) == [
        "To keep more: --set converter.crop=4096 takes shorter sound, for a model of short clips",
        "To keep more: --set converter.silence=-90 takes quieter sound",
    ]


def test_a_change_of_labels_is_a_new_data_set(tmp_path):
    folder = Path(shutil.copytree(DUMMY, tmp_path / "sound"))
    first = _open(folder, tmp_path / "tfds")
    assert first.facts["a.wav"]["artist"] == "A Tone Generator"
    assert _open(folder, tmp_path / "tfds").name == first.name
    table = (folder / "labels.csv").read_text().replace("A Tone Generator", "Somebody")
    (folder / "labels.csv").write_text(table)
    second = _open(folder, tmp_path / "tfds")
    assert second.name != first.name
    assert second.facts["a.wav"]["artist"] == "Somebody"


def test_folders_named_as_splits_are_taken_as_they_are(loops, tmp_path):
    for i, split in enumerate(["train", "train", "test", "validation"]):
        (tmp_path / split).mkdir(exist_ok=True)
        shutil.copy(loops / f"{i}.flac", tmp_path / split)
    splits = building.build(*list_sounds(tmp_path), CONFIG).splits
    for split, windows in splits.items():
        assert windows
        assert {window.piece.partition("/")[0] for window in windows} == {split}


def test_beam_gives_the_same_rows_and_labels(loops, built, tmp_path):
    beam = pytest.importorskip("apache_beam")
    import tensorflow_datasets as tfds

    from magenta_lite.data.collections import Collection
    from tfds_datasets.audio_dir.audio_dir_dataset_builder import Builder

    builder = Builder(data_dir=tmp_path, config=Builder.config_for(str(loops), CONFIG))
    options = beam.options.pipeline_options.PipelineOptions(["--runner=DirectRunner"])
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(beam_options=options))
    on_beam = Collection(builder)
    assert on_beam.facts == built.facts
    assert on_beam.report.dropped == built.report.dropped
    for split in building.SPLITS:
        ours, theirs = dict(pieces(built.split(split))), dict(pieces(on_beam.split(split)))
        assert {name: x.tobytes() for name, x in ours.items()} == {
            name: x.tobytes() for name, x in theirs.items()
        }


@pytest.mark.parametrize(
    "source, converter, message",
    [
        (NOTES, CONFIG, "holds notes .* but no sound"),
        (DUMMY / "a.wav", MelodyConverterConfig(), "holds sound but no notes"),
        (DUMMY, MelodyConverterConfig(), "holds sound but no notes"),
        ("folk", CONFIG, "folk holds notes, and this .* reads sound.* or rendered_audio"),
        (
            "rendered_audio",
            MelodyConverterConfig(),
            "rendered_audio holds sound, and this .* reads notes",
        ),
        ("rendered_audio:reels", CONFIG, "Unknown collection of sound 'reels'"),
        ("nowhere", CONFIG, "no folder or file"),
    ],
)
def test_notes_for_a_model_of_sound_and_the_reverse_are_refused(
    source, converter, message, tmp_path
):
    with pytest.raises(UserError, match=message) as error:
        _open(source, tmp_path, converter)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=message):
        list_source(str(source), converter)


def test_a_folder_without_usable_sound_says_why(tmp_path):
    (tmp_path / "sound").mkdir()
    shutil.copy(DUMMY / "short.wav", tmp_path / "sound")
    with pytest.raises(UserError, match=r"(?s)nothing to train on.*shorter than.*short\.wav"):
        _open(tmp_path / "sound", tmp_path / "tfds")


CONFIG_FILE = """
from magenta_lite.config import ExperimentConfig, register
from magenta_lite.converters.audio import AudioConverterConfig
from magenta_lite.families.music_vae.config import MusicVAEConfig, VAEObjective

@register("sound")
def sound():
    return ExperimentConfig(AudioConverterConfig(), MusicVAEConfig(), VAEObjective())
"""


def test_inspect_data_tells_what_a_folder_of_sound_gives(tmp_path):
    (tmp_path / "mine.py").write_text(CONFIG_FILE)
    code = (
        "import sys; sys.modules['tensorflow'] = None; import runpy;"
        "runpy.run_module('magenta_lite.inspect_data', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(DUMMY), f"--config={tmp_path / 'mine.py'}:sound"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "8 different windows" in done.stdout
    assert "truncated.wav" in done.stdout
    assert "seconds of sound" in done.stdout


def test_examples_without_positions_need_none():
    """Collections of notes stay as they were."""
    windows = building.build(*list_source(str(NOTES)), MelodyConverterConfig())
    assert windows.facts == {}
    assert all(w.position is None for split in windows.splits.values() for w in split)
    assert dataclasses.is_dataclass(windows)

"""What `python -m magenta_lite.inspect_data` prints and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from magenta_lite.inspect_data import with_data_flag

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tfds_datasets" / "midi_dir" / "dummy_data"
GROOVES = ROOT / "tfds_datasets" / "groove_midi" / "dummy_data" / "groove"

# The command, in a process where TensorFlow cannot be imported.
COMMAND = (
    "import sys; sys.modules['tensorflow'] = None; sys.modules['tensorflow_datasets'] = None;"
    "import runpy; runpy.run_module('magenta_lite.inspect_data', run_name='__main__')"
)


def _inspect(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_folder_is_described_without_tensorflow(tmp_path):
    numbers = tmp_path / "numbers.json"
    result = _inspect(FOLDER, "--config=cat-mel_2bar", f"--json={numbers}")
    assert result.returncode == 0, result.stderr
    assert "different windows" in result.stdout
    assert "truncated.mid" in result.stdout
    assert "To keep more: " in result.stdout  # voice.mid has a program that the config leaves out
    tree = json.loads(numbers.read_text())
    assert sum(tree["splits"].values()) > 10
    assert 60 <= tree["lowest_pitch"] < tree["highest_pitch"] <= 83
    assert tree["encoder"]["bars"] == 2
    assert tree["report"]["kept"]["windows"] >= sum(tree["splits"].values())


def test_set_changes_what_is_kept(tmp_path):
    numbers = tmp_path / "numbers.json"
    result = _inspect(
        "--config=cat-mel_2bar", "--set", "encoder.programs=null", f"--json={numbers}", FOLDER
    )
    assert result.returncode == 0, result.stderr
    assert "To keep more: --set 'encoder.programs" not in result.stdout
    assert json.loads(numbers.read_text())["encoder"]["programs"] is None


def test_drums_have_no_pitches_and_a_named_collection_is_read_by_path(tmp_path):
    numbers = tmp_path / "numbers.json"
    result = _inspect(
        f"--data=groove_midi:{GROOVES}", "--config=cat-drums_2bar", f"--json={numbers}"
    )
    assert result.returncode == 0, result.stderr
    assert "Pitches" not in result.stdout
    tree = json.loads(numbers.read_text())
    assert tree["lowest_pitch"] is None
    assert all(tree["splits"].values())
    assert tree["encoder"]["kind"] == "drums"


def test_folder_with_nothing_usable_ends_with_2_and_the_reasons(tmp_path):
    (tmp_path / "broken.mid").write_bytes(b"MThd")
    result = _inspect(tmp_path, "--config=cat-mel_2bar")
    assert result.returncode == 2
    assert "broken.mid" in result.stdout
    assert "nothing to train on" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["no/such/folder", "--config=cat-mel_2bar"], "no folder or file"),
        ([FOLDER], "--config is missing"),
        ([FOLDER, "--config=cat-mel_2bra"], "Did you mean cat-mel_2bar"),
        (["--data=folk:kidz", "--config=cat-mel_2bar"], "kids"),
        (["--data=tfds:folk", "--config=cat-mel_2bar"], "built already"),
    ],
)
def test_wrong_input_ends_with_2_and_one_line(arguments, words):
    result = _inspect(*arguments)
    assert result.returncode == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_bare_folder_may_stand_first_or_last():
    assert with_data_flag(["x", "music", "--config=a"]) == ["x", "--data=music", "--config=a"]
    assert with_data_flag(["x", "--config=a", "music"]) == ["x", "--config=a", "--data=music"]
    assert with_data_flag(["x", "--config", "a"]) == ["x", "--config", "a"]
    assert with_data_flag(["x"]) == ["x"]

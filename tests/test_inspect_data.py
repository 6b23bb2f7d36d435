"""What `python -m magenta_lite.inspect_data` prints and how it ends."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bad_files import midi_bytes, write_good_files

from magenta_lite.converters.audio import Audio
from magenta_lite.data.audio import write_audio
from magenta_lite.families import FAMILIES
from magenta_lite.inspect_data import with_data_flag

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tfds_datasets" / "midi_dir" / "dummy_data"
GROOVES = ROOT / "tfds_datasets" / "groove_midi" / "dummy_data" / "groove"

# The command, in a process where TensorFlow cannot be imported.
COMMAND = (
    "import sys; sys.modules['tensorflow'] = None; sys.modules['tensorflow_datasets'] = None;"
    "import runpy; runpy.run_module('magenta_lite.inspect_data', run_name='__main__')"
)


FREE_TIME = """<score-partwise><part-list><score-part id="P1"><part-name>A</part-name>
</score-part></part-list><part id="P1"><measure number="1"><attributes><divisions>1</divisions>
<time><senza-misura/></time></attributes><note><pitch><step>C</step><octave>5</octave></pitch>
<duration>4</duration></note></measure></part></score-partwise>"""


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
    lines = result.stdout.splitlines()
    assert re.fullmatch(r"\d+ of \d+ files are used; these \d+ give nothing, because", lines[1])
    assert max(map(len, lines)) <= 80
    assert "different windows" in result.stdout
    assert "truncated.mid" in result.stdout
    assert "To keep more: " in result.stdout  # voice.mid has a program that the config leaves out
    tree = json.loads(numbers.read_text())
    assert sum(tree["splits"].values()) > 10
    assert 60 <= tree["lowest_pitch"] < tree["highest_pitch"] <= 83
    assert tree["converter"]["bars"] == 2
    assert tree["report"]["kept"]["windows"] >= sum(tree["splits"].values())


def test_set_changes_what_is_kept(tmp_path):
    numbers = tmp_path / "numbers.json"
    result = _inspect(
        "--config=cat-mel_2bar", "--set", "converter.programs=null", f"--json={numbers}", FOLDER
    )
    assert result.returncode == 0, result.stderr
    assert "To keep more: --set 'converter.programs" not in result.stdout
    assert json.loads(numbers.read_text())["converter"]["programs"] is None


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
    assert tree["converter"]["kind"] == "drums"


def test_no_setting_is_offered_where_none_helps(tmp_path):
    waltz = midi_bytes([(60, i, i + 1) for i in range(12)], meter=(3, 2))
    (tmp_path / "waltz.mid").write_bytes(waltz)
    write_good_files(tmp_path, 3)
    result = _inspect(tmp_path, "--config=cat-mel_2bar")
    assert "To keep more" not in result.stdout
    told = " ".join(result.stdout.split())
    assert "Only music in 4/4 or 2/2 has bars that fit these windows; no setting" in told


def test_folder_without_a_config_is_a_table_of_what_each_family_gets(tmp_path):
    write_good_files(tmp_path / "music", 4)
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (32_000, 1)).astype(np.float32)
    write_audio(tmp_path / "music" / "noise.wav", Audio(samples, 16_000))
    result = _inspect(tmp_path / "music")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].endswith("music: 4 files of notes, and 1 that are not read")
    assert max(map(len, [line for line in lines if str(tmp_path) not in line])) <= 80
    table = [line for line in lines if ": " in line[30:] and str(tmp_path) not in line]
    rows = {line.split(":")[0].split()[3]: line.split()[:3] for line in table}
    assert rows["cat-mel_2bar"][1:] == ["4", "4"]
    assert rows["vqvae_mini"][1:] == ["1", "1"]
    assert rows["groovae_4bar"] == ["0", "0", "0"]
    assert rows.keys() >= {name for family in FAMILIES.values() for name in family.shown_configs}
    alone = _inspect(tmp_path / "music", "--config=cat-mel_2bar")
    assert f"{rows['cat-mel_2bar'][0]} different windows" in alone.stdout
    assert "4 piece without a note on the drum channel (groovae_4bar)" in result.stdout


def test_the_table_says_how_many_files_give_nothing_at_all_and_why(tmp_path):
    write_good_files(tmp_path, 2)
    for name in ("broken.mid", "empty.mid"):
        (tmp_path / name).write_bytes(b"MThd" if name == "broken.mid" else b"")
    result = _inspect(tmp_path)
    assert "2 of 4 files are used; these 2 give nothing, because" in result.stdout
    assert "1 the file is empty (empty.mid)" in result.stdout


def test_file_that_a_library_stumbles_over_costs_nothing_else(tmp_path, monkeypatch):
    good = midi_bytes([(60 + i % 5, i, i + 1) for i in range(8)])
    (tmp_path / "resolution.mid").write_bytes(good[:12] + b"\0\0" + good[14:])
    stopped = midi_bytes([(60 + i % 5, i, i + 1) for i in range(8)], b"\0\xff\x51\x03\0\0\0")
    (tmp_path / "stopped.mid").write_bytes(stopped)
    (tmp_path / "free.musicxml").write_text(FREE_TIME)
    write_good_files(tmp_path, 3)
    result = _inspect(tmp_path, "--config=cat-mel_2bar")
    assert result.returncode == 0
    assert "Traceback" not in result.stderr
    told = " ".join(result.stdout.split())
    assert "no resolution (ticks of a quarter note) (resolution.mid)" in told
    assert "melody shorter than 2 bars (free.musicxml)" in told
    assert "stopped.mid" not in told.split("different windows")[0]  # it is used


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
        (["--config="], "--config is missing"),
        (["--config=Music-VAE", FOLDER], "cat-mel_2bar_med_chords"),
        ([FOLDER, "--json=x.json"], "--json and --set are for one configuration"),
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

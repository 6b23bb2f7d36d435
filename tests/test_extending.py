"""docs/extending.md, carried out: a family is a folder and a line, an option is a field."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
MUSIC = ROOT / "tfds_datasets" / "midi_dir" / "dummy_data"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A copy of the package with the family of the page."""
    root = tmp_path_factory.mktemp("extended")
    for folder in ("magenta_lite", "configs", "tfds_datasets"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    code = blocks("python")
    names = re.findall(r"^`(magenta_lite/families/bigram/\w+\.py)`", TEXT, flags=re.MULTILINE)
    assert len(names) == 4
    (root / names[0]).parent.mkdir()
    for name, content in zip(names, code, strict=False):
        (root / name).write_text(content)
    line, config = code[4:6]
    with (root / "magenta_lite/families/__init__.py").open("a") as file:
        file.write(line)
    (root / "bigram.py").write_text(config)
    return root


def run(place: Path, *words: str) -> tuple[int, str, str]:
    environment = os.environ | {"PYTHONPATH": str(place)}
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def test_a_family_is_a_folder_and_a_line(place):
    (commands,) = blocks("bash")
    extra = {
        "train": [f"--data={MUSIC}", "--data_dir=data", "--set", "train.steps=4"],
        "evaluate": ["--data_dir=data"],
    }
    for line in commands.strip().splitlines():
        words = line.split()[1:]
        verb = words[1].rpartition(".")[2]
        code, out, error = run(place, *words, *extra.get(verb, []))
        assert code == 0, out + error
    assert len(list((place / "generated").glob("bigram-sample-*.mid"))) == 4
    assert (place / "exported_bigram" / "saved_model.pb").is_file()
    code, out, _ = run(place, "-m", "magenta_lite.train")
    assert code == 2 or "bigram" in out


def test_an_option_is_a_field(place):
    options = place / "magenta_lite/families/bigram/options.py"
    (field,) = (block for block in blocks("python") if "last_pitch" in block)
    text = options.read_text()
    options.write_text(text.replace("    @classmethod\n", f"{field}\n    @classmethod\n", 1))
    code, out, error = run(place, "-m", "magenta_lite.generate", "--run_dir=runs/bigram", "--help")
    assert code == 0, error
    assert "--last_pitch: MIDI pitch that a melody ends with. (default: 60)" in out
    arguments = ["-m", "magenta_lite.generate", "--run_dir=runs/bigram", "--last_pitch=109"]
    code, _, error = run(place, *arguments)
    assert code == 2 and "108" in error

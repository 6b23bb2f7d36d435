"""docs/extending.md, carried out: a family is a folder and a line, an option is a field."""

from __future__ import annotations

import json
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


def python(place: Path, *words: str) -> tuple[int, str, str]:
    """Runs Python with the package in `place`; returns exit code, output and errors."""
    path = os.pathsep.join((str(place), str(Path(__file__).parent)))
    environment = os.environ | {"PYTHONPATH": path}
    command = [sys.executable, *words]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


# Commands one after the other, each in a process whose server imports TensorFlow once for all.
RUN_ALL = """
import json, sys
from processes import run
print(json.dumps([run(*words) for words in json.loads(sys.argv[1])]))
"""


def test_a_family_is_a_folder_and_a_line(place):
    (block,) = blocks("bash")
    extra = {
        "train": [f"--data={MUSIC}", "--data_dir=data", "--set", "train.steps=4"],
        "evaluate": ["--data_dir=data"],
    }
    commands = []
    for line in block.strip().splitlines():
        interpreter, flag, module, *words = line.split()
        assert (interpreter, flag) == ("python", "-m")
        commands.append([module, *words, *extra.get(module.rpartition(".")[2], [])])
    every = json.dumps([*commands, ["magenta_lite.train"]])
    code, out, error = python(place, "-c", RUN_ALL, every)
    assert code == 0, error
    *ended, (code, out, _) = json.loads(out)
    for words, (ended_with, said, error) in zip(commands, ended, strict=True):
        assert ended_with == 0, (words, said + error)
    assert len(list((place / "generated").glob("bigram-sample-*.mid"))) == 4
    assert (place / "exported_bigram" / "1" / "saved_model.pb").is_file()
    assert code == 2 or "bigram" in out


def test_an_option_is_a_field(place):
    options = place / "magenta_lite/families/bigram/options.py"
    (field,) = (block for block in blocks("python") if "last_pitch" in block)
    text = options.read_text()
    options.write_text(text.replace("    @classmethod\n", f"{field}\n    @classmethod\n", 1))
    generate = ["-m", "magenta_lite.generate", "--run_dir=runs/bigram"]
    code, out, error = python(place, *generate, "--help")
    assert code == 0, error
    assert "--last_pitch: MIDI pitch that a melody ends with. (default: 60)" in out
    code, _, error = python(place, *generate, "--last_pitch=109")
    assert code == 2 and "108" in error

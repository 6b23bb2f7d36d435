"""The README's own words, run, and the commands of the other pages."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
SMALL = (
    "model.latent_size=8",
    "model.encoder_units=[16]",
    "model.decoder_units=[16,16]",
    "train.batch_size=8",
    "train.steps=4",
    "train.checkpoint_every=4",
)


OWN_TEST = "extending.md"  # whose commands are those of the family that it adds
PAGES = "\n".join(
    path.read_text(encoding="utf-8")
    for path in sorted(ROOT.glob("docs/**/*.md"))
    if path.name != OWN_TEST
)


def blocks(language, text=TEXT):
    """Returns the code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands():
    """Returns every `python -m magenta_lite.VERB …` of README and docs as words."""
    both = blocks("bash") + blocks("bash", PAGES)
    lines = "\n".join(both).replace("\\\n", " ").splitlines()
    found = []
    for line in lines:
        for part in line.split("#")[0].split("&&"):
            words = shlex.split(part)
            if words[:2] == ["python", "-m"]:
                found.append(words[2:])
    return found


# Parses the flags of each command in a process of its own, forked from one that is ready.
PARSE = """
import importlib, json, os, sys, traceback
import magenta_lite.config
from absl import flags
from magenta_lite import cli

def parse(module, *arguments):
    imported = importlib.import_module(module)
    getattr(imported, "define_flags", lambda: None)()
    flags.FLAGS([module, *arguments])
    if "set" in flags.FLAGS and flags.FLAGS.config:
        cli.chosen_config()

for words in json.load(sys.stdin):
    reader, writer = os.pipe()
    if not os.fork():
        try:
            parse(*words)
            answer = ""
        except BaseException:
            answer = traceback.format_exc()
        os.write(writer, answer.encode())
        os._exit(0 if not answer else 1)
    os.close(writer)
    with open(reader) as stream:
        error = stream.read()
    _, status = os.wait()
    print(json.dumps([status, error]))
"""


@pytest.fixture(scope="module")
def parsed():
    """Returns status and error of every command of the README, by its words."""
    done = subprocess.run(
        [sys.executable, "-c", PARSE],
        input=json.dumps(commands()),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answers = map(json.loads, done.stdout.splitlines())
    return dict(zip(map(tuple, commands()), answers, strict=True))


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_flags_and_settings_of_every_command_exist(parsed, words):
    status, error = parsed[tuple(words)]
    assert status == 0, error


def test_python_examples_run(tmp_path, monkeypatch):
    import magenta_lite as ml

    config = ml.get_config("cat-mel_2bar_tiny", SMALL)
    ml.as_run(config, ml.build_model(config)).save(tmp_path / "runs" / "cat-mel_2bar_tiny")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    use, train = (block for block in blocks("python") if "ml." in block)
    names: dict = {}
    exec(use, names)
    assert len(names["pieces"]) == 4 and (tmp_path / "tune.mid").is_file()
    assert len(names["again"]) == 1
    music = ROOT / "tfds_datasets" / "midi_dir" / "dummy_data"
    small = train.replace('16"]', f'16", "data.source={music}"]').replace("epoch=100", "epoch=2")
    assert small.count("epoch=2") == small.count("data.source") == 1
    exec(small, names)
    assert ml.load("runs/mine_in_python").step == 2


def test_pictures_exist():
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", TEXT):
        assert (ROOT / path).is_file(), path

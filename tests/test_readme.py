"""The README's own words, run."""

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


def blocks(language):
    """Returns the README's code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def commands():
    """Returns every `python -m magenta_lite.VERB …` of the README as words."""
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    found = []
    for line in lines:
        for part in line.split("#")[0].split("&&"):
            words = shlex.split(part)
            if words[:2] == ["python", "-m"]:
                found.append(words[2:])
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_flags_and_settings_of_every_command_exist(words):
    module, *arguments = words
    code = (
        "import sys, importlib\n"
        f"module = importlib.import_module({module!r})\n"
        "from absl import flags\n"
        "getattr(module, 'define_flags', lambda: None)()\n"
        f"flags.FLAGS([{module!r}, *sys.argv[1:]])\n"
        "if 'set' in flags.FLAGS and flags.FLAGS.config:\n"
        "    from magenta_lite import cli\n"
        "    cli.chosen_config()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_python_example_runs_on_a_trained_run(tmp_path, monkeypatch):
    from magenta_lite.config import get_config
    from magenta_lite.converters import build_converter
    from magenta_lite.modeling.building import build_model
    from magenta_lite.training.run import write_imported_run

    config = get_config("cat-mel_2bar_tiny", SMALL)
    converter = build_converter(config.converter)
    run_dir = tmp_path / "runs" / "cat-mel_2bar"
    write_imported_run(config, converter, build_model(config, converter), 0, run_dir, "nowhere")
    monkeypatch.chdir(tmp_path)
    (code,) = (block for block in blocks("python") if "load_run" in block)
    names: dict = {}
    exec(code, names)
    assert names["events"].shape == (4, 32)
    assert names["sequence"].tempos[0].qpm == 120


def test_pictures_exist():
    for path in re.findall(r"!\[[^]]*\]\(([^)]+)\)", TEXT):
        assert (ROOT / path).is_file(), path

"""The commands that `train` and `import_checkpoint` print at their end, for every configuration."""

from __future__ import annotations

import dataclasses
import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from magenta_lite.config import config_names, get_config, save_config
from magenta_lite.converters import build_converter
from magenta_lite.data.collections import Examples
from magenta_lite.data.listing import read_file
from magenta_lite.families import FAMILIES
from magenta_lite.next_steps import next_steps, write_example
from magenta_lite.shell import command, quoted

VQVAES = ("vqvae_tiny", "vqvae_mini", "vqvae_small", "jukebox_vqvae", "rvqvae_tiny", "rvqvae_mini")

# Runs `generate` with each list of arguments up to where the model would be loaded.
GENERATE = """
import json, sys
from absl import flags
import magenta_lite.training.run as run_directory
from magenta_lite import generate

class Loaded(Exception):
    pass

def load_run(path, checkpoint):
    raise Loaded

run_directory.load_run = load_run
for arguments in json.load(open(sys.argv[1])):
    flags.FLAGS.unparse_flags()
    flags.FLAGS(["generate", *arguments])
    try:
        generate.main()
    except Loaded:
        print(json.dumps(flags.FLAGS.run_dir))
"""


def _vqvae_of(config) -> str:
    """Returns the configuration of a VQ-VAE whose codes a prior reads; empty for none."""
    for name in VQVAES:
        sizes, level = get_config(name).model, config.converter.level
        same = (sizes.codes, sizes.quantizers) == (config.model.codes, config.model.quantizers)
        if same and level < sizes.levels and sizes.hop_lengths[level] == config.model.hop:
            return name
    return ""


def _run(folder: Path, name: str, trained: bool = True):
    """Writes the config of a run; of one over codes with the run of its VQ-VAE."""
    config = get_config(name)
    if FAMILIES[config.family].encoded_data and _vqvae_of(config):
        vqvae = folder / _vqvae_of(config)
        vqvae.mkdir(parents=True, exist_ok=True)
        save_config(get_config(vqvae.name), vqvae / "config.yaml")
        converter = dataclasses.replace(config.converter, vqvae=str(vqvae))
        config = dataclasses.replace(config, converter=converter)
    (folder / name / "checkpoints").mkdir(parents=True)
    save_config(config, folder / name / "config.yaml")
    if trained:
        (folder / name / "checkpoints" / "step-1.keras").write_text("")
    return config


def _arguments(step: str, verb: str) -> list[str]:
    python, dash, module, *arguments = shlex.split(step)
    assert (python, dash, module) == ("python", "-m", f"magenta_lite.{verb}")
    return arguments


def test_what_generate_is_told_passes_its_checks_for_every_configuration(tmp_path):
    asked, where = [], []
    for name in config_names():
        folder = tmp_path / f"runs of {name}"  # a path with spaces
        config = _run(folder, name)
        steps = next_steps(folder / name, config, build_converter(config.converter))
        *first, told, export = steps
        assert _arguments(export, "export")[0] == f"--run_dir={folder / name}"
        if told.startswith("#"):  # no VQ-VAE fits
            assert name.startswith("jukebox_") and not _vqvae_of(config)
            continue
        for step in first:  # another level is trained first
            values = dict(flag.split("=", 1) for flag in _arguments(step, "train"))
            _run(folder, values["--config"])
            assert values["--run_dir"] == str(folder / values["--config"])
        arguments = _arguments(told, "generate")
        asked.append(arguments)
        where.append(arguments[0].removeprefix("--run_dir="))
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    done = subprocess.run(
        [sys.executable, "-c", GENERATE, tmp_path / "asked.json"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines() if line[0] == '"'] == where
    assert len(where) > 120


def test_an_upsampler_is_heard_with_the_prior_beside_it(tmp_path):
    _run(tmp_path, "jukebox_prior_tiny")
    config = _run(tmp_path, "jukebox_upsampler_tiny")
    told, _ = next_steps(tmp_path / "jukebox_upsampler_tiny", config, None)
    assert _arguments(told, "generate") == [
        f"--run_dir={tmp_path / 'jukebox_prior_tiny'}",
        f"--upsamplers={tmp_path / 'jukebox_upsampler_tiny'}",
    ]
    config = get_config("jukebox_prior_tiny")
    converter = dataclasses.replace(config.converter, vqvae=str(tmp_path / "vqvae_tiny"))
    config = dataclasses.replace(config, converter=converter)
    same, _ = next_steps(tmp_path / "jukebox_prior_tiny", config, None)
    assert same == told


def test_the_lowest_of_three_levels_names_what_must_be_trained_first(tmp_path):
    config = _run(tmp_path, "jukebox_upsampler_level_0")
    *first, told, _ = next_steps(tmp_path / "jukebox_upsampler_level_0", config, None)
    trained = [_arguments(step, "train")[0] for step in first]
    assert trained[0].startswith("--config=jukebox_prior_")
    assert trained[1:] == ["--config=jukebox_upsampler_level_1"]
    upsamplers = ",".join(str(tmp_path / f"jukebox_upsampler_level_{n}") for n in (1, 0))
    assert _arguments(told, "generate")[1] == f"--upsamplers={upsamplers}"


def test_a_run_that_cannot_be_heard_alone_says_why(tmp_path):
    told, export = next_steps(tmp_path / "a", get_config("jukebox_prior_mini"), None)
    assert told.startswith("# generate needs the VQ-VAE")
    assert "export" in export


class Collection:
    """A collection whose test split holds one example."""

    def __init__(self, events, **more):
        lengths = np.array([len(events)])
        self._test = Examples(events[None], lengths, ["a"], **more)

    def split(self, name):
        return self._test if name == "test" else dataclasses.replace(self._test, events=())


def test_the_example_is_held_out_music(tmp_path):
    converter = build_converter(get_config("groovae_2bar_hits_control").converter)
    events = np.zeros((32, 27), np.float32)
    events[4, :2] = events[9, 1:3] = 1.0
    path = write_example(tmp_path, converter, Collection(events))
    (piece,) = read_file(path)
    written = {(note.pitch, note.is_drum) for note in piece.sequence.notes}
    assert written == {(note.pitch, True) for note in converter.decode(events).notes}
    assert len(converter.encode(read_file(write_example(tmp_path, converter))[0].sequence).examples)


def test_the_example_of_sound_is_heard(tmp_path):
    converter = build_converter(get_config("vqvae_tiny").converter)
    samples = np.random.default_rng(0).integers(-9000, 9000, (6000, 1), np.int16)
    collection = Collection(samples, positions=np.array([[0, 6000]]))
    written, rate = soundfile.read(write_example(tmp_path, converter, collection), dtype="int16")
    assert rate == converter.sample_rate
    np.testing.assert_array_equal(written, samples[:, 0])
    made_up, _ = soundfile.read(write_example(tmp_path, converter))
    assert 0.3 < np.abs(made_up).max() < 0.9


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--run_dir=runs/a", "--run_dir=runs/a"),
        ("--chords=C Am", "--chords='C Am'"),
        ("--input=it's mine.mid", "--input='it'\"'\"'s mine.mid'"),
        ("--render_chords", "--render_chords"),
    ],
)
def test_values_have_quotes_where_the_shell_needs_them(flag, text):
    assert quoted(flag) == text
    assert shlex.split(command("generate", flag)) == ["python", "-m", "magenta_lite.generate", flag]


def test_a_place_for_a_saved_model_holds_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = get_config("cat-mel_2bar_tiny")
    run_dir = Path("runs/a b")
    for wanted in ("'exported/a b'", "'exported/a b-2'"):
        step = next_steps(run_dir, config, build_converter(config.converter))[-1]
        assert step == f"python -m magenta_lite.export --run_dir='runs/a b' --output={wanted}"
        (Path(shlex.split(wanted)[0]) / "1").mkdir(parents=True)
        step = next_steps(run_dir, config, build_converter(config.converter))[-1]
        assert step.endswith(f" --output={wanted}")  # for the next version
        (Path(shlex.split(wanted)[0]) / "notes.txt").touch()

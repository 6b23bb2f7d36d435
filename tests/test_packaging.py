"""What an installed copy needs: configs inside the wheel, builders with their pages."""

import os
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from processes import run

from magenta_lite.__main__ import COMMANDS, main

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The unpacked wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    # Building writes beside setup.py; a copy keeps the checkout clean.
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(source)], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder)]
    subprocess.run([*command, str(source)], check=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_wheel_holds_configs_builders_and_type_marker(wheel):
    for name in (
        "magenta_lite/configs/music_vae.py",
        "magenta_lite/py.typed",
        "magenta_lite/serving/samplers/sample.mjs",
        "magenta_lite/serving/samplers/sample.py",
        "tfds_datasets/folk/folk_dataset_builder.py",
        "tfds_datasets/folk/README.md",
        "tfds_datasets/folk/CITATIONS.bib",
        "tfds_datasets/midi_dir/TAGS.txt",
    ):
        assert (wheel / name).is_file(), name
    assert not (wheel / "tests").exists()
    assert not (wheel / "configs").exists()


def test_configs_are_found_in_an_installed_copy(wheel, tmp_path):
    code = (
        "import magenta_lite, magenta_lite.config as c\n"
        "print(magenta_lite.__file__)\n"
        "print(c.get_config('cat-mel_2bar', ['train.steps=7']).train.steps)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=True,
    )
    path, steps = done.stdout.split()
    assert Path(path).is_relative_to(wheel)
    assert steps == "7"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_one_of_magenta_lite_too(name):
    script = metadata.entry_points(group="console_scripts")["magenta-lite"]
    assert script.load() is main
    code, out, error = run("magenta_lite", name, "--help")
    assert code == 0, error
    assert f"python -m magenta_lite.{name}" in out and "--debug" in out


def test_a_command_that_is_none_is_answered_with_the_nearest():
    code, _, error = run("magenta_lite", "trian")
    assert (code, error) == (2, "Error: Unknown command 'trian'. Did you mean train?\n")
    code, out, _ = run("magenta_lite")
    assert code == 2 and all(f"  {name} " in out for name in COMMANDS)


def test_version_is_the_same_everywhere():
    import magenta_lite

    text = (ROOT / "setup.py").read_text()
    assert f'VERSION = "{magenta_lite.__version__}"' in text
    assert f"## {magenta_lite.__version__}" in (ROOT / "CHANGELOG.md").read_text()

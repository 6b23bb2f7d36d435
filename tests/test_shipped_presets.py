"""Every preset of the package, as it is shipped: it makes music, is measured, and is exported."""

import json
from pathlib import Path

import processes
import pytest
import soundfile

from magenta_lite import presets
from magenta_lite.config import load_config
from magenta_lite.converters.audio import Audio
from magenta_lite.loudness import LOUDNESS, loudness

DOWNLOADED = ("groove_midi", "maestro_midi", "jsb_chorales", "freedoom")  # data sets
NAMES = presets.names()


def run(command, *arguments, cwd):
    code, out, error = processes.run(f"magenta_lite.{command}", *arguments, cwd=cwd)
    assert code == 0, out + error
    return out


@pytest.mark.parametrize("name", NAMES)
def test_it_makes_music(name, tmp_path):
    folder = presets.folder_of(name)
    flags = presets.try_flags(folder, presets.checked(folder))
    out = run("generate", f"--preset={name}", "--seed=1", *flags, cwd=tmp_path)
    wavs = [tmp_path / line for line in out.splitlines() if line.endswith(".wav")]
    assert wavs
    for wav in wavs:
        samples, rate = soundfile.read(wav, always_2d=True)
        assert abs(samples).max() < 10 ** (-1 / 20) + 1e-4
        # None is louder, and strokes, whose peaks allow no more, are at most 3 LU softer.
        found = loudness(Audio(samples.astype("float32"), rate))
        assert LOUDNESS - 3 < found < LOUDNESS + 0.1


@pytest.mark.parametrize("name", NAMES)
def test_it_is_measured(name, tmp_path):
    config = load_config(presets.folder_of(name) / presets.CONFIG)
    if config.data.source.partition(":")[0] in DOWNLOADED:
        pytest.skip(f"{config.data.source} is not on this machine")
    run("evaluate", f"--preset={name}", "--limit=2", "--output=numbers.json", cwd=tmp_path)
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["examples"] == 2


@pytest.mark.parametrize("name", NAMES)
def test_it_is_exported(name, tmp_path):
    import tensorflow as tf

    run("export", f"--preset={name}", "--output=exported", cwd=tmp_path)
    (saved,) = Path(tmp_path / "exported").rglob("saved_model.pb")
    assert tf.saved_model.load(str(saved.parent)).signatures


@pytest.mark.parametrize("name", NAMES)
def test_its_card_says_what_it_is_made_of(name):
    card = (presets.folder_of(name) / presets.CARD).read_text("utf-8")
    for part in ("## Data", "## Training", "## Memorization", "## What it is bad at", "Terms: "):
        assert part in card

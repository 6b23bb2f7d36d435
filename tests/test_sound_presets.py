"""Presets of sound: a codec, and a prior that names it."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from processes import run

import magenta_lite as ml
from magenta_lite import presets
from magenta_lite.families.jukebox.data import CodesData
from magenta_lite.training.run import load_encoder

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import preset_cards
import train_presets
from preset_recipes import RECIPES

RATE = 4000
QUICK = {"train.checkpoint_every": 2, "train.warmup_steps": 1}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the presets `sound_codec` and `sound`, after two steps on noise."""
    place, rng = tmp_path_factory.mktemp("sound"), np.random.default_rng(0)
    for split in ("train", "validation", "test"):
        path = place / "music" / split / "a.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, rng.uniform(-0.5, 0.5, 9000), RATE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(place / "data"))
        patch.setattr(preset_cards, "COMPARED", 4)
        patch.setattr(preset_cards, "AT_ONCE", 2)
        make(place, "sound_codec", "rvqvae_tiny", QUICK | {"model.snake": True})
        codec = {"converter.vqvae": str(place / "sound_codec")}
        patch.setitem(RECIPES["sound"].options, "total_seconds", 0.5)
        make(place, "sound", "jukebox_delay_tiny", QUICK | codec)
    return place


def make(place, name, config, changes):
    recipe = dataclasses.replace(
        RECIPES[name], config=config, steps=2, batch_size=2, changes=changes
    )
    code, out, error = run(
        "magenta_lite.train",
        f"--config={recipe.config}",
        f"--data={place / 'music'}",
        f"--run_dir=runs/{name}",
        *(f"--set={key}={value}" for key, value in recipe.settings.items()),
        cwd=place,
    )
    assert code == 0, out + error
    train_presets.write(recipe, place / "runs" / name, str(place / "music"), place / name)


def test_the_codec_decodes_its_example(place):
    preset = presets.checked(place / "sound_codec")
    assert preset.example == "example.ogg"
    _, flag = presets.try_flags(place / "sound_codec", preset)
    (sound,) = ml.load(place / "sound_codec").generate("reconstruct", flag.partition("=")[2])
    assert sound.sample_rate == RATE and sound.seconds == pytest.approx(9000 / RATE, abs=0.01)


def test_a_prior_finds_its_codec_by_name(place, monkeypatch):
    monkeypatch.setattr(presets, "FOLDER", place)
    monkeypatch.chdir(place / "runs" / "sound")  # a folder without those presets
    config = CodesData().with_run_dir(ml.load("sound").config, "sound_codec")
    assert config.converter.vqvae == "sound_codec"
    assert load_encoder(config).config.name == "rvqvae_tiny"
    completed = ml.get_config("jukebox_delay_tiny", ["converter.vqvae=sound_codec"])
    assert ml.build_model(completed).sizes.codes == 32
    (sound,) = ml.load("sound").generate(num_outputs=1, total_seconds=0.5, seed=0)
    assert sound.samples.shape == (RATE // 2, 1)


def test_the_cards_compare_codes_with_the_training_data(place):
    card = (place / "sound" / presets.CARD).read_text()
    for part in ("| `bits_per_code` |", "frames, median", "| samples | 4 |", "| held-out pieces |"):
        assert part in card, card
    card = (place / "sound_codec" / presets.CARD).read_text()
    assert "It writes nothing of its own" in card and "--input=sound.wav" in card

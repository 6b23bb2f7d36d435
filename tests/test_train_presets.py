"""From a run to a preset: weights are chosen, measured and described."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import processes
import pytest

import magenta_lite as ml
from magenta_lite import presets
from magenta_lite.training.run import load_run

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import preset_cards
import train_presets
from preset_recipes import RECIPES

ROOT = Path(__file__).parents[1]
MUSIC = ROOT / "tfds_datasets" / "midi_dir" / "dummy_data"
SMALL = {
    "model.latent_size": 6,
    "model.encoder_units": [8],
    "model.decoder_units": [8, 8],
    "train.checkpoint_every": 2,
    "generate.programs": [40],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A preset and its run, after six steps on a few windows."""
    place = tmp_path_factory.mktemp("made")
    recipe = dataclasses.replace(
        RECIPES["folk_loops"],
        config="cat-mel_2bar_tiny",
        steps=6,
        batch_size=8,
        changes=SMALL,
        input_flags=("--mode=reconstruct", "--input={example}"),
    )
    training = [
        f"--config={recipe.config}",
        f"--data={MUSIC}",
        "--run_dir=run",
        *(f"--set={key}={value}" for key, value in recipe.settings.items()),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(place / "data"))
        patch.setattr(preset_cards, "COMPARED", 4)
        patch.setattr(preset_cards, "AT_ONCE", 2)
        code, out, error = processes.run("magenta_lite.train", *training, cwd=place)
        assert code == 0, out + error
        train_presets.write(recipe, place / "run", str(MUSIC), place / "loops")
    return place


def test_the_preset_is_whole_and_names_public_data(made):
    run = ml.load(made / "loops")
    assert run.config.data.source == "folk" and run.config.generate.programs == (40,)
    assert presets.checked(made / "loops").model == "cat-mel_2bar_tiny"
    (piece,) = run.generate(mode="reconstruct", input=made / "loops" / "example.mid")
    assert piece.notes


def test_its_weights_are_those_of_a_checkpoint_or_the_mean_of_several(made):
    loaded = ml.load(made / "loops").model.get_weights()
    kept = [load_run(made / "run", step).model.get_weights() for step in ("2", "4", "6")]
    mean = [np.mean(each, axis=0) for each in zip(*kept, strict=True)]

    def distance(weights):
        return max(np.abs(a - b).max() for a, b in zip(loaded, weights, strict=True))

    assert min(map(distance, [*kept, mean])) < 2e-3


def test_the_card_has_training_numbers_and_memorization(made):
    card = (made / "loops" / presets.CARD).read_text()
    for part in (
        "# loops\n",
        "python scripts/train_presets.py loops\n",
        "Seed 0, commit ",
        "| 6 | ",
        "| `ngram_nll_of_music` | ",
        "| samples | ",
        "| held-out pieces | ",
        RECIPES["folk_loops"].weaknesses,
        "pattern.mid",
    ):
        assert part in card, card
    steps = json.loads((made / "loops" / presets.MANIFEST).read_text())["step"]
    assert f"step {steps}" in card or "the mean of" in card

"""Trains a preset, and writes it with its card into the package.

python scripts/train_presets.py NAME [--data=SOURCE] [--minutes=M] [--steps=N]

Names are those in scripts/preset_recipes.py. The run is resumed when the command is repeated; with
the same number of steps it ends with the same weights on the same machine. `--minutes` trains for
as many steps as fit into that time, and the card has the command that repeats them. Of the best
checkpoint by validation and the mean of the kept checkpoints, the weights that are better on the
validation split are taken; they are stored in float16 if that changes their loss there by at most
0.2 %. `--data` is a copy of the recipe's data, e.g. groove_midi:PATH.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import preset_cards
from preset_recipes import RECIPES, Recipe

from magenta_lite import presets
from magenta_lite.config import load_config, override
from magenta_lite.converters.audio import pieces
from magenta_lite.data.audio import write_audio
from magenta_lite.datasets import open_data
from magenta_lite.errors import UserError
from magenta_lite.midi import midi_bytes
from magenta_lite.presets.packing import arrays_of, assign, pack
from magenta_lite.shell import quoted
from magenta_lite.training.checkpoints import checkpoint_files
from magenta_lite.training.run import Run, load_encoder, load_run

TOLERANCE = 2e-3  # largest relative change of the loss by float16
LARGEST = 10_000_000  # bytes of a preset
SECONDS = 10.0  # of the example of a model of sound, at most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=RECIPES)
    parser.add_argument("--data", help="a copy of the recipe's data")
    parser.add_argument("--minutes", type=float, help="trains as many steps as fit")
    parser.add_argument("--steps", type=int, help="instead of those of the recipe")
    parser.add_argument("--runs", type=Path, default=Path("runs/presets"), help="folder of runs")
    parser.add_argument("--output", type=Path, default=presets.FOLDER, help="folder of presets")
    arguments = parser.parse_args()
    recipe, run_dir = RECIPES[arguments.name], arguments.runs / arguments.name
    data = arguments.data or recipe.data.source
    train(recipe, run_dir, data, arguments.minutes, arguments.steps)
    folder = arguments.output / arguments.name
    write(recipe, run_dir, data, folder)
    size = presets.size_of(folder)
    if size > LARGEST:
        raise UserError(f"{folder} has {size:,} bytes, and {LARGEST:,} are allowed")
    print(f"Wrote {folder}, {size:,} bytes")


def train(
    recipe: Recipe, run_dir: Path, data: str, minutes: float | None, steps: int | None
) -> None:
    """Trains a run, or the rest of it."""
    settings = recipe.settings | ({"train.steps": steps} if steps else {})
    if minutes:
        del settings["train.steps"]
    command = [f"--config={recipe.config}", f"--run_dir={run_dir}", f"--data={data}"]
    command += [f"--minutes={minutes:g}"] if minutes else []
    command += [f"--set={key}={value}" for key, value in settings.items()]
    command = [sys.executable, "-m", "magenta_lite.train", *command]
    print(" ".join(["python", *map(quoted, command[1:])]), flush=True)
    subprocess.run(command, check=True)


def write(recipe: Recipe, run_dir: Path, data: str, folder: Path) -> None:
    """Chooses the weights of a run, measures them, and writes the preset."""
    config = load_config(run_dir / "config.yaml")
    source = dataclasses.replace(config.data, source=data)
    collection = open_data(dataclasses.replace(config, data=source), load_encoder(config))
    run, origin, dtype = chosen(run_dir, collection, recipe.metric)
    # Whoever loads it has the public name of the data, and today's defaults of `generate`.
    defaults = [f"{key}={value}" for key, value in recipe.settings.items() if "generate." in key]
    published = override(config, [f"data.source={recipe.data.source}", *defaults])
    run = dataclasses.replace(run, config=published)
    card = preset_cards.Card(folder.name, recipe, run, run_dir, origin, dtype).text(collection)
    pack(
        folder,
        run.config,
        run.converter,
        run.model,
        card,
        dtype,
        example=example(run, collection) if recipe.input_flags else None,
        about=recipe.about,
        step=run.step,
        data=recipe.data.music,
        licence=recipe.data.licence,
        flags=recipe.flags,
    )


def example(run: Run, collection: Any) -> tuple[str, bytes]:
    """Returns the name and the content of a file with held-out music."""
    examples = collection.split("test")
    if run.config.converter.kind != "audio":
        music = run.converter.decode(examples.events[0][: examples.lengths[0]])
        return "example.mid", midi_bytes(music, "example")
    _, samples = next(pieces(examples))
    music = run.converter.decode(samples[: round(SECONDS * run.converter.sample_rate)])
    with tempfile.TemporaryDirectory() as folder:
        path = write_audio(Path(folder) / "example.ogg", music)
        return path.name, path.read_bytes()


def chosen(run_dir: Path, collection: Any, metric: str) -> tuple[Run, str, str]:
    """Returns the run with its best weights as stored, where they are from, and their type."""
    validation = collection.split("validation")

    def loss(weights: list[np.ndarray]) -> float:
        run.model.set_weights(weights)
        return run.model.measure(validation)[metric]

    run = load_run(run_dir)
    best = run.model.get_weights()
    steps = sorted(step for step, _ in checkpoint_files(run_dir / "checkpoints"))
    all_weights = [load_run(run_dir, str(step)).model.get_weights() for step in steps]
    mean = [np.mean(each, axis=0, dtype=np.float64) for each in zip(*all_weights, strict=True)]
    mean = [each.astype(old.dtype) for each, old in zip(mean, best, strict=True)]
    losses = {"best": loss(best), "mean": loss(mean)}
    if losses["mean"] < losses["best"]:
        names = ", ".join(f"{step:,}" for step in steps)
        weights, kept = mean, losses["mean"]
        origin = f"the mean of those of steps {names} (`{metric}` on the validation split "
        origin += f"{kept:.4f}; those of step {run.step:,} alone: {losses['best']:.4f})"
    else:
        weights, kept = best, losses["best"]
        origin = f"those of step {run.step:,}, whose validation was best (`{metric}` {kept:.4f})"
    run.model.set_weights(weights)
    assign(run.model, arrays_of(run.model, "float16"))
    change = abs(run.model.measure(validation)[metric] / kept - 1)
    if change <= TOLERANCE:
        return run, f"{origin}; float16 changes that by {change:.3%}", "float16"
    run.model.set_weights(weights)
    return run, f"{origin}; float16 would change that by {change:.2%}", "float32"


if __name__ == "__main__":
    try:
        main()
    except (UserError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}")

"""Compares samples of the small configurations with held-out music, in a Markdown table.

python scripts/benchmarks/first_tries.py [--configs=cat-mel_2bar_tiny,...] [--folder=runs/first]

Trains each configuration with its defaults (or uses the run in the folder), samples with the
defaults of `generate`, and measures the NLL of the samples and of held-out music under an n-gram
model of the training data in all transpositions used in training, as `evaluate` does with less of
the data. As n-grams favour silence and held notes, notes per bar are reported, too: samples pass if
their NLL is at most 1.5 times that of held-out music and they have at least half as many notes.

An event is an id per step or token; for trios an id per part, whose NLLs are summed; for drums and
grooves the set of drums that are hit, without velocities and timing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from magenta_lite.config import config_names, get_config
from magenta_lite.datasets import open_collection
from magenta_lite.evaluation.samples import compared

FAMILIES = ("music_vae", "melody_rnn")
STEPS = 2**24  # of training data for the n-gram, including padding, to limit memory
SEED = 0
MOST_RATIO = 1.5
LEAST_NOTES = 0.5  # relative to held-out music


class Measured(NamedTuple):
    """NLL in nats per event, and notes per bar."""

    nll: float
    held_out_nll: float
    notes: float
    held_out_notes: float

    @property
    def ratio(self) -> float:
        """NLL of the samples relative to that of held-out music."""
        return self.nll / self.held_out_nll

    @property
    def is_music(self) -> bool:
        """Whether the samples are sufficiently likely and have enough notes."""
        return self.ratio <= MOST_RATIO and self.notes >= LEAST_NOTES * self.held_out_notes


def tiny_configs() -> dict[str, list[str]]:
    """Returns the names of the small configurations, each with its aliases."""
    names: dict[Any, list[str]] = {}
    for name in sorted(config_names(), key=lambda name: (len(name), name)):
        config = get_config(name)
        if name.endswith("_tiny") and config.family in FAMILIES:
            names.setdefault(dataclasses.replace(config, name=""), []).append(name)
    return {first: others for first, *others in names.values()}


# The table ----------------------------------------------------------------------------------------


def measure(run, collection) -> Measured:
    """Measures a run's samples and the test split of its data."""
    held_out, temperature = collection.split("test"), run.config.generate.temperature
    samples = run.model.samples(run.converter, held_out, temperature, SEED)
    found = compared(samples, held_out, collection, run.config, run.converter, STEPS)
    return Measured(
        found["ngram_nll_of_samples"],
        found["ngram_nll_of_music"],
        found["notes_per_bar_of_samples"],
        found["notes_per_bar_of_music"],
    )


def trained(name: str, folder: Path) -> tuple[Any, float]:
    """Returns the run of a configuration, trained if necessary, and its CPU time in seconds."""
    from magenta_lite.training.run import load_run

    path, clock = folder / name, folder / f"{name}.seconds.json"
    if not clock.exists():
        began = _cpu_seconds_of_children()
        command = [sys.executable, "-m", "magenta_lite.train", f"--config={name}"]
        with (folder / f"{name}.log").open("w") as log:
            subprocess.run([*command, f"--run_dir={path}"], check=True, stdout=log, stderr=log)
        clock.write_text(json.dumps(_cpu_seconds_of_children() - began))
    return load_run(path), json.loads(clock.read_text())


def _cpu_seconds_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def line(name: str, others: list[str], steps: int, seconds: float, result: Measured) -> str:
    """Returns a row of the table."""
    also = f" (= {', '.join(f'`{other}`' for other in others)})" if others else ""
    verdict = "" if result.is_music else " **too much**"
    return (
        f"| `{name}`{also} | {steps:,} | {seconds:.0f} | {result.nll:.2f} | "
        f"{result.held_out_nll:.2f} | {result.ratio:.2f}{verdict} | {result.notes:.1f} | "
        f"{result.held_out_notes:.1f} |"
    )


HEADER = (
    "| configuration | steps | CPU seconds | NLL of samples | of held-out music | ratio | "
    "notes a bar | in held-out music |\n" + "|---" * 8 + "|"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configs", help="names, joined by commas; default: all small ones")
    parser.add_argument("--folder", type=Path, default=Path("runs/first_tries"))
    parser.add_argument("--data_dir", help="as of magenta_lite.train")
    arguments = parser.parse_args()
    known = tiny_configs()
    names = arguments.configs.split(",") if arguments.configs else list(known)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    print(HEADER, flush=True)
    fine = True
    for name in names:
        run, seconds = trained(name, arguments.folder)
        collection = open_collection(run.config.data, run.config.converter, arguments.data_dir)
        result = measure(run, collection)
        fine &= result.is_music
        print(line(name, known.get(name, []), run.step, seconds, result), flush=True)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())

"""Trains a configuration with several seeds, and prints the spread of its numbers as Markdown.

python scripts/benchmarks/seeds.py --config=cat-mel_2bar_tiny [--seeds=1,2,3] [--folder=runs/seeds]
    [--metrics=ngram_nll_of_samples,leaps_of_samples,...] [--splits=validation,test]
    [--set train.steps=500 ...] [--data=FOLDER]

For each seed, `train` makes the run FOLDER/CONFIG-SEED, or continues it, and `evaluate` measures
it. The table has the mean of the seeds with the smallest and the largest value.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

ABOUT_THE_RUN = ("step", "data", "examples")  # in the results of `evaluate` beside its metrics


def measured(run_dir: Path, split: str, training: list[str]) -> dict[str, float]:
    """Returns the metrics of a run, which is trained and evaluated if need be."""
    path = run_dir / f"evaluation-{split}.json"
    if not path.exists():
        call("train", f"--run_dir={run_dir}", *training)
        call("evaluate", f"--run_dir={run_dir}", f"--split={split}")
    return json.loads(path.read_text())


def call(command: str, *arguments: str) -> None:
    """Runs a command of the package; its output goes to stderr."""
    command_line = [sys.executable, "-m", f"magenta_lite.{command}", *arguments]
    subprocess.run(command_line, check=True, stdout=sys.stderr)


def shown(values: list[float]) -> str:
    """Returns the mean of values with their range."""
    return f"{sum(values) / len(values):.4g} ({min(values):.4g} to {max(values):.4g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True)
    parser.add_argument("--seeds", default="1,2,3", help="joined by commas")
    parser.add_argument("--folder", type=Path, default=Path("runs/seeds"))
    parser.add_argument("--splits", default="test", help="joined by commas")
    parser.add_argument("--metrics", default="", help="joined by commas; default: all")
    parser.add_argument("--set", action="append", default=[], help="as of magenta_lite.train")
    parser.add_argument("--data", help="as of magenta_lite.train")
    arguments = parser.parse_args()
    seeds, splits = arguments.seeds.split(","), arguments.splits.split(",")
    training = [f"--config={arguments.config}", *(f"--set={each}" for each in arguments.set)]
    if arguments.data:
        training.append(f"--data={arguments.data}")
    print("| metric | " + " | ".join(splits) + " |\n" + "|---" * (1 + len(splits)) + "|")
    found = {}
    for split in splits:
        found[split] = [
            measured(
                arguments.folder / f"{arguments.config}-{seed}",
                split,
                [*training, f"--set=train.seed={seed}"],
            )
            for seed in seeds
        ]
    known = [name for name in found[splits[0]][0] if name not in ABOUT_THE_RUN]
    for name in arguments.metrics.split(",") if arguments.metrics else known:
        cells = (shown([numbers[name] for numbers in found[split]]) for split in splits)
        print(f"| `{name}` | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()

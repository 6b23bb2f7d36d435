"""Trains cat-mel_2bar on folk tunes, and evaluates it on test tunes at several steps.

python scripts/benchmarks/learning_curve.py --run_dir=runs/curve --at=2000,5000,10000 \\
    [--set train.precision=mixed_bfloat16 ...]

For each number of steps, `train` continues the run and `evaluate` measures it. Prints a Markdown
table and writes RUN_DIR/curve.json and RUN_DIR/curve.png.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

SETTINGS = ("train.batch_size=128", "train.learning_rate=3e-3", "train.checkpoint_every=500")
COLUMNS = (
    "nll_per_step",
    "accuracy",
    "free_running_accuracy",
    "reconstruction_accuracy",
    "onset_accuracy",
    "kl",
    "active_units",
    "interpolation_hamming",
)


def call(command: str, *arguments: str) -> None:
    """Runs a command of the package and shows its output."""
    subprocess.run([sys.executable, "-m", f"magenta_lite.{command}", *arguments], check=True)


def measure(run_dir: Path, steps: int, settings: list[str]) -> dict:
    """Trains until step `steps` and returns the metrics of `evaluate`."""
    chosen = [*SETTINGS, f"train.steps={steps}", *settings]
    flags = [part for setting in chosen for part in ("--set", setting)]
    # Schedules that scale with the steps would differ between the points of a curve.
    call("train", "--config=cat-mel_2bar", "--original", f"--run_dir={run_dir}", *flags)
    call("evaluate", f"--run_dir={run_dir}")
    return json.loads((run_dir / "evaluation-test.json").read_text())


def table(rows: list[dict]) -> str:
    """Returns the rows as a Markdown table."""
    lines = ["| steps | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for row in rows:
        values = (f"{row[c]:.3f}" if isinstance(row[c], float) else str(row[c]) for c in COLUMNS)
        lines.append(f"| {row['step']:,} | " + " | ".join(values) + " |")
    return "\n".join(lines)


def draw(rows: list[dict], path: Path) -> None:
    """Plots accuracies over steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), dpi=100)
    axes = figure.add_subplot()
    steps = [row["step"] for row in rows]
    for name in ("accuracy", "reconstruction_accuracy", "free_running_accuracy"):
        axes.plot(steps, [row[name] for row in rows], marker="o", label=name.replace("_", " "))
    axes.axhline(rows[0]["no_event_share"], color="0.6", linestyle="--", label="always 'no event'")
    axes.set(xlabel="steps of 128 examples", ylabel="share of test steps", ylim=(0.5, 1))
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run_dir", type=Path, required=True)
    parser.add_argument("--at", default="500,1000,2000", help="numbers of steps, rising")
    parser.add_argument("--set", action="append", default=[], help="as of magenta_lite.train")
    arguments = parser.parse_args()
    rows = []
    for steps in map(int, arguments.at.split(",")):
        rows.append(measure(arguments.run_dir, steps, arguments.set))
        (arguments.run_dir / "curve.json").write_text(json.dumps(rows, indent=2))
        draw(rows, arguments.run_dir / "curve.png")
        print(table(rows), flush=True)


if __name__ == "__main__":
    main()

"""Speed of exported models without XLA, as in TensorFlow Serving, beside `export --xla`.

python scripts/benchmarks/speed_serving.py [--configs=cat-mel_2bar,attention_rnn] [--rounds=3]

Exports an untrained model of each configuration twice, and calls the signature of rows of both in
turn. Prints the medians of the seconds of a call and their ratio. Machine and load are printed
first. The first calls, in which XLA compiles, are stated by themselves.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from speed import processor

import magenta_lite as ml
from magenta_lite.serving.saved_model import default_arguments, export_saved_model

CONFIGS = "cat-mel_2bar,attention_rnn,music_transformer_tiny,musenet_tiny"
ROWS = (1, 8)


def seconds_of(call: Callable[[], dict[str, Any]]) -> float:
    """Returns the time of a call in seconds."""
    start = time.perf_counter()
    for value in call().values():
        value.numpy()
    return time.perf_counter() - start


def exported(config: str) -> tuple[dict[bool, Any], dict[int, dict[str, Any]]]:
    """Returns the signatures with and without XLA, and their arguments for numbers of rows."""
    keras.utils.set_random_seed(0)
    settings = ml.get_config(config)
    with tempfile.TemporaryDirectory() as folder:
        run = ml.as_run(settings, ml.build_model(settings)).save(Path(folder) / "run")
        places = {
            xla: export_saved_model(run, Path(folder) / "exported", xla=xla)[0]
            for xla in (True, False)
        }
        loaded = {xla: tf.saved_model.load(str(place)) for xla, place in places.items()}
    arguments = {rows: default_arguments(run.model, run.converter, rows, 1.0, 7) for rows in ROWS}
    return loaded, arguments


def compare(config: str, rounds: int) -> None:
    """Prints a row of the table for each number of rows."""
    loaded, all_arguments = exported(config)
    for rows, arguments in all_arguments.items():
        calls = {
            xla: lambda model=model, given=arguments: model.signatures["serving_default"](**given)
            for xla, model in loaded.items()
        }
        first = {xla: seconds_of(call) for xla, call in calls.items()}
        times: dict[bool, list[float]] = {xla: [] for xla in calls}
        for _ in range(rounds):
            for xla, call in calls.items():
                times[xla].append(seconds_of(call))
        with_xla, without = (statistics.median(times[xla]) for xla in (True, False))
        ratios = np.divide(times[False], times[True])
        print(
            f"| `{config}` | {rows} | {without:.3g} | {with_xla:.3g} | {np.median(ratios):.2g} | "
            f"{first[False]:.2g} | {first[True]:.2g} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configs", default=CONFIGS)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    print(f"{processor()}, {cores} cores, load average {os.getloadavg()[0]:.1f}")
    print("| | rows | without XLA, s | with XLA, s | ratio | first without, s | first with, s |")
    print("|---|---|---|---|---|---|---|")
    for config in arguments.configs.split(","):
        compare(config, arguments.rounds)


if __name__ == "__main__":
    main()

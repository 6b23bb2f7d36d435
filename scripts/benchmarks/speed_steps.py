"""Sizes and speed of models exported for LiteRT and ONNX Runtime, beside Keras' own.

python scripts/benchmarks/speed_steps.py [--seconds=2] [CONFIGURATION …]

Prints a table of docs/export.md. Models are untrained. Steps are those of one piece, from the
first step on; Keras' own are those of the compiled loop of `sample`. No other programs should run
at the same time.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.families.building import build_model
from magenta_lite.serving import steps
from magenta_lite.serving.step_graphs import graphs_of
from magenta_lite.training.run import Run

CONFIGURATIONS = (
    "cat-mel_2bar_small",
    "attention_rnn",
    "performance_with_dynamics",
    "music_transformer",
)
FORMATS = [(name, bits) for name in steps.RUNTIMES for bits in ("none", "uint8")]


def untrained(name: str) -> Run:
    """Returns a model of a configuration, without a network that reads pieces."""
    config = get_config(name)
    converter = build_converter(config.converter)
    model: Any = build_model(config, converter)
    functions = model.step_functions()
    others = {key: value for key, value in functions.others.items() if key != "encode"}
    graphs = graphs_of(dataclasses.replace(functions, others=others))
    steps.graphs_of = lambda _: graphs  # traced once
    return Run(config, converter, model)


def steps_a_second(folder: Path, seconds: float) -> float:
    """Returns the steps a second of the sampler's `step`, from the first one on."""
    spec: Any = importlib.util.spec_from_file_location("sample", folder / "sample.py")
    sampler = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sampler)
    model = json.loads((folder / "model.json").read_text("utf-8"))
    step = sampler.load("step")
    values = {k: np.full(x["shape"], x["fill"], x["dtype"]) for k, x in model["states"].items()}
    event = np.zeros(model["functions"]["step"]["inputs"]["event"]["shape"])
    uniforms = np.full(model["uniforms"], 0.5)
    values |= {"event": event, "uniforms": uniforms, "temperature": 1.0}
    count, began = -1, 0.0
    while count < 1 or time.perf_counter() - began < seconds:
        found = step(values | {"position": count + 2})
        values |= {name.removeprefix("next_"): value for name, value in found.items()}
        count += 1
        began = began if count else time.perf_counter()  # without the first step
    return count / (time.perf_counter() - began)


def own_steps_a_second(run: Run, seconds: float) -> float:
    """Returns the steps a second of the model's own function of one piece, after a first call."""
    model: Any = run.model
    sample = model.signatures()["sample"]
    arguments = model.signature_arguments(1, 1.0, 0)
    sample(**arguments)
    count, began = 0, time.perf_counter()
    while not count or time.perf_counter() - began < seconds:
        arguments["seed"] = tf.constant(count)
        count += int(np.count_nonzero(_written(sample(**arguments)["events"].numpy()[0], model)))
    return count / (time.perf_counter() - began)


def _written(events: np.ndarray, model: Any) -> np.ndarray:
    """Returns which steps of a piece have been computed, not left after its end."""
    if hasattr(model, "length"):  # -1 follows the last event of a MelodyRNN
        return events.reshape(len(events), -1)[:, 0] >= 0
    return events > 0


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--seconds", type=float, default=2.0)
    flags.add_argument("configurations", nargs="*", default=CONFIGURATIONS)
    chosen = flags.parse_args()
    print("| model | Keras | LiteRT | LiteRT, 8 bits | ONNX | ONNX, 8 bits |")
    print("|---|---|---|---|---|---|")
    for name in chosen.configurations:
        run = untrained(name)
        weights = 4 * sum(np.prod(weight.shape) for weight in run.model.weights) / 1e6
        cells = [f"{weights:.1f} MB, {own_steps_a_second(run, chosen.seconds):,.0f}"]
        for runtime, quantize in FORMATS:
            with tempfile.TemporaryDirectory() as parent:
                folder = Path(parent) / "model"
                size = sum(steps.export_steps(run, folder, runtime, quantize).values()) / 1e6
                speed = steps_a_second(folder, chosen.seconds)
                cells.append(f"{size:.1f} MB, {speed:,.0f}")
        print(f"| `{name}` | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

"""Speed of training and sampling of cat-mel_2bar, compared with eager PyTorch.

python scripts/benchmarks/speed.py [--torch_python=PATH] [--rounds=3] [--threads=N]

Each measurement runs in a separate process, alternating between the two; the ratio is that of the
medians. Without PyTorch (`pip install torch`, or name an interpreter that has it), its columns are
empty. No other programs should run at the same time.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
# Case, batch size, precision, timed steps per process.
CASES = [
    ("train", 512, "float32", 8),
    ("train", 512, "bfloat16", 12),
    ("train", 64, "float32", 40),
    ("train", 64, "bfloat16", 60),
    ("sample", 64, "float32", 40),
    ("sample", 512, "float32", 10),
    ("sample", 64, "bfloat16", 40),
    ("sample", 512, "bfloat16", 10),
]


def measure_here(path: str, what: str, batch: int, precision: str, steps: int) -> float:
    """Returns examples (or samples) per second of magenta_lite, measured in this process."""
    import keras
    import tensorflow as tf

    from magenta_lite.config import get_config
    from magenta_lite.converters import build_converter
    from magenta_lite.data.pipeline import Batches
    from magenta_lite.families.building import build_model
    from magenta_lite.training.trainer import compile_model

    precision = {"bfloat16": "mixed_bfloat16"}.get(precision, precision)
    settings = [f"train.batch_size={batch}", f"train.precision={precision}"]
    config = get_config("cat-mel_2bar", settings)
    converter = build_converter(config.converter)
    keras.utils.set_random_seed(0)
    model = build_model(config, converter, precision)
    if what == "sample":
        sample = model.signatures()["sample"]
        arguments = {
            "num_outputs": tf.constant(batch),
            "temperature": tf.constant(0.5),
            "seed": tf.constant(0),
        }
        sample(**arguments)
        began = time.perf_counter()
        for _ in range(steps):
            sample(**arguments)["events"].numpy()
        return batch * steps / (time.perf_counter() - began)

    compile_model(model, config.train)
    events = np.load(path)
    batches = Batches(
        events=events,
        lengths=np.full(len(events), 32),
        batch_size=batch,
        seed=0,
        random_inputs=model.random_inputs(),
        transpose=config.data.transpose,
        pitch_ids=((0, 2, 89),),
    ).dataset()
    return batch * steps / training_seconds(model, batches, steps)


def training_seconds(model, batches, steps: int) -> float:
    """Returns the seconds of training steps after two warm-up steps."""
    iterator = iter(batches)
    model.make_train_function()
    for i in range(steps + 2):
        if i == 2:
            began = time.perf_counter()
        float(model.train_function(iterator)["loss"])
    return time.perf_counter() - began


def in_process(command: list[str]) -> float:
    """Returns the last number that a command prints."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.split()[-1])


def has_module(python: str, name: str) -> bool:
    """Returns whether an interpreter has a module."""
    return subprocess.run([python, "-c", f"import {name}"], capture_output=True).returncode == 0


def compare(file: str, text: str, measure, cases, script: str, unit: str) -> None:
    """Measures cases in magenta_lite and PyTorch alternately, and prints a Markdown table.

    Args:
        file: Path of the benchmark, which is called again for each measurement.
        text: Docstring of the benchmark.
        measure: Function of a case that returns `unit` per second of magenta_lite.
        cases: Tuples of a name and integers: batch size, length, timed steps.
        script: Script that takes a case as arguments and prints `unit` per second of PyTorch.
        unit: Unit of the measurement.
    """
    parser = argparse.ArgumentParser(description=text.splitlines()[0])
    parser.add_argument("--torch_python", default=sys.executable, help="interpreter with PyTorch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        what, *numbers = arguments.child
        print(measure(what, *map(int, numbers)))
        return
    torch = has_module(arguments.torch_python, "torch")
    cores = len(os.sched_getaffinity(0))
    print(f"{processor()}, {cores} cores, load average {os.getloadavg()[0]:.1f}")
    print(f"| what | batch | {unit} | magenta_lite, {unit}/s | PyTorch, {unit}/s | ratio |")
    print("|---|---|---|---|---|---|")
    for case in cases:
        texts = [*map(str, case)]
        ours, theirs = [], []
        for _ in range(arguments.rounds):
            ours.append(in_process([sys.executable, file, "--child", *texts]))
            if torch:
                # PyTorch is always measured in float32.
                words = [texts[0].split()[0], *texts[1:]]
                theirs.append(in_process([arguments.torch_python, str(HERE / script), *words]))
        print(f"| {case[0]} | {case[1]} | {case[2]} | {row(ours, theirs)} |", flush=True)
    print(f"load average at the end {os.getloadavg()[0]:.1f}; medians of {arguments.rounds}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch_python", default=sys.executable, help="interpreter with PyTorch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="cores to use; default: all")
    parser.add_argument("--data_dir", help="where built data sets are kept")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        path, what, batch, precision, steps = arguments.child
        print(measure_here(path, what, int(batch), precision, int(steps)))
        return
    if arguments.threads:
        os.sched_setaffinity(0, range(arguments.threads))

    from magenta_lite.config import get_config
    from magenta_lite.datasets import open_collection

    config = get_config("cat-mel_2bar")
    examples = open_collection(config.data, config.converter, arguments.data_dir).split("train")
    torch = has_module(arguments.torch_python, "torch")
    cores = len(os.sched_getaffinity(0))
    print(f"{processor()}, {cores} cores, load average {os.getloadavg()[0]:.1f}")
    print("| what | batch | precision | magenta_lite /s | PyTorch /s | ratio |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "events.npy")
        np.save(path, examples.events)
        for case in CASES:
            texts = [path, *map(str, case)]
            ours, theirs = [], []
            for _ in range(arguments.rounds):
                ours.append(in_process([sys.executable, __file__, "--child", *texts]))
                script = str(HERE / "torch_music_vae.py")
                if torch:
                    theirs.append(in_process([arguments.torch_python, script, *texts]))
            what, batch, precision, _ = case
            print(f"| {what} | {batch} | {precision} | {row(ours, theirs)} |", flush=True)
    print(f"load average at the end {os.getloadavg()[0]:.1f}")


def row(ours: list, theirs: list) -> str:
    """Returns the table cells of both medians and their ratio."""
    mine = statistics.median(ours)
    if not theirs:
        return f"{mine:,.0f} | | "
    other = statistics.median(theirs)
    return f"{mine:,.0f} | {other:,.0f} | {mine / other:.2f}"


def processor() -> str:
    """Returns the name of the processor."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


if __name__ == "__main__":
    main()

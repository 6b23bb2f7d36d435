"""Time and memory of training steps and sampling of the large MusicVAEs.

python scripts/benchmarks/large_models.py [--cases=train:hierdec-trio_16bar:8:float32,...]

Each case runs in a separate process on synthetic examples. Prints a Markdown table: seconds until
the end of the first step, seconds per step, examples (or pieces) per second, and the peak resident
memory of the process. No other programs should run at the same time.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time

CASES = (
    "train:cat-mel_2bar_big:64:float32",
    "train:cat-mel_2bar_big:64:bfloat16",
    "train:hierdec-trio_16bar:8:float32",
    "train:hierdec-trio_16bar:8:bfloat16",
    "train:hierdec-trio_16bar:8:float32:train.recompute=true",
    "train:hierdec-trio_16bar:32:float32:train.micro_batches=4",
    "sample:hierdec-trio_16bar:8:float32",
    "sample:hierdec-trio_16bar:64:float32",
)
STEPS = 3  # timed steps


def measure(what: str, name: str, batch: int, precision: str, *settings: str) -> tuple:
    """Returns seconds until the end of the first step, seconds per step, and peak memory in GiB."""
    began = time.perf_counter()
    import keras
    import numpy as np
    import tensorflow as tf

    from magenta_lite.config import get_config
    from magenta_lite.converters import build_converter
    from magenta_lite.data.collections import Examples
    from magenta_lite.data.pipeline import batches_for
    from magenta_lite.families.building import build_model
    from magenta_lite.testing.events import made_up_events
    from magenta_lite.training.trainer import compile_model

    precision = {"bfloat16": "mixed_bfloat16"}.get(precision, precision)
    config = get_config(
        name, [f"train.batch_size={batch}", f"train.precision={precision}", *settings]
    )
    converter = build_converter(config.converter)
    keras.utils.set_random_seed(0)
    model = build_model(config, converter, precision)
    if what == "sample":
        sample, arguments = (
            model.signatures()["sample"],
            model.signature_arguments(batch, 0.5, 0),
        )

        def step():
            sample(**arguments)["events"].numpy()
    else:
        compile_model(model, config.train)
        steps = converter.window_steps
        examples = Examples(
            made_up_events(converter.event_format, 2 * batch, steps),
            np.full(2 * batch, steps, np.int32),
            None,
        )
        batches = batches_for(
            converter, examples, batch_size=batch, seed=0, random_inputs=model.random_inputs()
        ).dataset()
        iterator = iter(batches)
        model.make_train_function()

        def step():
            float(model.train_function(iterator)["loss"])

    tf.config.list_physical_devices()
    step()
    first = time.perf_counter() - began
    step()
    began = time.perf_counter()
    for _ in range(STEPS):
        step()
    seconds = (time.perf_counter() - began) / STEPS
    return first, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        what, name, batch, precision, *settings = arguments.child.split(":")
        print(*measure(what, name, int(batch), precision, *settings))
        return
    cores = len(os.sched_getaffinity(0))
    print(f"{cores} cores, load average {os.getloadavg()[0]:.1f}")
    print("| what | config | batch | precision | first step, s | a step, s | a second | GiB |")
    print("|---|---|---|---|---|---|---|---|")
    for case in arguments.cases.split(","):
        command = [sys.executable, __file__, "--child", case]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        first, seconds, memory = map(float, done.stdout.split()[-3:])
        what, name, batch, precision, *settings = case.split(":")
        rate = int(batch) / seconds
        print(
            f"| {what} {' '.join(settings)} | {name} | {batch} | {precision} | {first:.0f} | "
            f"{seconds:.2f} | {rate:.2f} | {memory:.1f} |",
            flush=True,
        )
    print(f"load average at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

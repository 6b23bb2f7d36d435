"""How fast attention_rnn trains and generates, beside the same network in eager PyTorch.

python scripts/benchmarks/speed_melody_rnn.py [--torch_python=PATH] [--rounds=3]

Each measurement is a process of its own; the two sides take turns, and the ratio is that of
medians. Where PyTorch is not installed its columns stay empty. Let nothing else run meanwhile.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
from speed import has_torch, in_process, processor, row

HERE = Path(__file__).parent
# What, batch, events of each melody, steps a process counts.
CASES = [
    ("train", 128, 128, 8),
    ("generate", 1, 1024, 4),
    ("generate", 128, 512, 4),
]


def measure_here(what: str, batch: int, events: int, steps: int) -> float:
    """Returns events a second of magenta_lite, in this process."""
    import keras
    import tensorflow as tf

    from magenta_lite.config import get_config
    from magenta_lite.data.pipeline import Batches
    from magenta_lite.encoders import build_encoder
    from magenta_lite.models.building import build_model
    from magenta_lite.models.melody_rnn.inference import inference_functions
    from magenta_lite.training.trainer import compile_model

    config = get_config("attention_rnn", [f"encoder.max_steps={events}"])
    encoder = build_encoder(config.encoder)
    keras.utils.set_random_seed(0)
    model = build_model(config, encoder)
    if what == "generate":
        generate = inference_functions(model)["generate"]
        arguments = {
            "primer": tf.constant([model.encoding.start_id]),
            "num_outputs": tf.constant(batch),
            "num_steps": tf.constant(events),
            "temperature": tf.constant(1.0),
            "top_k": tf.constant(0),
            "top_p": tf.constant(1.0),
            "seed": tf.constant(0),
        }
        generate(**arguments)
        began = time.perf_counter()
        for _ in range(steps):
            generate(**arguments)["events"].numpy()
        return batch * events * steps / (time.perf_counter() - began)

    compile_model(model, config.train)
    melodies = np.random.default_rng(0).integers(0, encoder.depth, size=(1024, events))
    batches = Batches(
        events=melodies.astype(np.uint8),
        lengths=np.full(len(melodies), events, np.int32),
        batch_size=batch,
        seed=0,
        draws=model.draws(),
    ).dataset()
    iterator = iter(batches)
    model.make_train_function()
    for i in range(steps + 2):
        if i == 2:
            began = time.perf_counter()
        float(model.train_function(iterator)["loss"])
    return batch * events * steps / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch_python", default=sys.executable, help="interpreter with PyTorch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        what, *numbers = arguments.child
        print(measure_here(what, *map(int, numbers)))
        return
    torch = has_torch(arguments.torch_python)
    cores = len(os.sched_getaffinity(0))
    print(f"{processor()}, {cores} cores, load average {os.getloadavg()[0]:.1f}")
    print("| what | batch | events | magenta_lite, events/s | PyTorch, events/s | ratio |")
    print("|---|---|---|---|---|---|")
    for case in CASES:
        texts = [*map(str, case)]
        ours, theirs = [], []
        for _ in range(arguments.rounds):
            ours.append(in_process([sys.executable, __file__, "--child", *texts]))
            script = str(HERE / "torch_melody_rnn.py")
            if torch:
                theirs.append(in_process([arguments.torch_python, script, *texts]))
        print(f"| {case[0]} | {case[1]} | {case[2]} | {row(ours, theirs)} |", flush=True)
    print(f"load average at the end {os.getloadavg()[0]:.1f}; medians of {arguments.rounds}")


if __name__ == "__main__":
    main()

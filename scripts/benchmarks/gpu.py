"""Speed of training and generation of all families on a GPU, within ten minutes.

python scripts/benchmarks/gpu.py [--minutes=10] [--configs=cat-mel_2bar:512,attention_rnn:128]

Each configuration, with the batch size after its colon, is trained on random numbers for a few
steps in float32 and in bfloat16, with and without XLA over the whole step; then its default
signature generates with and without XLA. Each measurement runs in a separate process, and what does
not fit into the minutes is left out with a line. Prints a Markdown table: seconds until the end of
the first step, milliseconds of a step, examples a second, and the peak memory of the GPU. It runs
on CPUs, too, where XLA over the whole step takes minutes to compile.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
from speed import processor

CONFIGS = (
    "cat-mel_2bar:512",
    "hierdec-trio_16bar:32",
    "groovae_2bar_humanize:512",
    "attention_rnn:128",
    "performance_with_dynamics:64",
    "music_transformer:8",
    "musenet_small:8",
    "vqvae_mini:16",
    "jukebox_prior_mini:16",
    "jukebox_upsampler_mini:16",
    "jukebox_delay_mini:16",
)
PRECISIONS = ("float32", "mixed_bfloat16")
STEPS, CALLS = 20, 3  # timed
GENERATED = 8  # rows


def random_batch(model, config, converter, size: int) -> dict[str, np.ndarray]:
    """Returns a batch of random examples, as long as those of training, without random inputs."""
    from magenta_lite.testing.events import made_up_chords, made_up_events

    rng, kind = np.random.default_rng(0), config.converter.kind
    if kind == "codes":
        return random_codes(model.sizes, size, rng)
    steps = getattr(config.converter, "crop", 0) or converter.window_steps
    batch = {"length": np.full(size, steps, np.int32)}
    if kind == "audio":
        clips = rng.uniform(-0.5, 0.5, (size, steps, model.sizes.channels))
        return batch | {"events": clips.astype(np.float32)}
    if kind == "musenet":
        parts = [rng.integers(1, most, (size, steps), np.int32) for most in (3000, 100, 100)]
        return batch | {"events": np.stack(parts, axis=2)}
    events = made_up_events(converter.event_format, size, steps)
    batch["events"] = events if events.dtype == np.float32 else events.astype(np.int32)
    if converter.event_format.control == "chords":
        batch["controls"] = made_up_chords(size, steps).astype(np.int32)
    return batch


def random_codes(sizes, size: int, rng) -> dict[str, np.ndarray]:
    """Returns a batch of random codes for one of Jukebox's priors."""

    def codes(*shape):
        return rng.integers(0, sizes.codes, (size, *shape), np.int32)

    batch = {"length": np.full(size, sizes.context, np.int32)}
    if sizes.quantizers > 1:
        return batch | {"events": codes(sizes.context, sizes.quantizers)}
    batch["events"] = codes(sizes.context)
    if sizes.labelled:
        labels = np.tile(np.array([[1000, 0, 256, 1, 2]], np.int32), (size, 1))
        lyrics = rng.integers(1, 9, (size, sizes.lyric_tokens), np.int32)
        batch["labels"] = np.concatenate([labels, lyrics], axis=1)
    if sizes.above_ratio > 1:
        batch["above"] = codes(sizes.context // sizes.above_ratio)
    return batch


def measure(name: str, size: int, what: str, precision: str, xla: bool) -> tuple[float, ...]:
    """Returns the seconds of the first step (or call) and of the others, and GiB of the GPU."""
    import keras
    import tensorflow as tf

    import magenta_lite as ml
    from magenta_lite.converters import build_converter
    from magenta_lite.families.building import build_model
    from magenta_lite.graphs import on_gpu

    config = ml.get_config(name, [f"train.batch_size={size}", f"train.precision={precision}"])
    converter = build_converter(config.converter)
    keras.utils.set_random_seed(0)
    model = build_model(config, converter, precision)
    begin = training if what == "train" else generation
    step = begin(model, config, converter, xla)
    began = time.perf_counter()
    step()
    first = time.perf_counter() - began
    times = []
    for _ in range(STEPS if what == "train" else CALLS):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    peak = tf.config.experimental.get_memory_info("GPU:0")["peak"] if on_gpu() else 0
    return first, statistics.median(times), peak / 2**30


def training(model, config, converter, xla: bool) -> Callable[[], object]:
    """Returns a function that takes a training step."""
    import tensorflow as tf

    from magenta_lite.training.trainer import compile_model

    compile_model(model, config.train)
    model.jit_compile = xla
    batch = random_batch(model, config, converter, config.train.batch_size)
    if config.converter.kind == "audio":
        model.measure_bandwidth(batch["events"])
    batch = model.with_random_inputs({name: tf.constant(x) for name, x in batch.items()})
    batches = iter(tf.data.Dataset.from_tensors(batch).repeat())
    model.make_train_function()
    return lambda: float(model.train_function(batches)["loss"])


def generation(model, config, converter, xla: bool) -> Callable[[], object]:
    """Returns a function that calls the default signature."""
    from magenta_lite.graphs import without_xla
    from magenta_lite.serving.saved_model import default_arguments, signatures

    arguments = default_arguments(model, converter, GENERATED, 1.0, 0)
    with contextlib.nullcontext() if xla else without_xla():
        signature = signatures(model, converter)["serving_default"].get_concrete_function()
    return lambda: [value.numpy() for value in signature(**arguments).values()]


def cases(configs: str) -> Iterator[tuple[str, str, str, str, str]]:
    """Returns name, batch size, what, precision and XLA of all measurements, in order."""
    for config in configs.split(","):
        name, size = config.split(":")
        for precision in PRECISIONS:
            for xla in ("no", "yes"):
                yield name, size, "train", precision, xla
        for xla in ("no", "yes"):
            yield name, str(GENERATED), "generate", PRECISIONS[0], xla


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configs", default=",".join(CONFIGS))
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, size, what, precision, xla = arguments.child
        print(*measure(name, int(size), what, precision, xla == "yes"))
        return
    ends = time.monotonic() + 60 * arguments.minutes
    gpus = ""
    if shutil.which("nvidia-smi"):
        gpus = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout.strip()
    cores = len(os.sched_getaffinity(0))
    print(f"{gpus or 'no GPU'}; {processor()}, {cores} cores and threads, ", end="")
    print(f"load average {os.getloadavg()[0]:.1f}\n")
    print("| what | config | batch | precision | XLA | first, s | a step, ms | a second | GiB |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for case in cases(arguments.configs):
        name, size, what, precision, xla = case
        cells = f"| {what} | {name} | {size} | {precision} | {xla} |"
        left = ends - time.monotonic()
        if left <= 0:
            print(f"{cells} no time left | | | |")
            continue
        command = [sys.executable, __file__, "--child", *case]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=left)
        except subprocess.TimeoutExpired:
            print(f"{cells} no time left | | | |", flush=True)
            continue
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1:] or ["killed"]
            print(f"{cells} {reason[0]:.80} | | | |", flush=True)
            continue
        first, seconds, memory = map(float, done.stdout.split()[-3:])
        rate = int(size) / seconds
        print(
            f"{cells} {first:.1f} | {1000 * seconds:.1f} | {rate:,.0f} | {memory:.1f} |", flush=True
        )
    print(f"\nload average at the end {os.getloadavg()[0]:.1f}; medians of {STEPS} steps")


if __name__ == "__main__":
    main()

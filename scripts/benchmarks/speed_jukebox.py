"""Speed of a VQ-VAE compared with PyTorch, and of cached decoding compared with recomputation.

python scripts/benchmarks/speed_jukebox.py [--torch_python=PATH] [--rounds=3]

vqvae_mini trains on clips of half a second, and encodes 10 s to level 0 and decodes them; the
comparison is the same network with vector-quantize-pytorch. jukebox_prior_mini generates its
context of 512 codes with a cache; the comparison recomputes the whole context for every code. Each
measurement runs in a separate process, alternating between the two; the ratio is that of the
medians. Without PyTorch and vector-quantize-pytorch (`pip install torch vector-quantize-pytorch`,
or name an interpreter that has them) their column is empty. No other programs should run at the
same time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time

import numpy as np
from speed import HERE, has_module, in_process, processor, training_seconds

SECONDS, CLIPS, TEMPERATURE = 10, 64, 0.99
# Case, batch size, timed steps per process.
BESIDE_TORCH = [("train", 4, 20), ("code", 1, 10)]
# Batch size; contexts generated with the cache; codes generated without it, which all take the same
# time.
CACHED = [(1, 8, 128), (8, 4, 64)]


def build(name: str):
    """Returns the untrained model of a config, and the config."""
    import keras

    from magenta_lite.config import get_config
    from magenta_lite.converters import build_converter
    from magenta_lite.families.building import build_model

    config = get_config(name)
    keras.utils.set_random_seed(0)
    return build_model(config, build_converter(config.converter)), config


def noise(*shape: int) -> np.ndarray:
    """Returns noise as 16-bit integers."""
    return (3277 * np.random.default_rng(0).standard_normal(shape)).astype(np.int16)


def train(batch: int, steps: int) -> float:
    """Returns the training speed in seconds of sound per second."""
    from magenta_lite.data.pipeline import Batches
    from magenta_lite.families.vqvae.losses import sound_of
    from magenta_lite.training.trainer import compile_model

    model, config = build("vqvae_mini")
    compile_model(model, config.train)
    crop = config.converter.crop
    sound = noise(CLIPS, 2 * crop, 1)
    model.measure_bandwidth(sound_of(sound[:, :crop]).numpy())
    lengths = np.full(CLIPS, 2 * crop, np.int32)
    batches = Batches(
        sound, lengths, batch_size=batch, seed=0, random_inputs=model.random_inputs(), crop=crop
    ).dataset()
    return batch * crop / model.sample_rate * steps / training_seconds(model, batches, steps)


def code(batch: int, steps: int) -> float:
    """Returns the speed of encoding to level 0 and decoding, in seconds of sound per second."""
    import tensorflow as tf

    from magenta_lite.graphs import graph_function

    model, _ = build("vqvae_mini")
    encode = graph_function(lambda sound: model.encode_level(sound, 0))
    decode = graph_function(lambda codes: model.decode(codes, 0))
    sound = tf.constant(noise(batch, SECONDS * model.sample_rate, 1))
    for i in range(steps + 1):
        if i == 1:
            began = time.perf_counter()
        decode(encode(sound)).numpy()
    return batch * SECONDS * steps / (time.perf_counter() - began)


def cached(batch: int, contexts: int) -> float:
    """Returns codes per second of generating whole contexts with the cache, as in `generate`."""
    from magenta_lite.families.jukebox.sampling import row_seeds, write_window
    from magenta_lite.modeling.sampling import Sampler

    model, _ = build("jukebox_prior_mini")
    labels = model.signature_arguments(batch, TEMPERATURE, 0)["labels"].numpy()
    nothing, context = np.zeros((batch, 0), np.int32), model.sizes.context
    for i in range(contexts + 1):
        if i == 1:
            began = time.perf_counter()
        seeds = row_seeds(i, batch, 0)
        write_window(model, nothing, context, seeds, Sampler(TEMPERATURE), labels)
    return batch * context * contexts / (time.perf_counter() - began)


def recomputed(batch: int, codes: int) -> float:
    """Returns codes per second of generation that recomputes the whole context for each code."""
    import tensorflow as tf

    from magenta_lite.graphs import graph_function
    from magenta_lite.modeling.sampling import Sampler

    model, _ = build("jukebox_prior_mini")
    labels = model.signature_arguments(batch, TEMPERATURE, 0)["labels"]

    @graph_function(jit_compile=True)
    def write(ids, uniforms):
        def step(position, ids):
            logits = model({"events": ids, "labels": labels})[:, position]
            drawn, _ = Sampler(TEMPERATURE).draw(logits, uniforms[:, position])
            new = tf.range(ids.shape[1]) == position
            return position + 1, tf.where(new, drawn[:, None], ids)

        return tf.while_loop(lambda position, _: position < codes, step, (0, ids))[1]

    ids = tf.zeros([batch, model.sizes.context], tf.int32)
    uniforms = tf.random.stateless_uniform(ids.shape, [0, 0])
    write(ids, uniforms).numpy()
    began = time.perf_counter()
    write(ids, uniforms).numpy()
    return batch * codes / (time.perf_counter() - began)


MEASURES = {"train": train, "code": code, "cached": cached, "recomputed": recomputed}


def here(*case) -> list[str]:
    """Returns the command that measures a case of magenta_lite."""
    return [sys.executable, __file__, "--child", *map(str, case)]


def in_turns(rounds: int, ours: list[str], others: list[str] | None) -> str:
    """Returns the table cells of the medians of two commands and their ratio."""
    sides = [ours, others] if others else [ours]
    numbers = [[in_process(side) for side in sides] for _ in range(rounds)]
    medians = [statistics.median(side) for side in zip(*numbers, strict=True)]
    if not others:
        return f"{medians[0]:,.1f} | | "
    mine, other = medians
    return f"{mine:,.1f} | {other:,.1f} | {mine / other:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch_python", default=sys.executable, help="interpreter with PyTorch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        what, *numbers = arguments.child
        print(MEASURES[what](*map(int, numbers)))
        return
    rounds, torch = arguments.rounds, has_module(arguments.torch_python, "vector_quantize_pytorch")
    cores = len(os.sched_getaffinity(0))
    print(f"{processor()}, {cores} cores and threads, load average {os.getloadavg()[0]:.1f}\n")
    print("| what | batch | magenta_lite, s of sound/s | PyTorch, s of sound/s | ratio |")
    print("|---|---|---|---|---|")
    for case in BESIDE_TORCH:
        script = [arguments.torch_python, str(HERE / "torch_vqvae.py"), *map(str, case)]
        cells = in_turns(rounds, here(*case), script if torch else None)
        print(f"| {case[0]} | {case[1]} | {cells} |", flush=True)
    print("\n| what | batch | with the cache, codes/s | recomputing, codes/s | ratio |")
    print("|---|---|---|---|---|")
    for batch, contexts, codes in CACHED:
        sides = here("cached", batch, contexts), here("recomputed", batch, codes)
        print(f"| write | {batch} | {in_turns(rounds, *sides)} |", flush=True)
    print(f"\nload average at the end {os.getloadavg()[0]:.1f}; medians of {rounds}")


if __name__ == "__main__":
    main()

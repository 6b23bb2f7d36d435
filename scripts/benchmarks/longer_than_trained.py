"""Measures how well Music Transformers predict beyond the length they were trained on.

python scripts/benchmarks/longer_than_trained.py --data=FOLDER --run_dir=runs/longer \\
    [--steps=800] [--length=256]

Trains three models of the same size on FOLDER, whose folders train, validation and test are its
splits (for ASAP, `--asap=asap.zip` fills them by title): relative attention without and with
sinusoidal position encodings, and learned position embeddings. Then measures the test NLL by
position up to twice the training length, with attention to all earlier tokens, and with attention
limited to the training length, as `generate` does when a context is full. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

SIZES = (
    "model.layers=4",
    "model.hidden_size=192",
    "model.key_size=192",
    "model.filter_size=768",
    "model.heads=4",
    "model.dropout=0.1",
    "train.batch_size=8",
    "train.schedule=cosine",
    "train.learning_rate=2e-3",
    "train.min_learning_rate=1e-5",
    "train.warmup_steps=100",
    "train.clip_norm=1",
    "converter.stretches=[1.0]",
)
MODELS = {
    "relative": ("model.attention=relative", "model.sines=false"),
    "relative and sines": ("model.attention=relative",),
    "learned": ("model.attention=learned",),
}
ROWS = 8


def split_by_title(archive: str, folder: Path) -> None:
    """Unpacks an archive of ASAP into folders of splits; a title is in one split only."""
    with zipfile.ZipFile(archive) as asap:
        table = next(name for name in asap.namelist() if name.endswith("metadata.csv"))
        root = table.removesuffix("metadata.csv")
        for row in csv.DictReader(io.StringIO(asap.read(table).decode())):
            title = f"{row['composer']} {row['title']}"
            share = hashlib.sha256(title.encode()).digest()[0] / 256
            split = "test" if share < 0.12 else "validation" if share < 0.2 else "train"
            name = row["midi_performance"]
            target = folder / split / name.replace("/", "-")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(asap.read(root + name))


def train(name: str, arguments) -> Path:
    """Returns the run directory of a trained model."""
    run_dir = Path(arguments.run_dir) / name.replace(" ", "_")
    length = arguments.length
    chosen = [
        *SIZES,
        f"converter.crop={length}",
        *MODELS[name],
        # Half of the length, as in the paper: larger distances are rare in training.
        f"model.max_relative_position={length // 2}",
        f"model.positions={2 * length}",
        f"train.steps={arguments.steps}",
        f"train.checkpoint_every={arguments.steps}",
    ]
    flags = [part for setting in chosen for part in ("--set", setting)]
    command = ["--config=music_transformer", f"--data={arguments.data}", f"--run_dir={run_dir}"]
    subprocess.run([sys.executable, "-m", "magenta_lite.train", *command, *flags], check=True)
    return run_dir


def nll_by_position(run_dir: Path, data: str, length: int, in_sight: int) -> np.ndarray:
    """Returns the mean test NLL in nats at each position, float (2 * length,).

    Every layer attends to the last `in_sight` tokens.
    """
    import tensorflow as tf

    from magenta_lite.config import DataConfig
    from magenta_lite.datasets import open_collection
    from magenta_lite.families.music_transformer.model import token_nll
    from magenta_lite.training.run import load_run

    run = load_run(run_dir)
    examples = open_collection(DataConfig(source=data), run.config.converter).split("test")
    whole = examples.events[examples.lengths == 2 * length].astype(np.int32)
    sums = np.zeros(2 * length)
    distance = np.subtract.outer(np.arange(2 * length), np.arange(2 * length))
    bias = tf.constant(np.where((distance < 0) | (distance >= in_sight), -1e9, 0.0), tf.float32)
    for start in range(0, len(whole) - len(whole) % ROWS, ROWS):
        ids = tf.constant(whole[start : start + ROWS])
        x = run.model.embed_shifted(ids)
        for layer in run.model.decoder:
            x = layer(x, bias)
        nll, _ = token_nll(ids, run.model.logits(x))
        sums += nll.numpy().sum(axis=0)
    return sums / (len(whole) - len(whole) % ROWS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="folder with train, validation and test")
    parser.add_argument("--asap", help="archive of ASAP that fills the folder first")
    parser.add_argument("--run_dir", default="runs/longer")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--length", type=int, default=256, help="tokens of a training example")
    arguments = parser.parse_args()
    if arguments.asap:
        split_by_title(arguments.asap, Path(arguments.data))
    length = arguments.length
    print(f"| positions | in sight | NLL at 1-{length} | NLL at {length + 1}-{2 * length} |")
    print("|---|---|---|---|")
    for name in MODELS:
        run_dir = train(name, arguments)
        for in_sight in (2 * length, length):
            nll = nll_by_position(run_dir, arguments.data, length, in_sight)
            first, second = nll[:length].mean(), nll[length:].mean()
            print(f"| {name} | {in_sight} | {first:.3f} | {second:.3f} |", flush=True)


if __name__ == "__main__":
    main()

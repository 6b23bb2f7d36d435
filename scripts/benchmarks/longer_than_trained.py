"""Measures how well Music Transformers predict beyond the length they were trained on.

python scripts/benchmarks/longer_than_trained.py --data=FOLDER --run_dir=runs/longer \\
    [--config=music_transformer_tiny] [--steps=800] [--length=256]

Trains three models of the same size on FOLDER, whose folders train, validation and test are its
splits (for ASAP, `--asap=asap.zip` fills them by title), or on another source of `train --data`:
relative attention without and with sinusoidal position encodings, and learned position embeddings.
Then measures the test NLL by position up to twice the training length: with attention to all
earlier tokens; limited to the training length, as with a cache that forgets the oldest tokens; and
with the last half of a full context read again from position 0, as `generate` does. Prints a
Markdown table. With --config=music_transformer the models have four layers of 192 units.

python scripts/benchmarks/longer_than_trained.py --trained=runs/jsb [--data=SOURCE]

The same measurement of an existing run.
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
        *(SIZES if arguments.config == "music_transformer" else ()),
        f"converter.crop={length}",
        "converter.infill=0",
        *MODELS[name],
        # Half of the length, as in the paper: larger distances are rare in training.
        f"model.max_relative_position={length // 2}",
        f"model.positions={2 * length}",
        f"train.steps={arguments.steps}",
        f"train.checkpoint_every={arguments.steps}",
    ]
    flags = [part for setting in chosen for part in ("--set", setting)]
    command = [f"--config={arguments.config}", f"--data={arguments.data}", f"--run_dir={run_dir}"]
    subprocess.run([sys.executable, "-m", "magenta_lite.train", *command, *flags], check=True)
    return run_dir


def nll_by_position(run_dir: Path, data: str, length: int, in_sight: int) -> np.ndarray:
    """Returns the mean test NLL in nats at each position, float (2 * length,).

    Every layer attends to the last `in_sight` tokens; 0 for a context of at most `length` tokens,
    of which the last half is read again when it is full.
    """
    import tensorflow as tf

    from magenta_lite.config import DataConfig
    from magenta_lite.datasets import open_collection
    from magenta_lite.families.music_transformer.model import token_nll
    from magenta_lite.training.run import load_run

    run = load_run(run_dir)
    examples = open_collection(DataConfig(source=data), run.config.converter).split("test")
    whole = np.stack(
        [
            np.asarray(row, np.int32)
            for row, n in zip(examples.events, examples.lengths, strict=True)
            if n == 2 * length
        ]
    )
    whole = whole[: len(whole) - len(whole) % ROWS]

    def nll(start: int, stop: int, in_sight: int) -> np.ndarray:
        distance = np.subtract.outer(np.arange(stop - start), np.arange(stop - start))
        bias = np.where((distance < 0) | (distance >= in_sight), -1e9, 0.0).astype(np.float32)
        sums = np.zeros(stop - start)
        for row in range(0, len(whole), ROWS):
            ids = tf.constant(whole[row : row + ROWS, start:stop])
            x, pitches = run.model.embed_shifted(ids), None
            if run.model.sizes.relative_pitch:
                before = tf.pad(ids, [[0, 0], [1, 0]])[:, :-1]
                pitches = tf.gather(run.model.pitch_numbers, before)
            for layer in run.model.decoder:
                x = layer(x, bias, pitches=pitches)
            sums += token_nll(ids, run.model.logits(x))[0].numpy().sum(axis=0)
        return sums / len(whole)

    if in_sight:
        return nll(0, 2 * length, in_sight)
    half = length // 2
    later = [nll(start, start + length, length)[half:] for start in (half, length)]
    return np.concatenate([nll(0, length, length), *later])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder with train, validation and test")
    parser.add_argument("--trained", help="a run to measure instead of training")
    parser.add_argument("--asap", help="archive of ASAP that fills the folder first")
    parser.add_argument("--run_dir", default="runs/longer")
    parser.add_argument(
        "--config",
        default="music_transformer",
        choices=("music_transformer", "music_transformer_tiny"),
    )
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--length", type=int, default=256, help="tokens of a training example")
    arguments = parser.parse_args()
    if not arguments.data and (arguments.asap or not arguments.trained):
        parser.error("--data is needed, unless there is only --trained")
    if arguments.asap:
        split_by_title(arguments.asap, Path(arguments.data))
    length, models, data = arguments.length, list(MODELS), arguments.data
    if arguments.trained:
        from magenta_lite.config import load_config

        config = load_config(Path(arguments.trained) / "config.yaml")
        length, models, data = config.converter.crop, [""], data or config.data.source
    print(f"| positions | context | NLL at 1-{length} | NLL at {length + 1}-{2 * length} |")
    print("|---|---|---|---|")
    for name in models:
        run_dir = train(name, arguments) if name else Path(arguments.trained)
        contexts = {"all": 2 * length, f"the last {length}": length, "last half read again": 0}
        for context, in_sight in contexts.items():
            nll = nll_by_position(run_dir, data, length, in_sight)
            first, second = nll[:length].mean(), nll[length:].mean()
            print(f"| {name} | {context} | {first:.3f} | {second:.3f} |", flush=True)


if __name__ == "__main__":
    main()

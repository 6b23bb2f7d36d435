"""Compares a trained MuseNet on held-out songs with a GPT-2 on REMI tokens.

python scripts/benchmarks/musenet_baseline.py --run_dir=runs/musenet_tiny \\
    [--torch_python=PATH] [--folder=baseline]

The baseline (torch_remi.py, which needs PyTorch, transformers and MidiTok) trains on the same
songs, played by the same ten instruments, with the same numbers of steps, tokens and weights. Both
predict tokens from their context. Bits per bar are comparable, as both have the same bars, but the
resolutions differ: MuseNet's tokens have times to 10 ms and the velocities of pianos, REMI's have
times to an eighth of a beat and all velocities.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

from magenta_lite.converters.musenet import codec, vocabulary
from magenta_lite.data.naming import list_source
from magenta_lite.datasets import open_collection
from magenta_lite.families.musenet.grammar import Constraints
from magenta_lite.modeling import decoding
from magenta_lite.modeling.sampling import Sampler
from magenta_lite.training.run import load_run

WRITTEN = 10


def export(sequence, path: Path) -> int:
    """Writes a song for the ten instruments, and returns its number of bars."""
    from note_seq import midi_io

    # Only notes: other events would be assigned to the wrong instrument after renumbering.
    for field in ("control_changes", "pitch_bends", "instrument_infos"):
        sequence.ClearField(field)
    for note in sequence.notes:
        instrument = vocabulary.instrument_of(note.program, note.is_drum)
        note.program = instrument.program
        note.instrument = vocabulary.INSTRUMENTS.index(instrument)
    midi = midi_io.note_sequence_to_pretty_midi(sequence)
    if sum(len(each.notes) for each in midi.instruments) != len(sequence.notes):
        raise ValueError(f"{path} would not have all {len(sequence.notes)} notes")
    path.parent.mkdir(parents=True, exist_ok=True)
    midi.write(str(path))
    return int((midi.get_downbeats() < sequence.total_time).sum())


def export_all(source: str, pieces: dict[str, set[str]], folder: Path) -> int:
    """Writes the songs of each split, and returns the number of bars of the test songs."""
    bars, songs = 0, 0
    for piece in (piece for file in list_source(source)[0] for piece in file.read()[0]):
        for split, names in pieces.items():
            if piece.name in names:
                count = export(piece.sequence, folder / split / f"{songs:05}.mid")
                bars, songs = bars + (count if split == "test" else 0), songs + 1
    return bars


def written(model) -> tuple[float, float]:
    """Returns the speed of generating full contexts in tokens/s, and the share of valid tokens."""
    import numpy as np
    import tensorflow as tf

    front = [vocabulary.UNSPECIFIED, vocabulary.UNSPECIFIED, vocabulary.START]
    anything = Constraints(0, np.ones(vocabulary.SIZE, bool))
    length = model.sizes.positions

    @tf.function(autograph=False)
    def sample(seed):
        return decoding.sample(model, front, 1, length, seed, Sampler(), anything)[0]

    sample(tf.constant(0))
    count, right, began = 0, 0, time.perf_counter()
    for seed in range(WRITTEN):
        row = np.trim_zeros(sample(tf.constant(seed)).numpy()[0], "b")
        count += len(row)
        right += len(row) - codec.decode(row).unmatched
    return count / (time.perf_counter() - began), right / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run_dir", type=Path, required=True)
    parser.add_argument("--torch_python", default=sys.executable)
    parser.add_argument("--folder", type=Path, default=Path("baseline"))
    arguments = parser.parse_args()
    run = load_run(arguments.run_dir)
    config = run.config
    collection = open_collection(config.data, config.converter)
    pieces = {name: set(collection.split(name).pieces) for name in ("train", "test")}
    bars = export_all(config.data.source, pieces, arguments.folder)
    print(f"{ {name: len(names) for name, names in pieces.items()} } songs, {bars} test bars")
    ours = run.model.measure(collection.split("test"), 0)
    speed, valid = written(run.model)
    weights = run.model.count_params()
    print(f"load average {os.getloadavg()[0]:.1f}", file=sys.stderr)
    command = [
        arguments.torch_python,
        str(Path(__file__).with_name("torch_remi.py")),
        str(arguments.folder),
        str(weights),
        str(config.train.steps),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    theirs = json.loads(done.stdout.splitlines()[-1])
    bits = ours["nll_per_token"] * ours["tokens"] / math.log(2)
    print("| | weights | test tokens | bits a bar | tokens a second written | valid tokens |")
    print("|---|---|---|---|---|---|")
    for name, row in (
        (config.name, (weights, ours["tokens"], bits / bars, speed, valid)),
        (
            "REMI, GPT-2",
            (
                theirs["weights"],
                theirs["tokens"],
                theirs["bits"] / bars,
                theirs["generate"],
                theirs["valid"],
            ),
        ),
    ):
        weights, tokens, per_bar, speed, valid = row
        print(f"| {name} | {weights:,} | {tokens:,} | {per_bar:.1f} | {speed:,.0f} | {valid:.2%} |")


if __name__ == "__main__":
    main()

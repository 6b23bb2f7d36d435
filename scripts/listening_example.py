"""Writes a held-out piece and its reconstructions by a VQ-VAE, for listening.

python scripts/listening_example.py runs/vqvae_mini --output_dir=heard [--seconds=10] [--piece=NAME]

Writes the beginning of a piece of the test split, its reconstruction from each level, and a picture
of their waveforms and spectrograms.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from magenta_lite.converters.audio import Audio, pieces
from magenta_lite.datasets import open_collection
from magenta_lite.errors import UserError
from magenta_lite.families.vqvae.losses import sound_of
from magenta_lite.families.vqvae.options import VQVAEOptions
from magenta_lite.outputs import write_sounds
from magenta_lite.training.run import load_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--piece", help="default: the first of the test split")
    arguments = parser.parse_args()
    run = load_run(arguments.run_dir)
    test = open_collection(run.config.data, run.config.converter).split("test")
    known = dict(pieces(test))
    name = arguments.piece or next(iter(known), None)
    if name not in known:
        raise UserError(f"{name} is not in the test split; that has {', '.join(known) or 'none'}")
    rate = run.converter.sample_rate
    samples = sound_of(known[name][: round(arguments.seconds * rate)]).numpy()
    heard = run.pieces(VQVAEOptions("reconstruct", ((name, Audio(samples, rate)),)))
    for path in write_sounds(heard, arguments.output_dir, Path(name).stem.partition("#")[0]):
        print(path)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")

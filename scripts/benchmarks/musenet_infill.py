"""Measures how well a MuseNet predicts bars of held-out songs from both sides, and from one.

python scripts/benchmarks/musenet_infill.py --run_dir=runs/musenet_tiny [--bars=2] [--every=3]

Of every song of the test split, `--bars` bars are masked, then those that begin `--every` bars
later, and so on; phrases often have four bars, so that a multiple of four would mask their
beginnings only. Both predictions are of the same tokens: first given the music before and after
(the gap in the middle of the context), then given the music before it alone (as much as fits into
the context). Bars without notes, and those that leave less than half of the context, are left out.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np

from magenta_lite.converters.grid import bar_lines
from magenta_lite.converters.musenet.converter import PREFIX, families_of
from magenta_lite.converters.musenet.infill import both_ways
from magenta_lite.converters.musenet.vocabulary import UNITS_PER_SECOND
from magenta_lite.data.naming import list_source
from magenta_lite.datasets import open_collection
from magenta_lite.families.musenet.evaluation import last_nll
from magenta_lite.training.run import load_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run_dir", required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--bars", type=int, default=2)
    parser.add_argument("--every", type=int, default=3)
    arguments = parser.parse_args()
    run = load_run(Path(arguments.run_dir).expanduser())
    converter, context = run.converter, run.model.sizes.positions
    names = set(
        open_collection(run.config.data, run.config.converter).split(arguments.split).pieces
    )
    found, songs = [], set()
    for piece in (p for file in list_source(run.config.data.source)[0] for p in file.read()[0]):
        if piece.name not in names:
            continue
        ids = converter.ids_of(piece.sequence)
        families = families_of(converter.notes_of(piece.sequence))
        front = converter.prefix(converter.style_of(piece.sequence), families)
        events = np.zeros((PREFIX + len(ids), 3), np.int32)
        events[:, 0] = [*front, *ids]
        events[PREFIX:, 1:] = np.stack(converter.places_of(np.array(ids)), axis=1)
        lines = np.round(bar_lines(piece.sequence) * UNITS_PER_SECOND).astype(int).tolist()
        for first in range(arguments.every, len(lines) - arguments.bars, arguments.every):
            span = lines[first], lines[first + arguments.bars]
            try:
                filled, continued, count = both_ways(events, PREFIX, context, *span)
            except ValueError:
                continue
            waits = math.ceil((span[1] - span[0]) / 128)
            if waits < count < context / 2:
                found.append((filled, continued, count))
                songs.add(piece.name)
    filled, continued, counts = zip(*found, strict=True)
    bars, tokens = arguments.bars * len(found), sum(counts)
    print(f"{len(songs)} songs, {bars} bars, {tokens} tokens of {run.config.name}:{run.step}")
    nll = last_nll(run.model)
    for name, rows in (("before and after", filled), ("before", continued)):
        total = float(nll(rows, counts).sum())
        print(
            f"  given {name}: {total / tokens:.3f} nats a token, {total / bars:.1f} nats a bar "
            f"({total / bars / math.log(2):.1f} bits)"
        )


if __name__ == "__main__":
    main()

"""Writes the dummy data of the builder test: random walks of four voices.

python -m tfds_datasets.jsb_chorales.make_dummy_data
"""

from __future__ import annotations

import json
import random
from pathlib import Path

FILE = Path(__file__).parent / "dummy_data" / "Jsb16thSeparated.json"
SIZES = {"train": 3, "valid": 1, "test": 2}
STEPS = 48
START = (72, 65, 60, 48)


def chorale(rng: random.Random) -> list[list[int]]:
    """Returns the pitches of four voices at each step; the tenor starts with a rest."""
    pitches, rows = list(START), []
    for step in range(STEPS):
        if step % 4 == 0:
            pitches = [pitch + rng.choice((-2, -1, 0, 1, 2)) for pitch in pitches]
        row = list(pitches)
        if step < 4:
            row[2] = -1
        rows.append(row)
    return rows


def main() -> None:
    """Rewrites the file."""
    rng = random.Random(4)
    tree = {name: [chorale(rng) for _ in range(count)] for name, count in SIZES.items()}
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(tree), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Writes the dummy data of the builder test: hymns of random chords.

python -m tfds_datasets.bach_chorales.make_dummy_data
"""

from __future__ import annotations

import random
from pathlib import Path

from tfds_datasets.arranged.make_dummy_data import hymn

FOLDER = Path(__file__).parent / "dummy_data" / "bach"
HYMNS = 3


def main() -> None:
    """Rewrites the folder."""
    rng = random.Random(3)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for i in range(HYMNS):
        (FOLDER / f"hymn{i + 1}.xml").write_text(hymn(rng), encoding="utf-8")
    (FOLDER / "notes.txt").write_text("This is no music.\n", encoding="utf-8")


if __name__ == "__main__":
    main()

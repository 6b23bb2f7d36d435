"""Writes the dummy data of the builder test: random tunes, and hymns of random chords.

python -m tfds_datasets.rendered.make_dummy_data
"""

from __future__ import annotations

import random
from pathlib import Path

from tfds_datasets.arranged.make_dummy_data import hymn
from tfds_datasets.make_dummy_data import write_books

FOLDER = Path(__file__).parent / "dummy_data"
BARS = 10

# Tunes per book, as music21's corpus has them.
BOOKS = {
    "airdsAirs/book1.abc": 4,
    "oneills1850/0001-0050.abc": 3,
    "ryansMammoth/FirstReel.abc": 1,
}
HYMNS = 2


def main() -> None:
    """Rewrites the folder."""
    rng = random.Random(4)
    write_books(FOLDER, BOOKS, rng, BARS)
    (FOLDER / "bach").mkdir(exist_ok=True)
    for i in range(HYMNS):
        (FOLDER / "bach" / f"hymn{i + 1}.xml").write_text(hymn(rng), encoding="utf-8")


if __name__ == "__main__":
    main()

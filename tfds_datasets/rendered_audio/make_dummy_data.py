"""Writes the dummy data of the builder test: random tunes, and hymns on one syllable.

python -m tfds_datasets.rendered_audio.make_dummy_data
"""

from __future__ import annotations

import random
import re
from pathlib import Path

from tfds_datasets.arranged.make_dummy_data import hymn
from tfds_datasets.make_dummy_data import write_books

FOLDER = Path(__file__).parent / "dummy_data"
BARS = 4

# Tunes per book, as music21's corpus has them.
BOOKS = {
    "airdsAirs/book1.abc": 3,
    "oneills1850/0001-0050.abc": 2,
    "ryansMammoth/FirstReel.abc": 1,
}
SYLLABLES = ("lu", "mi", "so", "fa")
LYRIC = '<lyric number="1"><syllabic>single</syllabic><text>{}</text></lyric></note>'


def main() -> None:
    """Rewrites the folder."""
    rng = random.Random(5)
    write_books(FOLDER, BOOKS, rng, BARS, other_meter=True, header="R:Reel\n")
    (FOLDER / "bach").mkdir(exist_ok=True)
    (FOLDER / "bach" / "sung.xml").write_text(_with_words(_short(hymn(rng))), encoding="utf-8")
    (FOLDER / "bach" / "played.xml").write_text(_short(hymn(rng)), encoding="utf-8")
    trio = _short(hymn(rng)).replace("<part-name>Bass</part-name>", "<part-name>Organ</part-name>")
    (FOLDER / "bach" / "organ.xml").write_text(trio, encoding="utf-8")


def _short(xml: str) -> str:
    """Returns the first `BARS` bars of a hymn."""
    measures = re.compile(r'\n<measure number="(\d+)">.*?</measure>')
    return measures.sub(lambda found: found[0] if int(found[1]) <= BARS else "", xml)


def _with_words(xml: str) -> str:
    """Returns a hymn with a syllable on each note of the soprano."""
    soprano, end, others = xml.partition("</part>")
    notes = soprano.split("</note>")
    for i in range(len(notes) - 1):
        notes[i] += LYRIC.format(SYLLABLES[i % len(SYLLABLES)])
    return "".join(notes) + end + others


if __name__ == "__main__":
    main()

"""Writes the dummy data of the builder test: random tunes, and hymns of random chords.

python -m tfds_datasets.arranged.make_dummy_data
"""

from __future__ import annotations

import random
from pathlib import Path

from tfds_datasets.make_dummy_data import write_books

FOLDER = Path(__file__).parent / "dummy_data"
BARS = 18

# Number of tunes per book, with the paths of music21's corpus.
BOOKS = {
    "airdsAirs/book1.abc": 6,
    "oneills1850/0001-0050.abc": 5,
    "ryansMammoth/FirstReel.abc": 1,
}
HYMNS = 2
VOICES = ("Soprano", "Alto", "Tenor", "Bass")
# Note name and octave of each voice.
CHORDS = (
    (("C", 5), ("G", 4), ("E", 4), ("C", 3)),
    (("D", 5), ("G", 4), ("B", 3), ("G", 3)),
    (("A", 4), ("F", 4), ("C", 4), ("F", 3)),
    (("E", 5), ("G", 4), ("C", 4), ("C", 3)),
    (("B", 4), ("G", 4), ("D", 4), ("G", 3)),
)


def hymn(rng: random.Random) -> str:
    """Returns a hymn of four voices in quarter notes as MusicXML."""
    chords = [rng.choice(CHORDS) for _ in range(4 * BARS)]
    names = "".join(
        f'<score-part id="P{i}"><part-name>{voice}</part-name></score-part>'
        for i, voice in enumerate(VOICES)
    )
    parts = "".join(
        f'<part id="P{i}">{_measures([chord[i] for chord in chords])}</part>'
        for i in range(len(VOICES))
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<score-partwise version="3.0">'
        f"<part-list>{names}</part-list>{parts}</score-partwise>\n"
    )


def _measures(notes: list[tuple[str, int]]) -> str:
    lines = []
    for bar in range(BARS):
        attributes = (
            "<attributes><divisions>1</divisions><key><fifths>0</fifths></key>"
            "<time><beats>4</beats><beat-type>4</beat-type></time></attributes>"
            if bar == 0
            else ""
        )
        body = "".join(
            f"<note><pitch><step>{step}</step><octave>{octave}</octave></pitch>"
            "<duration>1</duration><voice>1</voice><type>quarter</type></note>"
            for step, octave in notes[4 * bar : 4 * bar + 4]
        )
        lines.append(f'\n<measure number="{bar + 1}">{attributes}{body}</measure>')
    return "".join(lines)


def main() -> None:
    """Rewrites the folder."""
    rng = random.Random(2)
    write_books(FOLDER, BOOKS, rng, BARS, other_meter=True)
    (FOLDER / "bach").mkdir(exist_ok=True)
    for i in range(HYMNS):
        (FOLDER / "bach" / f"hymn{i + 1}.xml").write_text(hymn(rng), encoding="utf-8")
    (FOLDER / "bach" / "notes.txt").write_text("This is no music.\n", encoding="utf-8")


if __name__ == "__main__":
    main()

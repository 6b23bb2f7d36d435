"""Compares how MusicXML scores sound with music21's reading of them, note by note.

python scripts/compare_scores.py                   # all chorales of music21's corpus
python scripts/compare_scores.py FOLDER --every=10

Of the 410 chorales, bwv171.6 differs: music21 does not keep its trumpets and voices together, where
the file fills up the silent trumpets' pickup bars.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from pathlib import Path
from typing import Any

from magenta_lite.data import chorales, folk, musicxml
from magenta_lite.data.musicxml.playing_order import playing_order

SUFFIXES = (".mxl", ".xml", ".musicxml")
TOLERANCE = 0.02  # quarter notes
Notes = list[tuple[int, float, float]]  # pitch, start and end in quarter notes


def main() -> int:
    """Returns 1 if a score is read differently."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default=folk.corpus_folder() / chorales.FOLDER)
    parser.add_argument("--every", type=int, default=1, help="Compares every N-th score.")
    parser.add_argument("--jobs", type=int, default=2, help="Number of processes.")
    arguments = parser.parse_args()
    paths = sorted(p for p in Path(arguments.folder).rglob("*") if p.suffix.lower() in SUFFIXES)
    chosen = paths[:: arguments.every]
    with multiprocessing.Pool(arguments.jobs) as pool:
        results = pool.map(compared, chosen, chunksize=1)
    for path, (problem, _, _) in zip(chosen, results, strict=True):
        if problem:
            print(f"{path.name}: {problem}")
    equal = sum(not problem for problem, _, _ in results)
    ours, theirs = (sum(result[i] for result in results) / len(results) for i in (1, 2))
    print(f"{equal} of {len(results)} scores have the same notes")
    print(f"{1000 * ours:.0f} ms a score; music21: {1000 * theirs:.0f} ms")
    return int(equal < len(results))


def compared(path: Path) -> tuple[str, float, float]:
    """Returns the first difference of a score, and the seconds of both readings."""
    begin = time.monotonic()
    ours = notes_of(path)
    middle = time.monotonic()
    theirs = notes_of_music21(path)
    seconds = middle - begin, time.monotonic() - middle
    for ours_next, theirs_next in zip(ours, theirs, strict=False):
        if not _same(ours_next, theirs_next):
            return f"{ours_next}, not {theirs_next}", *seconds
    if len(ours) != len(theirs):
        return f"{len(ours)} notes, not {len(theirs)}", *seconds
    return "", *seconds


def _same(ours: tuple[int, float, float], theirs: tuple[int, float, float]) -> bool:
    return ours[0] == theirs[0] and all(
        abs(a - b) < TOLERANCE for a, b in zip(ours[1:], theirs[1:], strict=True)
    )


def notes_of(path: Path) -> Notes:
    """Returns the notes of a score, with repeats played and ties joined."""
    score = musicxml.read_score(path.read_bytes())
    order = playing_order([measure.signs for measure in score.measures])
    played = musicxml.played(score.measures, order)
    notes = [(each.note.pitch, each.start, each.end) for each in musicxml.sounding(played)]
    return sorted(notes, key=_place)


def notes_of_music21(path: Path) -> Notes:
    """Returns the notes as music21 reads them: repeats played, transposed, ties joined."""
    import music21

    score: Any = music21.converter.parse(path, forceSource=True)
    notes = []
    for part in score.expandRepeats().toSoundingPitch().parts:
        held: dict[int, tuple[int, float, float]] = {}
        for element in part.flatten().notes:
            if element.duration.isGrace or isinstance(element, music21.harmony.ChordSymbol):
                continue
            for note in element.notes if element.isChord else [element]:
                pitch, kind = note.pitch.midi, note.tie.type if note.tie else ""
                start = end = float(element.offset)
                end += float(element.quarterLength)
                before = held.pop(pitch, None) if kind in ("stop", "continue") else None
                if before and abs(before[2] - start) < TOLERANCE:
                    notes.remove(before)
                    start = before[1]
                notes.append((pitch, start, end))
                if kind in ("start", "continue"):
                    held[pitch] = notes[-1]
    return sorted(notes, key=_place)


def _place(note: tuple[int, float, float]) -> tuple[float, int, float]:
    return round(note[1], 2), note[0], round(note[2], 2)


if __name__ == "__main__":
    sys.exit(main())

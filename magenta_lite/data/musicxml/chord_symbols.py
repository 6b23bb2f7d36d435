"""Chord symbols of MusicXML as text in the spelling of note_seq."""

from __future__ import annotations

from xml.etree import ElementTree

from magenta_lite.converters.chord_symbols import NO_CHORD_SYMBOL
from magenta_lite.converters.chords import UnusableChords, canonical

KINDS = {
    "major": "",
    "minor": "m",
    "augmented": "aug",
    "diminished": "dim",
    "dominant": "7",
    "major-seventh": "maj7",
    "minor-seventh": "m7",
    "diminished-seventh": "dim7",
    "augmented-seventh": "aug7",
    "half-diminished": "m7b5",
    "major-minor": "m(maj7)",
    "major-sixth": "6",
    "minor-sixth": "m6",
    "dominant-ninth": "9",
    "major-ninth": "maj9",
    "minor-ninth": "m9",
    "dominant-11th": "11",
    "major-11th": "maj11",
    "minor-11th": "m11",
    "dominant-13th": "13",
    "major-13th": "maj13",
    "minor-13th": "m13",
    "suspended-second": "sus2",
    "suspended-fourth": "sus",
    "pedal": "ped",
    "power": "5",
    # Names that are not in the standard, but in many files.
    "": "",
    "dominant-seventh": "7",
    "augmented-ninth": "aug9",
    "minor-major": "m(maj7)",
}
NATURALS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
DEGREES = {"add": "add", "subtract": "no", "alter": ""}


def chord_symbol(harmony: ElementTree.Element, semitones: int = 0) -> str | None:
    """Returns the text of a `harmony`, such as `Am7/G`; None if it cannot be written as text.

    Args:
        harmony: A `harmony` element.
        semitones: Transposition of its part.
    """
    kind = (harmony.findtext("kind") or "").strip()
    if kind == "none":
        return NO_CHORD_SYMBOL
    root = _name(harmony, "root", semitones)
    if root is None or kind not in KINDS:
        return None
    bass = _name(harmony, "bass", semitones)
    end = f"/{bass}" if bass else ""
    degrees = "".join(_degree(degree) for degree in harmony.iter("degree"))
    # Degrees that contradict the kind are left out.
    for text in (f"{root}{KINDS[kind]}{degrees}{end}", f"{root}{KINDS[kind]}{end}"):
        try:
            return canonical(text)
        except UnusableChords:
            continue
    return None


def _name(harmony: ElementTree.Element, which: str, semitones: int) -> str | None:
    """Returns the name of the `root` or `bass`; None if there is none."""
    step = (harmony.findtext(f"{which}/{which}-step") or "").strip()
    alter = (harmony.findtext(f"{which}/{which}-alter") or "0").strip()
    if step not in NATURALS or alter not in ("-2", "-1", "0", "1", "2"):
        return None
    if semitones % 12:
        return NAMES[(NATURALS[step] + int(alter) + semitones) % 12]
    return step + ("b" if int(alter) < 0 else "#") * abs(int(alter))


def _degree(degree: ElementTree.Element) -> str:
    kind = DEGREES.get(degree.findtext("degree-type") or "", "add")
    alter = {"-1": "b", "1": "#"}.get((degree.findtext("degree-alter") or "").strip(), "")
    value = (degree.findtext("degree-value") or "").strip()
    if kind == "add" and alter:
        kind = ""  # note_seq reads C7(b9), and not C7(addb9), as others write it
    return f"({kind}{alter}{value})"

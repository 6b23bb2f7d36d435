"""Rewriting of common chord symbols in the spelling of note_seq."""

from __future__ import annotations

import re

NO_CHORD_SYMBOL = "N.C."  # note_seq's
NO_CHORD_WORDS = ("nc", "none", "nochord")
SIGNS = str.maketrans(
    {
        "♯": "#",
        "♭": "b",
        "♮": "",
        "Δ": "^",
        "∆": "^",
        "△": "^",
        "°": "o",
        "º": "o",
        "˚": "o",
        "ø": "h",
        "Ø": "h",
        "\u2212": "-",  # a minus sign, and a dash
        "\u2013": "-",
    }
)
SYMBOL = re.compile(r"([A-G])(#+|b+)?(.*?)(?:/([A-Ga-g])(#+|b+|\+)?)?")
MAJOR = re.compile(r"M(?![aAiI])")  # a major seventh: Cm7 and CM7 differ
# Patterns of chord qualities in lower case, and their spelling in note_seq.
KINDS = (
    (r"^(?:major|maj|ma)(?![a-z])", "maj"),
    (r"^(?:minor|min|mi)", "m"),
    (r"ma(?!j)", "maj"),
    (r"^-(?=[5-9]|1[13]|maj|\^|$)", "m"),
    (r"^(m?)\^(?=[79]|1[13])", r"\1maj"),
    (r"^(m?)\^", r"\1maj7"),
    (r"^(?:h7?|m7-5|m7\(b5\))", "m7b5"),
    (r"^(?:dom|dominant)(?=7|9|1[13])", ""),
    (r"^(?:augmented)", "aug"),
    (r"^(?:diminished)", "dim"),
    (r"^(7|9|13)\+$", r"+\1"),
    (r"^7sus4", "7sus"),
    (r"^sus47$", "7sus"),
    (r"^9sus4?", "7sus(add9)"),
    (r"^13sus4?", "7sus(add9)(add13)"),
    (r"^2$", "(add9)"),
    (r"^4$", "sus4"),
    (r"^(?:69|6add9|6\(9\)|6\(add9\))", "6/9"),
    (r"^m(?:69|6/9)", "m6(add9)"),
    (r"^7?alt", "7#5#9"),
    (r"(?<=\d)\+(?=\d)", "#"),
    (r"(?<=\d)-(?=\d)", "b"),
)


def canonical_text(symbol: str) -> str:
    """Returns a chord symbol in the spelling of note_seq; unknown symbols stay unchanged.

    Signs such as ♯, ♭, Δ, ° and ø are replaced, and so are other spellings of chord qualities:
    `Cmi7`, `C^7`, `C2`. Roots must be capital letters, because `f` in files means forte.
    """
    text = symbol.strip().translate(SIGNS)
    if re.sub(r"[\s._-]", "", text).lower() in NO_CHORD_WORDS:
        return NO_CHORD_SYMBOL
    match = SYMBOL.fullmatch(text)
    if not match:
        return text
    root, sign, kind, bass, bass_sign = (part or "" for part in match.groups())
    kind = MAJOR.sub("maj", kind).lower()
    for pattern, spelling in KINDS:
        kind = re.sub(pattern, spelling, kind)
    # note_seq reads one alteration in each pair of parentheses.
    kind = kind.replace(",", ")(").replace(" ", "")
    bass_sign = bass_sign.replace("+", "#")  # D/f+, as in the Nottingham Music Database
    return f"{root}{sign}{kind}" + (f"/{bass.upper()}{bass_sign}" if bass else "")

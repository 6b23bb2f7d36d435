"""Values of information fields: meters, lengths, tempos, keys, orders of parts, properties."""

from __future__ import annotations

import math
import re
from typing import Any

WHOLE = 2**10 * 3**2 * 5 * 7 * 11 * 13  # ticks of a whole note: tuplets up to 16 are exact
MAX_DIGITS = 6
MAX_DENOMINATOR = 1024
MAX_PARTS = 1000

SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
ORDER_OF_SHARPS = "FCGDAEB"
# Number of sharps of the major key on each letter; modes shift it.
MAJOR_SHARPS = {"C": 0, "D": 2, "E": 4, "F": -1, "G": 1, "A": 3, "B": 5}
MODE_SHIFTS = {"": 0, "maj": 0, "ion": 0, "m": -3, "min": -3, "aeo": -3, "mix": -1, "dor": -2}
MODE_SHIFTS |= {"phr": -4, "lyd": 1, "loc": -5}
ACCIDENTALS = {"^": 1, "_": -1, "=": 0}
KEY = re.compile(r"([A-Ga-g])([#b♯♭]?)\s*([A-Za-z]*)")
KEY_ACCIDENTAL = re.compile(r"(\^{1,2}|_{1,2}|=)([A-Ga-g])")
WORD = re.compile(r'(?:[^\s"]|"[^"]*"?)+')
NOTE = r"[\^_=]?[A-Ga-g][,']*"
NUMBER = r"\d+(?:\.\d+)?"
TEMPO = re.compile(rf"(.*?)=\s*(?:ca?\.?\s*)?({NUMBER})")
CLEF = re.compile(
    r"(?:treble|bass|alto|tenor|soprano|mezzosoprano|baritone|perc|auto|none)\d?[,']*([+-](?:8|15))?"
)
PROPERTIES = re.compile(
    "clef|octave|transpose|t|middle|m|stafflines|name|nm|subname|snm|stem|score|sound|shift"
)


class AbcError(ValueError):
    """A tune cannot be read; the message is the reason."""


def number(digits: str) -> int:
    """Returns an integer of at most 6 digits.

    Raises:
        AbcError: If it has more.
    """
    if len(digits) > MAX_DIGITS:
        raise AbcError(f"a number of more than {MAX_DIGITS} digits")
    return int(digits)


def ratio(numerator: str, slashes: str, denominator: str) -> tuple[int, int]:
    """Returns the factor that a length such as 3, /, // or 3/2 denotes; 0 counts as not given."""
    divisor = (number(denominator) if denominator else 0) or 2 ** min(len(slashes), 10)
    return (number(numerator) if numerator else 0) or 1, divisor if slashes else 1


def unit_length(value: str) -> int:
    """Returns the length of an `L:` field in ticks.

    Raises:
        AbcError: If it is not a length, or shorter than 1/1024.
    """
    match = re.match(r"(\d+)(?:\s*/\s*(\d+))?", value)
    above, below = (number(match[1]), number(match[2] or "1")) if match else (0, 1)
    if not 0 < above <= MAX_DENOMINATOR or not 0 < below <= MAX_DENOMINATOR:
        raise AbcError(f"L:{value[:20]} is not a length")
    return WHOLE * above // below


def default_unit(meter: tuple[int, int] | None) -> int:
    """Returns the length in ticks that notes have without an `L:` field."""
    return WHOLE // 16 if meter and 4 * meter[0] < 3 * meter[1] else WHOLE // 8


def meter(value: str) -> tuple[int, int] | None:
    """Returns numerator and denominator of an `M:` field; None for free meter.

    Raises:
        AbcError: If one is 0 or above 1,024.
    """
    if value.startswith("C|"):
        return 2, 2
    if value.startswith("C"):
        return 4, 4
    match = re.match(r"\(?([\d+\s]+)\)?\s*/\s*(\d+)", value)
    if not match:
        return None
    numerator = sum(number(n) for n in re.findall(r"\d+", match[1]))
    if not (0 < numerator <= MAX_DENOMINATOR and 0 < number(match[2]) <= MAX_DENOMINATOR):
        raise AbcError(f"M:{value[:20]} is not a meter")
    return numerator, number(match[2])


def tempo(value: str, unit: int) -> float | None:
    """Returns the tempo of a `Q:` field in quarter notes per minute; None if it has none.

    Args:
        value: e.g. `"Allegro" 1/4=120`; or, as in old books, `C3=40` or `120` in unit lengths.
        unit: Unit length in ticks.
    """
    text = re.sub(r'"[^"]*"?', "", value).strip()
    match = TEMPO.match(text)
    beats, per_minute = (match[1].strip(), match[2]) if match else ("C", text)
    if len(text) > 50 or not re.fullmatch(NUMBER, per_minute):
        return None
    units = re.fullmatch(r"[Cc](\d*)(/*)(\d*)", beats)
    if units:
        above, below = ratio(*units.groups())
        whole_notes = unit * above / below / WHOLE
    elif re.fullmatch(r"[\d/\s]+", beats):
        pairs = [ratio(*part) for part in re.findall(r"(\d+)(/?)(\d*)", beats)]
        whole_notes = sum(above / below for above, below in pairs)
    else:
        return None
    qpm = 4 * whole_notes * float(per_minute)
    return qpm if math.isfinite(qpm) and 10 <= qpm <= 1000 else None


def part_order(value: str) -> str:
    """Expands an order of parts: A2B to AAB, ((AB)2C)2 to ABABCABABC.

    Raises:
        AbcError: If it has more than 1,000 parts.
    """
    groups = [""]
    for name, turns in re.findall(r"([A-Za-z()])\s*(\d*)", value):
        if name == "(":
            groups.append("")
            continue
        last = name
        if name == ")":
            last = groups.pop() if len(groups) > 1 else ""
        times = number(turns or "1")
        if len(last) * times + len(groups[-1]) > MAX_PARTS:
            raise AbcError(f"more than {MAX_PARTS:,} parts")
        groups[-1] += last * times
    return "".join(groups)[:MAX_PARTS]


def key(value: str) -> dict[str, int] | None:
    """Returns the accidentals of a `K:` field by letter; None if it has no key but e.g. a clef.

    Raises:
        AbcError: If it is neither.
    """
    words = [word for word in WORD.findall(value) if _property(word) is None]
    text = " ".join(words)
    if not text:
        return None
    if text.lower().startswith("none"):
        return {}
    if text.startswith(("HP", "Hp")):  # the scale of the Highland pipe, written or not
        return {"F": 1, "C": 1}
    found: dict[str, int] = {}
    match = KEY.match(text)
    mode = match[3] if match else ""
    mode = mode if mode == "m" else mode[:3].lower()
    if match and (match[1].isupper() or mode in MODE_SHIFTS):
        if mode != "exp":
            sign = {"#": 1, "♯": 1, "b": -1, "♭": -1, "": 0}[match[2]]
            sharps = MAJOR_SHARPS[match[1].upper()] + 7 * sign + MODE_SHIFTS.get(mode, 0)
            letters = ORDER_OF_SHARPS[:sharps] if sharps >= 0 else ORDER_OF_SHARPS[sharps:]
            found = {letter: 1 if sharps > 0 else -1 for letter in letters} if sharps else {}
        text = text[match.end() :]
    elif not re.match(r"exp\b|[\^_=]", text):
        raise AbcError(f"K:{value[:20]} is not a key")
    for sign, letter in KEY_ACCIDENTAL.findall(text):
        found[letter.upper()] = ACCIDENTALS[sign[0]] * len(sign)
    return found


def properties(value: str) -> dict[str, Any]:
    """Returns the octave and the transposition in a `K:` or `V:` field, of those that it has.

    A clef sets the octave: `treble-8` to -1, others to 0, unless there is an `octave=`.
    """
    found = dict(filter(None, map(_property, WORD.findall(value))))
    result = {}
    clef = CLEF.fullmatch(found.get("clef", ""))
    if clef:
        result["octave"] = int((clef[1] or "0").replace("15", "16")) // 8
    for name in ("octave", "transpose"):
        if re.fullmatch(r"[+-]?\d{1,2}", found.get(name, "")):
            result[name] = int(found[name])
    interval = re.fullmatch(f"({NOTE})({NOTE})", found.get("sound") or found.get("shift", ""))
    if interval:
        result["transpose"] = height(interval[2]) - height(interval[1])
    return result


def _property(word: str) -> tuple[str, str] | None:
    """Returns name and value of a word such as `octave=-1` or `treble-8`; None of other words."""
    name, equals, value = word.partition("=")
    if equals and PROPERTIES.fullmatch(name):
        return "transpose" if name == "t" else name, value.strip('"')
    return ("clef", word) if CLEF.fullmatch(word) and word != "none" else None


def height(note: str) -> int:
    """Returns the pitch of a note such as `^c,` in semitones above middle C."""
    letter, *marks = note.lstrip("^_=")
    octave = letter.islower() + marks.count("'") - marks.count(",")
    return SEMITONES[letter.upper()] + 12 * octave + ACCIDENTALS.get(note[0], 0)

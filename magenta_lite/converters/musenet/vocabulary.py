"""The vocabulary of 4,864 tokens of MuseNet, with their text format.

MuseNet (Payne 2019, https://openai.com/research/musenet) was never published; authors of clients
for its web service determined the meaning of its ids.
"""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from magenta_lite.errors import UserError

SIZE = 4864
PITCHES = 128
UNITS_PER_SECOND = 100
MAX_WAIT = 128  # maximum units of one token

PIANO_VOLUMES = tuple(range(24, 121, 8))
OTHER_VOLUME = 80
FIRST_DRUM = 30 * PITCHES
FIRST_WAIT = 31 * PITCHES
START, END, END_SAMPLE = 4096, 4097, 4098
NO_FAMILIES = 4098  # plus the bits of the families, the id of an instrument set
FIRST_STYLE, LAST_STYLE = 4226, 4835
# Unused in the original; here an unknown style or instrument set, marks in `infill.layout`, and
# `controls`.
UNSPECIFIED = SIZE - 1
GAP, GAP_END, BEFORE, MIDDLE = range(SIZE - 5, SIZE - 1)
FIRST_CONTROL = LAST_STYLE + 1

PITCH_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")
LOWEST_OF_OCTAVE_0 = 21  # octaves of the web service begin at A: A0 is 21, C3 is 60, A3 is 57


class Instrument(NamedTuple):
    """One of the ten instruments.

    Attributes:
        name: Name in the text format.
        family: Family of instruments, in instrument sets.
        program: General MIDI program for decoding.
        programs: General MIDI programs that are encoded as this instrument.
        on: Block of 128 ids of note-ons; for the piano, the first of several volumes.
        off: Block of 128 ids of note-offs; None for drums.
        range: Lowest and highest MIDI pitch over the instruments of `programs`.
    """

    name: str
    family: str
    program: int
    programs: tuple[int, ...]
    on: int
    off: int | None
    range: tuple[int, int]


# In the order of their MIDI channels. The piano also plays all programs not listed here.
INSTRUMENTS = (
    Instrument("piano", "piano", 0, (), 1, 0, (21, 108)),
    Instrument("violin", "strings", 40, (40, 41, 44, 45, 48, 49, 50, 51), 14, 15, (24, 103)),
    Instrument("cello", "strings", 42, (42, 43), 16, 17, (24, 84)),
    Instrument("bass", "bass", 32, tuple(range(32, 40)), 18, 19, (23, 67)),
    Instrument("guitar", "guitar", 24, tuple(range(24, 32)), 20, 21, (40, 88)),
    Instrument("flute", "winds", 73, tuple(range(72, 80)), 22, 23, (55, 108)),
    Instrument("clarinet", "winds", 71, tuple(range(64, 72)), 24, 25, (34, 96)),
    Instrument("trumpet", "winds", 56, tuple(range(56, 64)), 26, 27, (26, 88)),
    Instrument("harp", "harp", 46, (46,), 28, 29, (23, 103)),
    Instrument("drums", "drums", 0, (), 30, None, (0, 127)),
)
BY_NAME = {instrument.name: instrument for instrument in INSTRUMENTS}
PIANO, DRUMS = BY_NAME["piano"], BY_NAME["drums"]
# Bit n of an instrument set is FAMILIES[n].
FAMILIES = ("drums", "winds", "harp", "guitar", "bass", "strings", "piano")
_BY_PROGRAM = {program: i for i in INSTRUMENTS for program in i.programs}


class Token(NamedTuple):
    """Meaning of an id; fields that do not apply to its kind are None.

    Attributes:
        kind: `note_on`, `note_off`, `drum_hit`, `wait`, `start`, `end`, `end_sample`,
            `instrument_set`, `style`, `style_unnamed` or `unused`.
        instrument: Name of the instrument of a note.
        pitch: MIDI pitch, or drum key.
        volume: MIDI velocity; 0 for a note-off.
        units: Duration of a wait in units of 10 ms.
        families: Families of an instrument set.
        name: Name of a style.
    """

    kind: str
    instrument: Any = None  # a str
    pitch: Any = None  # an int, like the next two
    volume: Any = None
    units: Any = None
    families: tuple[str, ...] | None = None
    name: str | None = None


def instrument_of(program: int, is_drum: bool = False) -> Instrument:
    """Returns the instrument that encodes a General MIDI program."""
    return DRUMS if is_drum else _BY_PROGRAM.get(program, PIANO)


def on_id(instrument: Instrument, pitch: int, velocity: int) -> int:
    """Returns the id of a note-on or of a drum hit; only the piano has volumes."""
    block = instrument.on
    if instrument is PIANO:
        # The nearest volume, (velocity + 4) // 8 * 8; ties go to the louder one.
        block = min(max((velocity + 4) // 8 - 2, 1), len(PIANO_VOLUMES))
    return PITCHES * block + pitch


def off_id(instrument: Instrument, pitch: int) -> int:
    """Returns the id of a note-off, of an instrument other than drums."""
    assert instrument.off is not None
    return PITCHES * instrument.off + pitch


def wait_ids(units: int) -> list[int]:
    """Returns the ids of a wait, the longest first."""
    whole, rest = divmod(units, MAX_WAIT)
    return [FIRST_WAIT + MAX_WAIT - 1] * whole + [FIRST_WAIT + rest - 1] * (rest > 0)


def instrument_set_id(families: Iterable[str]) -> int | None:
    """Returns the id of the instrument set of families; None without families."""
    mask = sum(1 << FAMILIES.index(family) for family in set(families))
    return NO_FAMILIES + mask if mask else None


@functools.cache
def token(id: int) -> Token:
    """Returns the meaning of an id. Raises: ValueError if it is not in 0 to 4863."""
    if not 0 <= id < SIZE:
        raise ValueError(f"MuseNet's ids are 0 to {SIZE - 1}: {id}")
    block, pitch = divmod(id, PITCHES)
    if id < FIRST_WAIT:
        instrument, volume = _blocks()[block]
        kind = "note_on" if volume else "note_off"
        return Token("drum_hit" if instrument is DRUMS else kind, instrument.name, pitch, volume)
    if id < START:
        return Token("wait", units=id - FIRST_WAIT + 1)
    if id <= END_SAMPLE:
        return Token(("start", "end", "end_sample")[id - START])
    if id < FIRST_STYLE:
        bits = range(len(FAMILIES) - 1, -1, -1)
        families = tuple(FAMILIES[bit] for bit in bits if (id - NO_FAMILIES) >> bit & 1)
        return Token("instrument_set", families=families)
    if id <= LAST_STYLE:
        name = original_styles()[id - FIRST_STYLE]
        return Token("style", name=name) if name else Token("style_unnamed")
    return Token("unused")


def _blocks() -> list[tuple[Instrument, int]]:
    """Returns instrument and volume of each block of 128 ids, 0 for the note-offs."""
    blocks = [(PIANO, volume) for volume in (0, *PIANO_VOLUMES)]
    for instrument in INSTRUMENTS[1:]:
        blocks.append((instrument, OTHER_VOLUME))
        blocks += [(instrument, 0)] * (instrument.off is not None)
    return blocks


@functools.cache
def original_styles() -> tuple[str, ...]:
    """Returns the names of the 610 original styles in the order of their ids; five are empty."""
    return _lines("original_styles.txt")


@functools.cache
def styles() -> tuple[str, ...]:
    """Returns the default styles: genres, periods and ensembles, without names of people."""
    return _lines("styles.txt")


def _lines(name: str) -> tuple[str, ...]:
    folder = importlib.resources.files("magenta_lite.converters.musenet")
    return tuple((folder / name).read_text().splitlines())


def played_by(names: Iterable[str]) -> np.ndarray:
    """Returns the mask bool (4864,) of all ids except notes of other instruments than `names`.

    The names are those of instruments or families.
    """
    wanted = set(names)
    players = {i.name for i in INSTRUMENTS if {i.name, i.family} & wanted}
    return np.array([token(id).instrument in {None, *players} for id in range(SIZE)])


# Text --------------------------------------------------------------------------------------------


def text(id: int) -> str:
    """Returns an id in MuseNet's text format: `piano:v72:G1`, `wait:12`, `piano_strings`.

    Ids without a text format have their kind and id: `unused:4863`.
    """
    meaning = token(id)
    if meaning.units:
        return f"wait:{meaning.units}"
    if meaning.pitch is not None:
        octave = (meaning.pitch - LOWEST_OF_OCTAVE_0) // 12
        name = f"{PITCH_NAMES[meaning.pitch % 12]}{octave}"
        return f"{meaning.instrument}:v{meaning.volume}:{name}"
    if meaning.families:
        return "_".join(meaning.families)
    if meaning.kind in ("style_unnamed", "unused"):
        return f"{meaning.kind}:{id}"
    return meaning.name or meaning.kind


@functools.cache
def ids_of_text() -> dict[str, int]:
    """Returns the id of each text; of a style and an instrument set of one name, the set."""
    return {text(id): id for id in reversed(range(SIZE))}


def read_ids(words: str) -> list[int]:
    """Returns the ids of a text file saved from MuseNet: words that are numbers or texts.

    Raises:
        UserError: If a word is neither an id nor a text.
    """
    known, ids = ids_of_text(), []
    for word in words.replace(",", " ").replace("[", " ").replace("]", " ").split():
        is_number = word.isdecimal() and len(word) <= len(str(SIZE))
        id = int(word) if is_number else known.get(word, -1)
        if not 0 <= id < SIZE:
            raise UserError(
                f"{word!r:.50} is not a MuseNet token, 0 to {SIZE - 1} or like piano:v72:G1"
            )
        ids.append(id)
    return ids

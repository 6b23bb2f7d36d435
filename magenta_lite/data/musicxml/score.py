"""Reads the measures of a MusicXML score: what sounds in each, and which is played next."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import NamedTuple
from xml.etree.ElementTree import Element

from magenta_lite.data.musicxml.chord_symbols import NATURALS, chord_symbol
from magenta_lite.data.musicxml.document import MusicXMLError, open_document
from magenta_lite.data.musicxml.playing_order import MAX_MEASURES, MAX_TURNS, Signs

DRUM_CHANNEL = "10"
OCTAVES = tuple("0123456789")
VELOCITY = 64
FORTE = 90  # the velocity of a loudness of 100 %
MAX_NUMBER = 1e7
TEMPOS = (10, 1000)  # lowest and highest tempo in quarter notes a minute
BEATS = {
    "breve": 8.0,
    "whole": 4.0,
    "half": 2.0,
    "quarter": 1.0,
    "eighth": 0.5,
    "16th": 0.25,
    "32nd": 0.125,
}
# Attributes of `sound`, and the words of directions without one.
JUMPS = {
    "segno": "segno",
    "coda": "coda",
    "tocoda": "to_coda",
    "dalsegno": "dal_segno",
    "dacapo": "da_capo",
    "fine": "fine",
}
WORDS = (
    (re.compile(r"(?i)d\.? ?c\b|da capo"), "da_capo"),
    (re.compile(r"(?i)d\.? ?s\b|dal segno"), "dal_segno"),
    (re.compile(r"(?i)(to|al) coda"), "to_coda"),
    (re.compile(r"(?i)fine\.?$"), "fine"),
)


class Instrument(NamedTuple):
    """How an instrument sounds: program from 0, and the pitch of a percussion instrument."""

    program: int = 0
    is_drum: bool = False
    drum: int | None = None


class Note(NamedTuple):
    """A note of a part, given by its index. Times are in quarter notes within the measure."""

    start: float
    length: float
    pitch: int
    velocity: int
    part: int
    voice: str
    instrument: Instrument
    ties: frozenset[str]  # "start" and "stop"
    element: Element


@dataclasses.dataclass
class Measure:
    """A measure of all parts.

    Attributes:
        signs: Signs of what is played next.
        notes: Notes of all parts.
        length: Quarter notes; 0 if it is empty.
        meter: Numerator and denominator, if they change here.
        key: Pitch class of the tonic, and whether it is minor, if they change here.
        tempos: Quarter notes a minute by the time from which they are valid.
        chords: Chord symbols by time.
    """

    signs: Signs = dataclasses.field(default_factory=Signs)
    notes: list[Note] = dataclasses.field(default_factory=list)
    length: float = 0.0
    meter: tuple[int, int] | None = None
    key: tuple[int, bool] | None = None
    tempos: dict[float, float] = dataclasses.field(default_factory=dict)
    chords: dict[float, str] = dataclasses.field(default_factory=dict)


class Score(NamedTuple):
    """A score as written: its title, the names of its parts, and its measures."""

    title: str
    parts: list[str]
    measures: list[Measure]


def read_score(data: bytes) -> Score:
    """Reads a score as written. Pitches are those that sound; what is invalid is left out.

    Args:
        data: Content of a MusicXML file, compressed or not.

    Raises:
        MusicXMLError: If it is not a score, or too large.
    """
    root = open_document(data)
    parts = [(part.get("id"), part.findall("measure")) for part in root.findall("part")]
    longest = max((len(measures) for _, measures in parts), default=0)
    if longest > MAX_MEASURES:
        raise MusicXMLError(f"more than {MAX_MEASURES:,} measures")
    measures = [Measure() for _ in range(longest)]
    headers = {header.get("id"): header for header in root.iter("score-part")}
    names = []
    for i, (name, elements) in enumerate(parts):
        header = headers.get(name, Element("score-part"))
        names.append((header.findtext("part-name") or "").strip())
        reader = _PartReader(i, header, measures)
        for j, element in enumerate(elements):
            reader.read(j, element)
    title = root.findtext("work/work-title") or root.findtext("movement-title") or ""
    return Score(title.strip(), names, measures)


class _PartReader:
    """Reads the measures of a part in turn."""

    def __init__(self, part: int, header: Element, measures: list[Measure]):
        self.part = part
        self.measures = measures
        self.index = 0
        self.now = self.chord_start = 0.0  # quarter notes within the measure
        self.divisions = 1.0
        self.instruments: dict[str, Instrument] = {}
        for element in header.iter("midi-instrument"):
            self._instrument(element)
        self.transpositions: dict[str, float] = {}  # semitones by staff; "" is all staves
        self.velocity = VELOCITY
        self.endings: set[int] = set()
        self.readers: dict[str, Callable[[Element], None]] = {
            "attributes": self._attributes,
            "note": self._note,
            "backup": lambda element: self._move(-self._quarters(element)),
            "forward": self._forward,
            "direction": self._direction,
            "sound": self._sound,
            "harmony": self._harmony,
            "barline": self._barline,
        }

    @property
    def measure(self) -> Measure:
        return self.measures[self.index]

    def read(self, index: int, element: Element) -> None:
        self.index = index
        self.now = self.chord_start = 0.0
        self.metronomes: dict[float, float] = {}
        self.implicit = element.get("implicit") == "yes"
        self.ending_stops = False
        for child in element:
            if read := self.readers.get(child.tag):
                read(child)
        for time, qpm in self.metronomes.items():
            self.measure.tempos.setdefault(time, qpm)
        self.measure.signs.endings |= self.endings
        if self.ending_stops or self.measure.signs.turns:
            self.endings = set()

    # Time --------------------------------------------------------------------------------------

    def _move(self, quarters: float) -> None:
        self.now = max(self.now + quarters, 0.0)
        self.measure.length = max(self.measure.length, self.now)

    def _forward(self, forward: Element) -> None:
        # Some files fill up the measures of silent parts, even if the others have a short one.
        length = self.measure.length
        self._move(self._quarters(forward))
        if self.implicit and length:
            self.measure.length = length

    def _quarters(self, element: Element, tag: str = "duration") -> float:
        return _number(element.findtext(tag)) / self.divisions

    def _attributes(self, attributes: Element) -> None:
        divisions = _number(attributes.findtext("divisions"))
        self.divisions = divisions if divisions > 0 else self.divisions
        for element in attributes.findall("transpose"):
            staff = element.get("number", "")
            if not staff:
                self.transpositions = {}
            octaves = _number(element.findtext("octave-change"))
            self.transpositions[staff] = _number(element.findtext("chromatic")) + 12 * octaves
        for time in attributes.findall("time"):
            self.measure.meter = self.measure.meter or _meter(time)
        for key in attributes.findall("key"):
            self.measure.key = self.measure.key or self._key(key)

    def _key(self, key: Element) -> tuple[int, bool] | None:
        if key.find("fifths") is None:
            return None
        minor = (key.findtext("mode") or "").strip() == "minor"
        tonic = 7 * _number(key.findtext("fifths")) + self._transposition(key)
        return round(tonic + 9 * minor) % 12, minor

    def _transposition(self, element: Element) -> float:
        everywhere = self.transpositions.get("", 0.0)
        return self.transpositions.get((element.findtext("staff") or "").strip(), everywhere)

    # Notes -------------------------------------------------------------------------------------

    def _instrument(self, element: Element) -> None:
        known = self.instruments.get(element.get("id", ""), Instrument())
        program = _from_one(element.findtext("midi-program"))
        drum = _from_one(element.findtext("midi-unpitched"))
        channel = (element.findtext("midi-channel") or "").strip()
        self.instruments[element.get("id", "")] = Instrument(
            known.program if program is None else program,
            channel == DRUM_CHANNEL or drum is not None or (known.is_drum and not channel),
            known.drum if drum is None else drum,
        )

    def _note(self, note: Element) -> None:
        if note.find("grace") is not None:
            return
        length = self._quarters(note)
        if note.find("chord") is None:
            self.chord_start = self.now
            self._move(length)
        instrument = self._instrument_of(note)
        pitch = self._pitch(note, instrument)
        if pitch is None or not 0 <= pitch <= 127 or length <= 0 or note.find("cue") is not None:
            return
        loudness = _number(note.get("dynamics"))
        self.measure.notes.append(
            Note(
                self.chord_start,
                length,
                pitch,
                _velocity(loudness) if loudness > 0 else self.velocity,
                self.part,
                note.findtext("voice") or "",
                instrument,
                _ties(note),
                note,
            )
        )

    def _instrument_of(self, note: Element) -> Instrument:
        chosen = note.find("instrument")
        if chosen is not None and chosen.get("id") in self.instruments:
            return self.instruments[chosen.get("id", "")]
        first = next(iter(self.instruments.values()), Instrument())
        return first if len(self.instruments) < 2 else first._replace(drum=None)

    def _pitch(self, note: Element, instrument: Instrument) -> int | None:
        """Returns the MIDI pitch that sounds; None for a rest and for unknown percussion."""
        if note.find("unpitched") is not None:
            return instrument.drum
        step = (note.findtext("pitch/step") or "").strip()
        octave = (note.findtext("pitch/octave") or "").strip()
        if step not in NATURALS or octave not in OCTAVES:
            return None
        alter = _number(note.findtext("pitch/alter"))
        shift = 0 if instrument.is_drum else self._transposition(note)
        return round(12 * (int(octave) + 1) + NATURALS[step] + alter + shift)

    # Directions --------------------------------------------------------------------------------

    def _direction(self, direction: Element) -> None:
        sounds = direction.findall("sound")
        offset = direction.find("offset")
        shift = 0.0
        if offset is not None and offset.get("sound") == "yes":
            shift = self._quarters(direction, "offset")
        for metronome in direction.iter("metronome"):
            if qpm := _qpm(metronome):
                self.metronomes[max(self.now + shift, 0.0)] = qpm
        for sound in sounds:
            self._sound(sound, shift)
        if not any(name in sound.attrib for name in JUMPS for sound in sounds):
            self._words(direction)

    def _words(self, direction: Element) -> None:
        """Reads jumps of a direction that has no `sound` for them."""
        words = " ".join("".join(e.itertext()) for e in direction.iter("words")).split()
        jumps = [name for pattern, name in WORDS if pattern.match(" ".join(words))]
        if direction.find("direction-type/segno") is not None:
            jumps.append("segno")
        if not jumps and direction.find("direction-type/coda") is not None:
            jumps.append("to_coda" if self.now > 0 else "coda")
        for name in jumps:
            self._jump(name, "")

    def _sound(self, sound: Element, shift: float = 0.0) -> None:
        if sound.find("offset") is not None:
            shift = self._quarters(sound, "offset")
        qpm = _number(sound.get("tempo"))
        if TEMPOS[0] <= qpm <= TEMPOS[1]:
            self.measure.tempos[max(self.now + shift, 0.0)] = qpm
        loudness = _number(sound.get("dynamics"))
        if loudness > 0:
            self.velocity = _velocity(loudness)
        for element in sound.findall("midi-instrument"):
            self._instrument(element)
        for attribute, name in JUMPS.items():
            if sound.get(attribute, "no") != "no":
                self._jump(name, sound.get(attribute, ""))
        if sound.get("forward-repeat") == "yes":
            self.measure.signs.starts_repeat = True

    def _jump(self, name: str, label: str) -> None:
        signs = self.measure.signs
        if name in ("da_capo", "fine"):
            setattr(signs, name, True)
        else:
            getattr(signs, name).add(label)

    def _harmony(self, harmony: Element) -> None:
        symbol = chord_symbol(harmony, round(self._transposition(harmony)))
        if symbol is not None:
            time = max(self.now + self._quarters(harmony, "offset"), 0.0)
            self.measure.chords.setdefault(time, symbol)

    def _barline(self, barline: Element) -> None:
        at_start = barline.get("location", "right" if self.now else "left") == "left"
        for name in ("segno", "coda"):
            if barline.find(name) is not None or barline.get(name):
                self._jump(name, barline.get(name, ""))
        for ending in barline.findall("ending"):
            if ending.get("type") == "start":
                self.endings = _ending_numbers(ending.get("number", ""))
            else:
                self.ending_stops = True
        for repeat in barline.findall("repeat"):
            starts = repeat.get("direction") == "forward"
            index = self.index + (starts and not at_start) - (at_start and not starts)
            if not 0 <= index < len(self.measures):
                continue
            signs = self.measures[index].signs
            if starts:
                signs.starts_repeat = True
                continue
            times = int(min(_number(repeat.get("times")), MAX_TURNS))
            signs.turns = max(signs.turns, times if times > 1 else 2)
            signs.repeats_after_jump |= repeat.get("after-jump") == "yes"


def _number(text: str | None) -> float:
    """Returns a number; 0 if the text is none or an implausible one."""
    try:
        value = float(text or 0)
    except ValueError:
        return 0.0
    return value if abs(value) < MAX_NUMBER else 0.0  # also for NaN


def _from_one(text: str | None) -> int | None:
    """Returns a number of MIDI that MusicXML counts from 1, counted from 0."""
    value = _number(text)
    return int(value) - 1 if 1 <= value <= 128 else None


def _velocity(loudness: float) -> int:
    """Returns the velocity of a loudness in percent of forte."""
    return min(max(round(FORTE * loudness / 100), 1), 127)


def _ties(note: Element) -> frozenset[str]:
    types = {tie.get("type") for tag in ("tie", "notations/tied") for tie in note.findall(tag)}
    if "continue" in types:
        types |= {"start", "stop"}
    return frozenset(kind for kind in ("start", "stop") if kind in types)


def _meter(time: Element) -> tuple[int, int] | None:
    """Returns numerator and denominator, the sum of additive ones; None for free meter."""
    terms = []
    for beats, unit in zip(time.findall("beats"), time.findall("beat-type"), strict=False):
        top, bottom = (re.sub(r"\s", "", element.text or "") for element in (beats, unit))
        if not re.fullmatch(r"\d{1,3}(\+\d{1,3})*", top) or bottom not in ("1", *_POWERS):
            return None
        terms.append((sum(map(int, top.split("+"))), int(bottom)))
    denominator = max((unit for _, unit in terms), default=1)
    numerator = sum(count * denominator // unit for count, unit in terms)
    return (numerator, denominator) if numerator else None


_POWERS = ("2", "4", "8", "16", "32", "64")


def _qpm(metronome: Element) -> float | None:
    """Returns the quarter notes a minute of a metronome mark; None if it has no number."""
    unit = BEATS.get((metronome.findtext("beat-unit") or "").strip())
    number = re.search(r"\d+(\.\d+)?", metronome.findtext("per-minute") or "")
    if unit is None or number is None:
        return None
    qpm = _number(number[0]) * unit * (2 - 0.5 ** min(len(metronome.findall("beat-unit-dot")), 4))
    return qpm if TEMPOS[0] <= qpm <= TEMPOS[1] else None


def _ending_numbers(text: str) -> set[int]:
    """Returns the numbers of an ending: `1, 2` or `1-3`; 1 if there are none."""
    numbers = set()
    for first, last in re.findall(r"(\d{1,2})(?:\s*-\s*(\d{1,2}))?", text):
        numbers.update(range(int(first), int(last or first) + 1))
    return {number for number in numbers if 0 < number <= MAX_TURNS} or {1}

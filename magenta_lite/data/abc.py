"""Tunes in ABC notation (standard 2.1, https://abcnotation.com/wiki/abc:standard:v2.1).

note_seq's own parser rejects rests, grace notes, tuplets, variant endings, parts and more, and thus
about two thirds of the tunes in published books. This reader returns the notes as performed:
repeats and endings are expanded, ties joined, broken rhythms and tuplets resolved. Grace notes and
decorations, which have no duration, are dropped. A pickup is moved to the end of a bar of its own,
so that the bar lines of the tune coincide with those of the NoteSequence.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from magenta_lite.typing import NoteSequence

DEFAULT_QPM = 120.0
VELOCITY = 90
MAX_NOTES = 50_000  # more notes indicate malformed repeats

SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
MIDDLE_C = 60
ORDER_OF_SHARPS = "FCGDAEB"
# Number of sharps of the major key on each letter; modes shift it.
MAJOR_SHARPS = {"C": 0, "D": 2, "E": 4, "F": -1, "G": 1, "A": 3, "B": 5}
MODE_SHIFTS = {"": 0, "maj": 0, "ion": 0, "m": -3, "min": -3, "aeo": -3, "mix": -1, "dor": -2}
MODE_SHIFTS |= {"phr": -4, "lyd": 1, "loc": -5}
ACCIDENTALS = {"^": 1, "_": -1, "=": 0}
# The default q of a tuplet (p:q:r by p; other values of p depend on the meter.
TUPLET_TIMES = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}

LENGTH = r"(?P<{0}n>\d*)(?P<{0}s>/*)(?P<{0}d>\d*)"
PITCH = r"(?P<accidental>\^{1,2}|_{1,2}|=)?(?P<letter>[A-Ga-g])(?P<octave>[,']*)"
TOKEN = re.compile(
    "|".join(
        [
            r"(?P<inline>\[(?P<field>[A-Za-z]):(?P<value>[^\]\n]*)\])",
            r"(?P<grace>\{[^}]*\})",
            r'"(?P<text>[^"\n]*)"?',
            r"(?P<decoration>![^!\n|]*!|\+[a-zA-Z0-9.]+\+)",
            r"\((?P<p>[2-9])(?::(?P<q>\d?))?(?::(?P<r>\d*))?",
            r"(?P<bar>:*\|+[\]|]*:*|:{2,}|\[\||\]|:)(?:\s*\[?(?P<ending>\d(?:[,\-\d]*\d)?))?",
            r"\[(?P<variant>\d(?:[,\-\d]*\d)?)",
            r"\[(?P<chord>[^\]\n]*)\]" + LENGTH.format("c"),
            PITCH + LENGTH.format("l"),
            r"(?P<rest>[zx])" + LENGTH.format("r"),
            r"(?P<bars>[ZX])(?P<count>\d*)",
            r"(?P<space>y)\d*/*\d*",
            r"(?P<tie>-)",
            r"(?P<broken>>+|<+)",
            r"(?P<overlay>&)",
        ]
    )
)
CHORD_NOTE = re.compile(r"(\^{1,2}|_{1,2}|=)?([A-Ga-g])([,']*)" + LENGTH.format("l") + "(-?)")
FIELD_LINE = re.compile(r"^([A-Za-z+]):(.*)$")


class AbcError(ValueError):
    """A tune cannot be read; the message is the reason."""


@dataclasses.dataclass
class Sound:
    """A note, chord or rest: MIDI pitches (none for a rest), and length in whole notes."""

    pitches: list[int]
    length: Fraction
    tied: bool = False
    chord_symbol: str = ""


@dataclasses.dataclass
class Measure:
    """The content between two bar lines."""

    sounds: list[Sound] = dataclasses.field(default_factory=list)
    meter: tuple[int, int] | None = (4, 4)
    starts_repeat: bool = False
    ends_repeat: bool = False
    section_ends: bool = False
    endings: frozenset[int] = frozenset()
    part: str = ""

    @property
    def length(self) -> Fraction:
        """Length in whole notes."""
        return sum((sound.length for sound in self.sounds), Fraction(0))


def split_tunes(text: str) -> list[tuple[str, str]]:
    """Returns (number, text) of each tune of a book, with the file header prepended.

    Repeated numbers get a suffix: `12`, `12-2`.
    """
    chunks = re.split(r"(?m)^(?=X:)", text.replace("\r\n", "\n").replace("\r", "\n"))
    header = "" if chunks[0].startswith("X:") else chunks.pop(0)
    shared = "\n".join(line for line in header.split("\n") if re.match(r"[LMR]:", line))
    seen: dict[str, int] = {}
    tunes = []
    for chunk in chunks:
        number = chunk.split("\n", 1)[0][2:].strip() or "0"
        seen[number] = seen.get(number, 0) + 1
        name = number if seen[number] == 1 else f"{number}-{seen[number]}"
        first, _, rest = chunk.partition("\n")
        tunes.append((name, f"{first}\n{shared}\n{rest}" if shared else chunk))
    return tunes


def read_tune(text: str) -> NoteSequence:
    """Returns the NoteSequence of one tune.

    Each voice is an instrument. Times are in seconds at the tune's tempo, by default 120 quarter
    notes per minute.

    Raises:
        AbcError: If the tune has no key or no notes, or has invalid lengths.
    """
    from note_seq.protobuf import music_pb2

    tune = _Parser(text).parse()
    sequence = music_pb2.NoteSequence(ticks_per_quarter=220)
    sequence.sequence_metadata.title = tune.title
    sequence.tempos.add(qpm=tune.qpm)
    whole = 240 / tune.qpm  # seconds
    for instrument, measures in enumerate(tune.voices.values()):
        _write_voice(sequence, _unfold(_in_order(measures, tune.parts)), instrument, whole)
    if not sequence.notes:
        raise AbcError("no notes")
    sequence.total_time = max(note.end_time for note in sequence.notes)
    return sequence


def _write_voice(sequence, measures: list[Measure], instrument: int, whole: float) -> None:
    now = Fraction(0)
    meter = None
    if measures and measures[0].meter:
        full = Fraction(*measures[0].meter)
        if 0 < measures[0].length < full:
            now = full - measures[0].length  # moves a pickup to the end of its bar
    open_ties: dict[int, Any] = {}
    for i, measure in enumerate(measures):
        if instrument == 0 and measure.meter and measure.meter != meter:
            meter = measure.meter
            time = 0.0 if i == 0 else float(now * whole)
            sequence.time_signatures.add(time=time, numerator=meter[0], denominator=meter[1])
        for sound in measure.sounds:
            end = now + sound.length
            if sound.chord_symbol:
                sequence.text_annotations.add(
                    time=float(now * whole), text=sound.chord_symbol, annotation_type=1
                )
            ties = {}
            for pitch in sound.pitches:
                note = open_ties.get(pitch)
                if note is None:
                    note = sequence.notes.add(
                        pitch=pitch,
                        velocity=VELOCITY,
                        start_time=float(now * whole),
                        instrument=instrument,
                    )
                note.end_time = float(end * whole)
                if sound.tied:
                    ties[pitch] = note
            open_ties = ties
            now = end
        if len(sequence.notes) > MAX_NOTES:
            raise AbcError(f"more than {MAX_NOTES:,} notes")


def _in_order(measures: list[Measure], parts: str) -> list[Measure]:
    """Returns the measures in the order of the parts in the header's P: field, e.g. AABB."""
    names = {measure.part for measure in measures} - {""}
    if not parts or not names or not set(parts) <= names:
        return measures
    by_part: dict[str, list[Measure]] = {}
    for measure in measures:
        by_part.setdefault(measure.part, []).append(measure)
    return [measure for name in parts for measure in by_part[name]]


def _unfold(measures: list[Measure]) -> list[Measure]:
    """Expands repeats and variant endings."""
    played: list[Measure] = []
    start = i = 0
    turn = 1
    while i < len(measures):
        measure = measures[i]
        before = measures[i - 1] if i else measure
        new_section = before.section_ends or (before.endings and not measure.endings)
        if i > start and (measure.starts_repeat or new_section):
            start, turn = i, 1
        if measure.endings and turn not in measure.endings:
            i += 1
            continue
        played.append(measure)
        turns = max([2, *_endings_around(measures, i)])
        if measure.ends_repeat and turn < turns:
            turn, i = turn + 1, start
            continue
        if measure.ends_repeat:
            start, turn = i + 1, 1
        i += 1
        if len(played) > MAX_NOTES:
            raise AbcError("repeats without end")
    return played


def _endings_around(measures: list[Measure], i: int) -> Iterator[int]:
    """Yields the numbers of the adjacent variant endings around measure `i`."""
    while i and measures[i].endings and measures[i - 1].endings:
        i -= 1
    while i < len(measures) and measures[i].endings:
        yield from measures[i].endings
        i += 1


@dataclasses.dataclass
class _Tune:
    title: str
    qpm: float
    parts: str
    voices: dict[str, list[Measure]]


class _Voice:
    """The parser's state for one voice."""

    def __init__(self, key: dict[str, int], unit: Fraction, meter: tuple[int, int] | None):
        self.measures = [Measure(meter=meter)]
        self.key = dict(key)
        self.unit = unit
        self.accidentals: dict[str, int] = {}
        self.tied_names: dict[str, int] = {}
        self.tuplet: tuple[Fraction, int] = (Fraction(1), 0)
        self.broken = Fraction(1)
        self.endings: frozenset[int] = frozenset()
        self.chord_symbol = ""
        self.skipping = False  # between an overlay `&` and the bar line


class _Parser:
    voice: _Voice  # current voice, set when the body begins

    def __init__(self, text: str):
        self.lines = [_without_comment(line) for line in text.split("\n")]
        self.meter: tuple[int, int] | None = (4, 4)
        self.unit: Fraction | None = None
        self.key: dict[str, int] = {}
        self.title = ""
        self.tempo = ""
        self.parts = ""
        self.part = ""
        self.voices: dict[str, _Voice] = {}
        self.in_body = False

    def parse(self) -> _Tune:
        for line in self.lines:
            field = FIELD_LINE.match(line)
            if field:
                self._field(field[1], field[2].strip())
            elif self.in_body:
                self._music(line)
        if not self.in_body:
            raise AbcError("no K: field")
        voices = {
            name: [m for m in voice.measures if m.sounds or m.starts_repeat or m.ends_repeat]
            for name, voice in self.voices.items()
        }
        return _Tune(self.title, self._qpm(), self.parts, voices)

    def _field(self, name: str, value: str) -> None:
        if name == "T" and not self.title:
            self.title = value
        elif name == "M":
            self.meter = _meter(value)
            if self.in_body and self.voice.measures[-1].sounds:
                self._bar("|", None)
            if self.in_body:
                self.voice.measures[-1].meter = self.meter
        elif name == "L":
            self.unit = _fraction(value)
            if self.in_body:
                self.voice.unit = self.unit
        elif name == "K":
            key = _key(value)
            if key is not None:
                self.key = key
            if not self.in_body:
                self.in_body = True
                self._choose_voice("1")
            elif key is not None:
                self.voice.key = dict(key)
        elif name == "Q":
            self.tempo = self.tempo or value
        elif name == "P" and not self.in_body:
            self.parts = _part_order(value)
        elif name == "P":
            self.part = value[:1]
            if self.voice.measures[-1].sounds:
                self._bar("|", None)
            self.voice.measures[-1].part = self.part
        elif name == "V" and self.in_body:
            self._choose_voice(value.split()[0] if value.split() else "1")

    def _choose_voice(self, name: str) -> None:
        first = next(iter(self.voices), None)
        if first == "1" and name not in self.voices and not _has_sounds(self.voices["1"]):
            self.voices[name] = self.voices.pop("1")
        if name not in self.voices:
            self.voices[name] = _Voice(self.key, self._unit(), self.meter)
        self.voice = self.voices[name]

    def _unit(self) -> Fraction:
        if self.unit is not None:
            return self.unit
        short = self.meter is not None and Fraction(*self.meter) < Fraction(3, 4)
        return Fraction(1, 16) if short else Fraction(1, 8)

    def _music(self, line: str) -> None:
        line = line.replace("`", "").replace("\\", " ").replace("$", "")
        for token in TOKEN.finditer(line):
            self._token(token)

    def _token(self, token: re.Match) -> None:
        voice = self.voice
        if token["inline"]:
            self._field(token["field"], token["value"].strip())
        elif token["bar"]:
            self._bar(token["bar"], token["ending"])
        elif token["variant"]:
            if voice.measures[-1].sounds:
                self._bar("|", token["variant"])
            else:
                self._begin_ending(token["variant"])
        elif voice.skipping:
            return
        elif token["overlay"]:
            voice.skipping = True
        elif token["letter"]:
            pitch = self._pitch(token["accidental"], token["letter"], token["octave"])
            self._sound([pitch], _length(token, "l"))
        elif token["chord"] is not None:
            self._chord(token)
        elif token["rest"]:
            self._sound([], _length(token, "r"))
        elif token["bars"]:
            full = Fraction(*self.meter) if self.meter else Fraction(1)
            for i in range(int(token["count"] or 1)):
                if i:
                    self._bar("|", None)
                voice.measures[-1].sounds.append(Sound([], full))
        elif token["p"]:
            self._tuplet(token)
        elif token["broken"]:
            self._broken(token["broken"])
        elif token["tie"]:
            self._tie()
        elif token["text"] and token["text"][0] not in "^_<>@":
            voice.chord_symbol = token["text"].strip()

    def _pitch(self, accidental: str | None, letter: str, octave: str) -> int:
        voice = self.voice
        upper = letter.upper()
        height = letter.islower() + octave.count("'") - octave.count(",")
        if accidental:
            # Valid until the bar line, in every octave.
            voice.accidentals[upper] = ACCIDENTALS[accidental[0]] * len(accidental)
        shift = voice.accidentals.get(upper)
        if shift is None:
            shift = voice.tied_names.get(upper, voice.key.get(upper, 0))
        pitch = MIDDLE_C + SEMITONES[upper] + 12 * height + shift
        if not 0 <= pitch <= 127:
            raise AbcError(f"pitch {pitch} outside 0-127")
        return pitch

    def _sound(self, pitches: list[int], multiple: Fraction) -> None:
        voice = self.voice
        length = voice.unit * multiple * voice.broken
        voice.broken = Fraction(1)
        factor, left = voice.tuplet
        if left:
            length *= factor
            voice.tuplet = (factor, left - 1)
        if length <= 0:
            raise AbcError("a note of length 0")
        sound = Sound(pitches, length, chord_symbol=voice.chord_symbol)
        voice.chord_symbol = ""
        voice.tied_names = {}
        voice.measures[-1].sounds.append(sound)

    def _chord(self, token: re.Match) -> None:
        notes = CHORD_NOTE.findall(token["chord"])
        if not notes:
            return
        pitches = [self._pitch(note[0], note[1], note[2]) for note in notes]
        inner = _ratio(notes[0][3], notes[0][4], notes[0][5])
        self._sound(pitches, inner * _length(token, "c"))
        if any(note[6] for note in notes):
            self._tie()

    def _tie(self) -> None:
        sounds = self.voice.measures[-1].sounds
        if not sounds or not sounds[-1].pitches:
            return
        sounds[-1].tied = True
        # A tied note keeps its accidental over the bar line.
        self.voice.tied_names = dict(self.voice.accidentals)

    def _tuplet(self, token: re.Match) -> None:
        p = int(token["p"])
        compound = self.meter is not None and self.meter[0] % 3 == 0 and self.meter[0] > 3
        q = int(token["q"] or 0) or TUPLET_TIMES.get(p, 3 if compound else 2)
        self.voice.tuplet = (Fraction(q, p), int(token["r"] or 0) or p)

    def _broken(self, marks: str) -> None:
        sounds = self.voice.measures[-1].sounds
        if not sounds:
            return
        short = Fraction(1, 2 ** len(marks))
        long = 2 - short
        before, after = (long, short) if marks[0] == ">" else (short, long)
        sounds[-1].length *= before
        self.voice.broken = after

    def _bar(self, bar: str, ending: str | None) -> None:
        voice = self.voice
        if bar == "]":
            return
        voice.skipping = False
        voice.accidentals = {}
        measure = voice.measures[-1]
        both = set(bar) == {":"} and len(bar) > 1
        measure.ends_repeat |= bar.startswith(":")
        if measure.sounds or measure.ends_repeat:
            measure.section_ends = "||" in bar or "|]" in bar
            if measure.ends_repeat or measure.section_ends:
                voice.endings = frozenset()
            voice.measures.append(Measure(meter=self.meter, endings=voice.endings, part=self.part))
        voice.measures[-1].starts_repeat |= both or (bar.endswith(":") and "|" in bar)
        if voice.measures[-1].starts_repeat:
            voice.endings = voice.measures[-1].endings = frozenset()
        if ending:
            self._begin_ending(ending)

    def _begin_ending(self, text: str) -> None:
        numbers = set()
        for piece in text.split(","):
            low, _, high = piece.partition("-")
            if low:
                numbers.update(range(int(low), int(high or low) + 1))
        self.voice.endings = self.voice.measures[-1].endings = frozenset(numbers)

    def _qpm(self) -> float:
        """Returns the tempo of the Q: field in quarter notes per minute."""
        text = re.sub(r'"[^"]*"', "", self.tempo).strip()
        match = re.fullmatch(r"(?:C?\d*\s*=?\s*)?((?:\d+/\d+\s*)+)=\s*(\d+)", text)
        if match:
            beat = sum(Fraction(part) for part in match[1].split())
            qpm = float(4 * beat * int(match[2]))
        elif text.isdigit():
            qpm = float(4 * self._unit() * int(text))
        else:
            qpm = DEFAULT_QPM
        return qpm if 10 <= qpm <= 1000 else DEFAULT_QPM


def _has_sounds(voice: _Voice) -> bool:
    return any(measure.sounds for measure in voice.measures)


def _without_comment(line: str) -> str:
    if line.startswith("%"):
        return ""
    return re.split(r"(?<!\\)%", line, maxsplit=1)[0].rstrip()


def _ratio(numerator: str, slashes: str, denominator: str) -> Fraction:
    """Returns the factor that a length such as 3, /, // or 3/2 denotes."""
    divisor = int(denominator) if denominator else 2 ** len(slashes)
    if divisor == 0:
        raise AbcError("a length over 0")
    return Fraction(int(numerator or 1), divisor if slashes else 1)


def _length(token: re.Match, prefix: str) -> Fraction:
    return _ratio(token[f"{prefix}n"], token[f"{prefix}s"], token[f"{prefix}d"])


def _fraction(value: str) -> Fraction:
    match = re.match(r"(\d+)(?:\s*/\s*(\d+))?", value)
    if not match or int(match[2] or 1) == 0 or int(match[1]) == 0:
        raise AbcError(f"L:{value} is not a length")
    return Fraction(int(match[1]), int(match[2] or 1))


def _meter(value: str) -> tuple[int, int] | None:
    """Returns numerator and denominator; None for free meter."""
    if value.startswith("C|"):
        return 2, 2
    if value.startswith("C"):
        return 4, 4
    match = re.match(r"\(?([\d+\s]+)\)?\s*/\s*(\d+)", value)
    if not match:
        return None
    numerator = sum(int(n) for n in re.findall(r"\d+", match[1]))
    if numerator == 0 or int(match[2]) == 0:
        raise AbcError(f"M:{value} is not a meter")
    return numerator, int(match[2])


def _part_order(value: str) -> str:
    """Expands an order of parts: A2B to AAB, (AB)2 to ABAB."""
    value = re.sub(r"[^A-Za-z0-9()]", "", value)
    while True:
        wider = re.sub(r"\(([A-Za-z]*)\)(\d*)", lambda m: m[1] * int(m[2] or 1), value)
        if wider == value:
            break
        value = wider
    return re.sub(r"([A-Za-z])(\d+)", lambda m: m[1] * min(int(m[2]), 99), value)


def _key(value: str) -> dict[str, int] | None:
    """Returns the accidentals of a key by letter; None if the field has no key but e.g. a clef."""
    value = value.strip()
    if value.startswith("HP"):
        return {}
    if value.startswith("Hp"):
        return {"F": 1, "C": 1}
    if not value or value.lower().startswith(("none", "clef", "treble", "bass", "alto", "tenor")):
        return None if value and not value.lower().startswith("none") else {}
    match = re.match(r"([A-G])([#b]?)\s*([A-Za-z]*)", value)
    if not match:
        raise AbcError(f"K:{value} is not a key")
    mode = match[3]
    mode = mode if mode == "m" else mode[:3].lower()
    shift = MODE_SHIFTS.get(mode, 0)
    sharps = MAJOR_SHARPS[match[1]] + 7 * {"#": 1, "b": -1, "": 0}[match[2]] + shift
    letters = ORDER_OF_SHARPS[:sharps] if sharps >= 0 else ORDER_OF_SHARPS[sharps:]
    key = {letter: 1 if sharps > 0 else -1 for letter in letters} if sharps else {}
    for accidental, letter in re.findall(r"(\^{1,2}|_{1,2}|=)([A-Ga-g])", value[match.end() :]):
        key[letter.upper()] = ACCIDENTALS[accidental[0]] * len(accidental)
    return key

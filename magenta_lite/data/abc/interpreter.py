"""Interprets the lines of a tune as voices with absolute times and pitches."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from magenta_lite.converters.chords import UnusableChords, canonical
from magenta_lite.data.abc import fields
from magenta_lite.data.abc.books import lines
from magenta_lite.data.abc.fields import AbcError
from magenta_lite.data.abc.score import BarLine, Score
from magenta_lite.data.abc.tokens import CHORD_NOTE, tokens
from magenta_lite.data.abc.voices import Settings, VoiceState

MAX_NOTES = 50_000
MAX_VOICES = 64
MAX_ENDING = 99


class Interpreter:
    """Reads one tune."""

    state: VoiceState  # of the current voice, set when the body begins

    def __init__(self) -> None:
        self.header = Settings()
        # Settings of voices that have not begun; "" is the first voice, whatever its name.
        self.declared: dict[str, list[Callable[[Settings], None]]] = {"": []}
        self.header_voice = ""
        self.title = self.tempo = self.parts = ""
        self.voices: dict[str, VoiceState] = {}
        self.in_body = False
        self.num_notes = 0
        self.actions: dict[str, Callable[[re.Match], None]] = {
            "note": self._note,
            "bar": lambda token: self.state.end_bar(
                _bar_line(token["bar_shape"], token["bar_endings"])
            ),
            "text": lambda token: self._chord_symbol(token["words"]),
            "rest": lambda token: self.state.add([], *_length(token, "rest_")),
            "tie": lambda _: self.state.tie(),
            "broken": lambda token: self.state.break_rhythm(token["broken"]),
            "field": lambda token: self._field(token["name"], token["value"].strip()),
            "variant": lambda token: self.state.mark(_bar_line("", token["endings"])),
            "chord": self._chord,
            "tuplet": lambda token: self.state.tuplet(*map(_number, token.group("p", "q", "r"))),
            "bars": lambda token: self.state.rest_bars(_number(token["count"]) or 1),
            "overlay": self._overlay,
        }

    def read(self, tune: str) -> Score:
        """Returns the tune as written.

        Raises:
            AbcError: If it has no key, or something that cannot be played.
        """
        for letter, value in lines(tune):
            if letter:
                self._field(letter, value)
            elif self.in_body:
                for kind, token in tokens(value):
                    if kind in self.actions:
                        self.actions[kind](token)
        if not self.in_body:
            raise AbcError("no K: field")
        names = [name for name in self.declared if name in self.voices]
        names += [name for name in self.voices if name not in names]
        if all(name.isdecimal() and len(name) <= fields.MAX_DIGITS for name in names):
            names.sort(key=int)
        return Score(self.title, self.parts, [self.voices[name].finished() for name in names])

    def _field(self, name: str, value: str) -> None:
        settings = self.state.settings if self.in_body else self.header
        if name == "T":
            self.title = self.title or value
        elif name == "M":
            settings.meter = fields.meter(value)
            if self.in_body:
                self.state.voice.meters.append((self.state.now, settings.meter))
        elif name == "L":
            settings.unit = fields.unit_length(value)
        elif name == "K":
            self._key(settings, value)
        elif name == "Q" and self.in_body:
            self._tempo(value)
        elif name == "Q":
            self.tempo = value
        elif name == "P" and self.in_body:
            self.state.mark(BarLine(part=value[:1]))
        elif name == "P":
            self.parts = fields.part_order(value)
        elif name == "V":
            self._voice(value)
        elif name == "I":
            self._instruction(re.split(r"[\s=]+", value.strip()))

    def _key(self, settings: Settings, value: str) -> None:
        key = fields.key(value)
        settings.set(fields.properties(value))
        if key is not None:
            settings.key = key
        if not self.in_body:
            self.in_body = True
            settings.unit = settings.unit or fields.default_unit(settings.meter)
            self._choose_voice("1")
            self._tempo(self.tempo)

    def _tempo(self, value: str) -> None:
        qpm = fields.tempo(value, self.state.settings.unit)
        if qpm:
            self.state.voice.tempos.append((self.state.now, qpm))

    def _voice(self, value: str) -> None:
        name = (value.split(maxsplit=1) or ["1"])[0]
        properties = fields.properties(value[len(name) :])
        if self.in_body:
            self._choose_voice(name)
            self.state.settings.set(properties)
        else:
            self.header_voice = name
            self._declare(name, lambda settings: settings.set(properties))

    def _instruction(self, words: list[str]) -> None:
        settings = self.state.settings if self.in_body else self.header
        if words[0] == "propagate-accidentals" and words[-1] in ("not", "octave", "pitch"):
            settings.accidentals = words[-1]
        elif words[0] == "MIDI" and (self.in_body or words[1:2] not in (["program"], ["channel"])):
            settings.midi(words[1:])
        elif words[0] == "MIDI":  # for the voice that the header has named last
            self._declare(self.header_voice, lambda settings: settings.midi(words[1:]))

    def _declare(self, name: str, change: Callable[[Settings], None]) -> None:
        self.declared.setdefault(name, []).append(change)

    def _choose_voice(self, name: str) -> None:
        if name not in self.voices:
            implicit = self.voices.get("1")
            if len(self.voices) == 1 and implicit and "1" not in self.declared and not implicit.now:
                self.voices = {name: implicit}  # fields after K: belong to the first voice
            else:
                self.voices[name] = VoiceState(self.header, len(self.voices) + 1)
                self._check_voices()
            for change in self.declared.pop("", []) + self.declared.get(name, []):
                change(self.voices[name].settings)
        self.state = self.voices[name]

    def _check_voices(self) -> None:
        if sum(len(state.lines) for state in self.voices.values()) > MAX_VOICES:
            raise AbcError(f"more than {MAX_VOICES} voices")

    def _note(self, token: re.Match) -> None:
        self.num_notes += 1
        if self.num_notes > MAX_NOTES:
            raise AbcError(f"more than {MAX_NOTES:,} notes")
        self.state.add([self.state.name(token)], *_length(token, ""))

    def _chord(self, token: re.Match) -> None:
        found = list(CHORD_NOTE.finditer(token["notes"]))
        for match in found:
            if match["words"]:
                self._chord_symbol(match["words"])
        notes = [match for match in found if match["letter"]]
        self.num_notes += len(notes)
        if notes:
            inner, outer = _length(notes[0], ""), _length(token, "chord_")
            names = [self.state.name(note) for note in notes]
            self.state.add(names, inner[0] * outer[0], inner[1] * outer[1])
            self.state.tie([bool(note["tie"]) for note in notes])

    def _chord_symbol(self, text: str) -> None:
        """Adds a chord symbol; one that cannot be read, such as "Fine", is left out."""
        text = text.strip()
        if not text or text[0] in "^_<>@":
            return
        try:
            canonical(text)
        except UnusableChords:
            return
        self.state.voice.chord_symbols.append((self.state.now, text))

    def _overlay(self, token: re.Match) -> None:
        self.state.overlay(token["overlay"])
        self._check_voices()


@functools.lru_cache(maxsize=512)
def _bar_line(shape: str, endings: str | None) -> BarLine:
    shape = shape.replace("[|]", "")  # invisible
    if shape and not shape.strip(":"):  # ::
        before = after = max(len(shape) // 2, 1)
    else:
        before = len(shape) - len(shape.lstrip(":"))
        after = len(shape) - len(shape.rstrip(":"))
    is_double = re.search(r"[|\]][|\]]|\[\|(?!\])", shape) is not None
    return BarLine(before, after, is_double, _endings(endings or ""))


def _endings(text: str) -> frozenset[int]:
    numbers: set[int] = set()
    for first, last in re.findall(r"(\d+)(?:-\s?(\d+))?", text):
        low, high = _number(first), _number(last or first)
        if high > MAX_ENDING:
            raise AbcError(f"more than {MAX_ENDING} endings")
        numbers.update(range(low, high + 1))
    return frozenset(numbers)


def _number(digits: str | None) -> int:
    return fields.number(digits) if digits else 0


def _length(token: re.Match, prefix: str) -> tuple[int, int]:
    return fields.ratio(token[f"{prefix}above"], token[f"{prefix}slashes"], token[f"{prefix}below"])

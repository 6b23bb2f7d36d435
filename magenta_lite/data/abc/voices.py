"""The state of a voice while a tune is interpreted, and the notes that it writes."""

from __future__ import annotations

import copy
import dataclasses
import re

from magenta_lite.data.abc import fields
from magenta_lite.data.abc.fields import AbcError
from magenta_lite.data.abc.score import BarLine, Note, Voice

MAX_LENGTH = 10_000 * fields.WHOLE
MAX_BARS = 50_000
DRUM_CHANNEL = 10
MIDDLE_C = 60
# The default q of a tuplet (p:q:r by p; 5, 7 and 9 depend on the meter.
TUPLET_TIMES = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}

Name = tuple[str, int]  # the letter of a note and its octave above middle C


@dataclasses.dataclass
class Settings:
    """What information fields have set: for the tune in its header, then for each voice."""

    key: dict[str, int] = dataclasses.field(default_factory=dict)
    unit: int = 0  # ticks; 0 before it is known
    meter: tuple[int, int] | None = (4, 4)
    octave: int = 0
    transpose: int = 0
    midi_transpose: int = 0
    channel: int = 0
    program: int = 0
    drums: dict[int, int] = dataclasses.field(default_factory=dict)  # pitch to drum
    accidentals: str = "pitch"  # valid for the rest of the bar, or "octave", or "not"

    @property
    def bar(self) -> int:
        """Length of a bar in ticks."""
        return fields.WHOLE * self.meter[0] // self.meter[1] if self.meter else fields.WHOLE

    def set(self, properties: dict[str, int]) -> None:
        """Sets octave and transposition, of those that are given."""
        self.octave = properties.get("octave", self.octave)
        self.transpose = properties.get("transpose", self.transpose)

    def midi(self, words: list[str]) -> None:
        """Follows an instruction of abc2midi; unknown ones are ignored."""
        command, *values = words or [""]
        if command in ("barlines", "nobarlines"):
            self.accidentals = "pitch" if command == "barlines" else "not"
        numbers = [int(word) for word in values if re.fullmatch(r"[+-]?\d{1,3}", word)]
        if command == "drummap" and numbers and re.fullmatch(fields.NOTE, values[0]):
            self.drums[MIDDLE_C + fields.height(values[0])] = numbers[0]
        elif not numbers:
            return
        elif command == "program" and numbers[:-1] in ([], [self.channel]):
            self.program = min(max(numbers[-1], 0), 127)
        elif command == "channel":
            self.channel = numbers[0]
        elif command == "transpose":
            self.midi_transpose = numbers[0]
        elif command == "rtranspose":
            self.midi_transpose += numbers[0]


class _Line:
    """A line of notes: a voice, or an overlay of it."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self.now = 0
        self.sound: list[tuple[Name, int, Note]] = []  # the last one: names, accidentals, notes
        self.sound_start = -1  # -1 if there is no sound in this bar
        self.accidentals: dict[str | Name, int] = {}
        self.tied: dict[Name, int] = {}  # accidentals of the notes that are tied to the next sound
        self.broken: tuple[int, int] = (1, 1)  # factor of the next length, as a fraction
        self.tuplet: tuple[int, int, int] = (1, 1, 0)  # q, p and the number of sounds that are left


class VoiceState:
    """The state of one voice.

    Args:
        header: Settings of the tune's header, with which a voice begins.
        number: Number of the voice, from 1; its MIDI channel unless an instruction sets another.
    """

    def __init__(self, header: Settings, number: int):
        self.settings = copy.deepcopy(header)
        self.settings.channel = number
        self.voice = Voice(meters=[(0, header.meter)])
        self.lines = [_Line()]
        self._index = 0  # of the current line; others than the first are overlays
        self._bar_start = 0
        self._overlay_start: int | None = None  # of an overlay of several bars: (& … &)

    @property
    def line(self) -> _Line:
        """The current line."""
        return self.lines[self._index]

    @property
    def now(self) -> int:
        """The time at which the next note begins."""
        return self.line.now

    def finished(self) -> Voice:
        """Returns the voice as written."""
        self.voice.lines = [line.notes for line in self.lines]
        self.voice.end = max(line.now for line in self.lines)
        return self.voice

    def name(self, note: re.Match) -> tuple[Name, int]:
        """Returns name and accidental of a note of `tokens.PITCH`.

        An accidental is valid until the bar line, in every octave, unless the tune says otherwise.
        Quarter tones become naturals.
        """
        letter, marks, sign = note["letter"].upper(), note["octave"], note["accidental"]
        name = letter, note["letter"].islower() + marks.count("'") - marks.count(",")
        line, rule = self.line, self.settings.accidentals
        place = letter if rule == "pitch" else name
        if sign:
            value = 0 if note["micro"] else fields.ACCIDENTALS[sign[0]] * len(sign)
            if rule != "not":
                line.accidentals[place] = value
            return name, value
        if place in line.accidentals:
            return name, line.accidentals[place]
        return name, line.tied.get(name, self.settings.key.get(letter, 0))

    def add(self, names: list[tuple[Name, int]], above: int, below: int) -> None:
        """Adds a note, a chord or a rest of `above` / `below` units.

        Raises:
            AbcError: If a pitch is outside 0-127, or the tune becomes too long.
        """
        line, settings = self.line, self.settings
        length = settings.unit * above * line.broken[0] // (below * line.broken[1])
        q, p, left = line.tuplet
        if left:
            length = length * q // p
            line.tuplet = q, p, left - 1
        line.broken, line.sound_start = (1, 1), line.now
        self._advance(max(length, 1))
        shift = MIDDLE_C + 12 * settings.octave + settings.transpose + settings.midi_transpose
        is_drum = settings.channel == DRUM_CHANNEL
        notes: dict[int, Note] = {}  # a chord may have a pitch twice
        line.sound = []
        for name, accidental in names:
            pitch = shift + fields.SEMITONES[name[0]] + 12 * name[1] + accidental
            if is_drum:
                pitch = settings.drums.get(pitch, pitch)
            if not 0 <= pitch <= 127:
                raise AbcError(f"pitch {pitch} outside 0-127")
            if pitch not in notes:
                note = Note(line.sound_start, line.now, pitch, settings.program, is_drum)
                notes[pitch] = note
            line.sound.append((name, accidental, notes[pitch]))
        line.notes += notes.values()
        line.tied = {}

    def _advance(self, length: int) -> None:
        if self.now + length > MAX_LENGTH:
            raise AbcError(f"longer than {MAX_LENGTH // fields.WHOLE:,} whole notes")
        self.line.now += length

    def rest_bars(self, count: int) -> None:
        """Adds whole bars of rest."""
        for i in range(count):
            if i:
                self.end_bar(BarLine())
            self.add([], self.settings.bar, self.settings.unit)

    def tie(self, which: list[bool] | None = None) -> None:
        """Ties the last sound, or some of its notes, to the next one."""
        sound = self.line.sound
        for is_tied, (name, accidental, note) in zip(
            which or [True] * len(sound), sound, strict=True
        ):
            if is_tied:
                note.tied = True
                self.line.tied[name] = accidental  # over the bar line, too

    def break_rhythm(self, marks: str) -> None:
        """Lengthens the last sound and shortens the next, or the other way round."""
        line = self.line
        if line.sound_start < 0 or len(marks) > 3:
            return
        short, below = 1, 2 ** len(marks)
        factors = (2 * below - short, below), (short, below)
        (above, below), line.broken = factors if marks[0] == ">" else factors[::-1]
        length = (line.now - line.sound_start) * above // below
        line.now = line.sound_start
        self._advance(length)
        for _, _, note in line.sound:
            note.end = line.now

    def tuplet(self, p: int, q: int, r: int) -> None:
        """Begins a tuplet: p notes in the time of q, for the next r notes; 0 is the default."""
        meter = self.settings.meter
        is_compound = meter is not None and meter[0] % 3 == 0 and meter[0] > 3
        q = q or TUPLET_TIMES.get(p, (3 if is_compound else 2) if p in (5, 7, 9) else 0)
        if p > 1 and q:
            self.line.tuplet = q, p, r or p

    def end_bar(self, bar_line: BarLine) -> None:
        """Ends the bar; overlays that are shorter or longer than the voice end with it."""
        if self._overlay_start is None:
            end = max(line.now for line in self.lines)
            self._index = 0
            self.line.now = self._bar_start = end
            for line in self.lines:
                line.accidentals, line.sound_start = {}, -1
        else:
            self.line.accidentals, self.line.sound_start = {}, -1
        if self._index:
            return
        times = self.voice.bar_times
        if self.now and (not times or times[-1] != self.now):
            times.append(self.now)
            if len(times) > MAX_BARS:
                raise AbcError(f"more than {MAX_BARS:,} bars")
        self.mark(bar_line)

    def mark(self, bar_line: BarLine) -> None:
        """Adds what a bar line, an ending or a part says; overlays say nothing."""
        if not self._index and bar_line != BarLine():
            marks = self.voice.marks
            marks[self.now] = marks.get(self.now, BarLine()).merged(bar_line)

    def overlay(self, sign: str) -> None:
        """Goes back to the beginning of the bar, or of what stands between `(&` and `&)`."""
        if sign == "(&":
            self._overlay_start = self.now
        elif sign.startswith("&)"):
            self._overlay_start = None
            end = max(line.now for line in self.lines)
            self._index = 0
            self.line.now = end
        else:
            self._index += 1
            if self._index == len(self.lines):
                self.lines.append(_Line())
            start = self._bar_start if self._overlay_start is None else self._overlay_start
            self.line.now = start

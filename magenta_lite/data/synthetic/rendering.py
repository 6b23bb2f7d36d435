"""Renders tunes and chorales as piano performances with rubato, dynamics, articulation and pedal.

Deterministic: all random choices are seeded by a hash of the piece's name. These performances let
models train without a download; recordings of pianists are better data.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import random
from collections.abc import Iterator
from typing import NamedTuple

from magenta_lite.converters.base import Report
from magenta_lite.data import reading, splitting
from magenta_lite.data.synthetic import arranging
from magenta_lite.data.synthetic.drumming import BAR
from magenta_lite.data.synthetic.harmony import HALF_BAR, Span, Triad
from magenta_lite.errors import unknown_name
from magenta_lite.typing import NoteSequence

COLLECTIONS = ("", "folk", "chorales")  # the collections of `arranging` except lead sheets
PARTS = ("Melody", "Inner", "Bass")  # `Note.part` is an index into this

# Tempos in quarter notes per minute. Chorales are slow; dances are limited by the left hand.
CHORALE_QPM, TUNE_QPM = (56.0, 88.0), (80.0, 132.0)
# Relative slowing at the ends of a phrase (a parabola: Todd 1985), and the tempo of the last step
# relative to that (final ritardando: Friberg and Sundberg 1999).
RUBATO, FINAL = (0.04, 0.14), (0.5, 0.75)

# Seconds. Melodies lead by up to some 30 ms (Goebl 2001); notes of a chord are not simultaneous.
LEAD, JITTER, SPREAD = (0.01, 0.03), 0.012, 0.05
LEAD_IN = 0.1  # before the first beat, so that early notes start after 0
SHORTEST, RELEASE = 0.03, 0.01  # shortest note, and gap before a repeated note

LEVEL = (30.0, 94.0)  # mean velocity of a piece, pp to ff
PART_LEVEL = (12, -8, 0)
ACCENTS = ((BAR, 7), (HALF_BAR, 4), (4, 2))  # (steps, velocity) of notes on multiples of the steps

# Transposed by three semitones in training, tunes cover all keys of a piano.
LOWEST, HIGHEST = 24, 105

# Patterns of the left hand for half a bar: step, length, and notes of the chord: B low root, O its
# octave, and L, M and H the notes of a close triad from low to high.
LEFT_HANDS = (
    ((0, 8, "BLMH"),),
    ((0, 4, "B"), (4, 4, "LMH")),
    ((0, 4, "BO"), (4, 2, "LMH"), (6, 2, "LMH")),
    ((0, 2, "L"), (2, 2, "H"), (4, 2, "M"), (6, 2, "H")),
    ((0, 2, "B"), (2, 2, "L"), (4, 2, "M"), (6, 2, "H")),
    ((0, 8, "B"), *((i, 1, "LMHM"[i % 4]) for i in range(8))),
)


class Note(NamedTuple):
    """A note of the score: start and end in steps; `part` is an index into `PARTS`."""

    start: float
    pitch: int
    end: float
    part: int


@dataclasses.dataclass(frozen=True)
class RenderedSource(reading.Source):
    """A file whose pieces are rendered after reading."""

    def read(self) -> tuple[list[reading.Piece], Report]:
        """Returns the performances, and a report with the reasons for dropped pieces."""
        return arranging.remade(self, render, "performances")


def list_pieces(collection: str = "") -> tuple[list[RenderedSource], Report]:
    """Returns the files of one of `COLLECTIONS`, and a report of the dropped files.

    Raises:
        UserError: If there is no such collection, or music21 is not installed.
    """
    if collection not in COLLECTIONS:
        raise unknown_name("rendered collection", collection, filter(None, COLLECTIONS))
    sources, report = arranging.list_tunes(collection)
    return [RenderedSource(source.path, source.name, source.member) for source in sources], report


def render(sequence: NoteSequence, name: str) -> NoteSequence:
    """Returns a piano performance of a piece: four voices as a chorale, else a tune with chords.

    It has sustain pedal events; its times are those of the performance, without relation to its
    bars. The name of the piece seeds all random choices; see also `arranging.arrange`.

    Raises:
        NotArrangedError: If it is in another meter, or too short; the message is the reason.
    """
    parts = arranging.parts_of(sequence)
    _, chords = arranging.chords_of(arranging.harmony_of(parts))
    rng = random.Random(splitting.piece_hash(f"rendered {name}"))
    if "Melody" in parts:
        score = _tune(parts["Melody"], chords, rng)
        clock = Clock(score, 4 * BAR, rng.uniform(*TUNE_QPM), rng)
    else:
        score = _chorale(parts, rng)
        clock = Clock(score, 2 * BAR, rng.uniform(*CHORALE_QPM), rng)  # the length of a line
    return _write(_touched(_played(score, clock, rng)), _pedal(chords, clock, rng))


# The score -----------------------------------------------------------------------------------


def _chorale(parts: dict[str, list[Span]], rng: random.Random) -> list[Note]:
    """Returns the notes of all voices, with the bass in octaves in a third of the chorales."""
    score = [
        Note(note.start, note.pitch, note.end, part)
        for voice, part in zip(arranging.VOICES, (0, 1, 1, 2), strict=True)
        for note in parts[voice]
    ]
    if rng.random() < 1 / 3:
        score += [note._replace(pitch=note.pitch - 12) for note in score if note.part == 2]
    return sorted(score)


def _tune(melody: list[Span], chords: list[Triad], rng: random.Random) -> list[Note]:
    """Returns the notes of a melody in a random octave, and a left hand that plays its chords.

    The left hand starts with the first complete half bar and ends with a chord.
    """
    room = (HIGHEST - max(note.pitch for note in melody)) // 12 * 12
    octave, deep = min(rng.choice((0, 0, 0, 12, 12, 24)), room), rng.choice((LOWEST, LOWEST + 12))
    patterns = rng.sample(LEFT_HANDS, 2)
    score = [Note(note.start, note.pitch + octave, note.end, 0) for note in melody]
    start, end = score[0].start, max(note.end for note in score)
    places = [i for i in range(len(chords)) if start <= i * HALF_BAR < end]
    for i in places:
        at, pattern = i * HALF_BAR, patterns[i // 16 % 2]  # alternating every eight bars
        root, third = chords[i].root, 3 if chords[i].minor else 4
        low, middle, high = sorted(48 + (root + tone) % 12 for tone in (0, third, 7))
        keys = {"B": deep + root, "O": deep + 12 + root, "L": low, "M": middle, "H": high}
        for step, length, tones in pattern if i < places[-1] else LEFT_HANDS[0]:
            stop = min(at + step + length, end)
            if stop > at + step:
                score += [Note(at + step, keys[t], stop, 2 if t in "BO" else 1) for t in tones]
    return sorted(score)


# The performance -----------------------------------------------------------------------------


class Clock:
    """Maps steps to seconds with expressive timing.

    Args:
        score: Sorted notes.
        phrase: Length of a phrase in steps; the first phrase starts with the piece.
        qpm: Mean tempo in quarter notes per minute, without the final ritardando.
        rng: Random generator for the amount of rubato.

    Attributes:
        start: First step.
        end: Step after the last one.
        tempo: Quarter notes per minute at each step from `start` on.
    """

    def __init__(self, score: list[Note], phrase: int, qpm: float, rng: random.Random):
        self.start, self.end = math.floor(score[0].start), max(note.end for note in score)
        self._phrase = phrase
        rubato, final = rng.uniform(*RUBATO), rng.uniform(*FINAL)
        self.tempo, self._seconds = [], [LEAD_IN]
        for step in range(self.start, math.ceil(self.end)):
            tempo = qpm * (1 + rubato * self.arch(step + 0.5))
            self.tempo.append(tempo * math.sqrt(1 - (1 - final**2) * self.ending(step + 0.5)))
            self._seconds.append(self._seconds[-1] + 15 / self.tempo[-1])

    def __call__(self, step: float) -> float:
        """Returns the time of `step` in seconds."""
        whole = min(int(step - self.start), len(self.tempo) - 1)
        return self._seconds[whole] + (step - self.start - whole) * 15 / self.tempo[whole]

    def phrase(self, step: float) -> int:
        """Returns the index of the phrase at `step`."""
        return int((step - self.start) // self._phrase)

    def arch(self, step: float) -> float:
        """Returns the arch of a phrase: -1 at its ends, 0.5 in the middle, 0 on average."""
        place = (step - self.start) / self._phrase % 1
        return 6 * place * (1 - place) - 1

    def ending(self, step: float) -> float:
        """Returns the progress through the last bar: 0 before it, 1 at its end."""
        return min(max(1 - (self.end - step) / BAR, 0.0), 1.0)


class Played(NamedTuple):
    """A performed note: times in seconds."""

    start: float
    pitch: int
    end: float
    velocity: int
    part: int


def _played(score: list[Note], clock: Clock, rng: random.Random) -> Iterator[Played]:
    """Yields the notes with expressive timing, dynamics and articulation."""
    lead, level, swell = rng.uniform(*LEAD), rng.uniform(*LEVEL), rng.uniform(4, 12)
    fading = rng.uniform(0, 0.6)  # relative decrescendo in the last bar
    touches = [rng.uniform(*bounds) for bounds in ((0.7, 1), (0.5, 1), (0.5, 1))]  # by part
    phrases = [rng.uniform(-8, 8) for _ in range(clock.phrase(clock.end) + 1)]
    tops = [note.pitch for note in score if note.part == 0]
    middle = sum(tops) / len(tops)
    for step, group in itertools.groupby(score, lambda note: note.start):
        chord = list(group)  # from low to high
        now, spread = clock(step), rng.triangular(0, SPREAD, 0)
        accent = next((accent for every, accent in ACCENTS if step % every == 0), 0)
        loudness = level + accent + swell * clock.arch(step) + phrases[clock.phrase(step)]
        sound = 1 - fading * clock.ending(step)
        for i, note in enumerate(chord):
            # Triangular deviations are bounded, and the same on every machine.
            late = -lead if note.part == 0 else spread * i / len(chord)
            start = now + late + rng.triangular(-JITTER, JITTER)
            touch = touches[note.part] * rng.triangular(0.9, 1.05)
            end = start + max(SHORTEST, touch * (clock(note.end) - now))
            velocity = loudness + PART_LEVEL[note.part] + rng.triangular(-5, 5)
            if note.part == 0:
                velocity += (note.pitch - middle) / 2  # higher notes are louder
            velocity = min(max(round(velocity * sound), 1), 127)
            yield Played(start, note.pitch, end, velocity, note.part)


def _touched(notes: Iterator[Played]) -> list[Played]:
    """Returns sorted notes without overlaps on a key: a repeated note ends the earlier one."""
    struck: list[Played] = []
    last: dict[int, int] = {}  # index of the last note by pitch
    for note in sorted(notes):
        if note.pitch in last:
            before = struck[last[note.pitch]]
            if note.start - before.start < SHORTEST:  # a unison of two voices: one note
                struck[last[note.pitch]] = before._replace(
                    end=max(before.end, note.end),
                    velocity=max(before.velocity, note.velocity),
                    part=min(before.part, note.part),
                )
                continue
            cut = min(before.end, note.start - RELEASE)
            struck[last[note.pitch]] = before._replace(end=cut)
        last[note.pitch] = len(struck)
        struck.append(note)
    return struck


def _pedal(chords: list[Triad], clock: Clock, rng: random.Random) -> Iterator[tuple[float, bool]]:
    """Yields the times at which the sustain pedal goes down (True) and up (False).

    The pedal changes with the harmony and at every bar line: up at the new chord, and down shortly
    afterwards. It is omitted at random.
    """
    changes = [
        i * HALF_BAR
        for i in range(len(chords))
        if clock.start <= i * HALF_BAR < clock.end and (i % 2 == 0 or chords[i] != chords[i - 1])
    ]
    use = rng.uniform(0.5, 1)
    for step, following in itertools.pairwise([*changes, clock.end]):
        down, up = clock(step) + rng.uniform(0.06, 0.12), clock(following) + rng.uniform(0, 0.04)
        if rng.random() < use and down < up:
            yield down, True
            yield up, False


def _write(notes: list[Played], pedal: Iterator[tuple[float, bool]]):
    from note_seq.protobuf import music_pb2

    sequence = music_pb2.NoteSequence(ticks_per_quarter=480)
    sequence.tempos.add(qpm=120)  # nominal, as in recordings
    for part, name in enumerate(PARTS):
        sequence.part_infos.add(part=part, name=name)
    for note in notes:
        sequence.notes.add(
            pitch=note.pitch,
            velocity=note.velocity,
            start_time=note.start,
            end_time=note.end,
            part=note.part,
        )
    for time, down in pedal:
        sequence.control_changes.add(time=time, control_number=64, control_value=127 * down)
    sequence.total_time = max(note.end for note in notes)
    return sequence

"""Arranges tunes and chorales for a small band: melody, bass, drums and chord symbols.

Deterministic: all random choices are seeded by a hash of the piece's name.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from magenta_lite.converters.base import Report
from magenta_lite.data import chorales, folk, reading
from magenta_lite.data.synthetic.drumming import BAR, STYLES, Drummer, Hit, Style
from magenta_lite.data.synthetic.harmony import HALF_BAR, Key, Span, Triad, guess_chords, guess_key
from magenta_lite.errors import unknown_name
from magenta_lite.typing import NoteSequence

VOICES = ("Soprano", "Alto", "Tenor", "Bass")

MELODY_PROGRAM = 0
BASS_PROGRAM = 33
DRUM_INSTRUMENT = 9

MIN_BARS = 2
TICKS = 220  # per quarter note
LOWEST_BASS = 28  # the E string
GRID = 12  # times are rounded to 1/12 step, which represents triplets and 32nds exactly


class Collection(NamedTuple):
    """Folders of music21's corpus, and whether bass and drums are added."""

    folders: tuple[str, ...]
    band: bool = True


CHORALES = (chorales.FOLDER,)

# By the argument after `arranged:`. Lead sheets have no bass, which a converter of melodies would
# read as another melody.
COLLECTIONS = {
    "": Collection((*folk.BOOKS[""], *CHORALES)),
    "folk": Collection(folk.BOOKS[""]),
    "chorales": Collection(CHORALES),
    "leads": Collection((*folk.BOOKS[""], *CHORALES), band=False),
}


class NotArrangedError(ValueError):
    """A piece cannot be arranged; the message is the reason."""


@dataclasses.dataclass(frozen=True)
class ArrangedSource(reading.Source):
    """A file whose pieces are arranged after reading.

    Attributes:
        band: Whether bass and drums are added.
    """

    band: bool = True

    def read(self) -> tuple[list[reading.Piece], Report]:
        """Returns the arranged pieces, and a report with the reasons for dropped ones."""
        return remade(self, functools.partial(arrange, band=self.band), "arrangements")


def remade(
    source: reading.Source, make: Callable[..., Any], what: str
) -> tuple[list[reading.Piece], Report]:
    """Reads a source and applies `make` to its pieces; returns them and a report.

    Args:
        source: The source to read.
        make: Called with a NoteSequence and the name of the piece; returns a NoteSequence, or
            raises NotArrangedError.
        what: Name under which the report counts the pieces.
    """
    pieces, report = reading.read_source(source)
    made = []
    for piece in pieces:
        try:
            made.append(dataclasses.replace(piece, music=make(piece.sequence, piece.name)))
        except NotArrangedError as error:
            report.drop(str(error), piece.name)
    if made:
        report.keep(what, len(made))
    return made, report


def list_tunes(collection: str = "") -> tuple[list[ArrangedSource], Report]:
    """Returns the files of a key of `COLLECTIONS`, and a report of the dropped files.

    Raises:
        UserError: If there is no such collection, or music21 is not installed.
    """
    if collection not in COLLECTIONS:
        raise unknown_name("arranged collection", collection, filter(None, COLLECTIONS))
    folders, band = COLLECTIONS[collection]
    sources, report = folk.list_corpus(folders)
    return [ArrangedSource(s.path, s.name, s.member, band=band) for s in sources], report


def arrange(sequence: NoteSequence, name: str, band: bool = True) -> NoteSequence:
    """Arranges a piece for a band: four voices as a chorale, anything else as a tune.

    Args:
        sequence: A NoteSequence with one tempo, in 4/4, 2/2 or 2/4 (two bars as one).
        name: Name of the piece, which seeds the style, the tempo and the drums.
        band: Whether bass and drums are added.

    Returns:
        A NoteSequence in 4/4 with one tempo: melody (program 0), chord symbols at the chord
        changes, and, with `band`, bass (program 33) and drums.

    Raises:
        NotArrangedError: If it is in another meter, or too short; the message is the reason.
    """
    parts = parts_of(sequence)
    melody = parts.get("Soprano") or parts["Melody"]
    return Band(name).play(melody, harmony_of(parts), parts.get("Bass"), band)


def parts_of(sequence: NoteSequence) -> dict[str, list[Span]]:
    """Returns the voices of a chorale by name, or the first voice of a tune as `Melody`.

    Notes are sorted by time, in steps of 4/4 bars; see `arrange`.

    Raises:
        NotArrangedError: If it is in another meter or for other parts; the message is the reason.
    """
    names = {info.name: info.part for info in sequence.part_infos}
    if names.keys() >= set(VOICES):
        parts = {
            voice: _spans((note for note in sequence.notes if note.part == names[voice]), sequence)
            for voice in VOICES
        }
        if not all(parts.values()):
            raise NotArrangedError("chorale with an empty voice")
        return parts
    if len(names) > 1:
        raise NotArrangedError("score of several parts that is not for soprano to bass")
    first = min(note.instrument for note in sequence.notes)
    notes = (note for note in sequence.notes if note.instrument == first)
    return {"Melody": _spans(notes, sequence)}


def harmony_of(parts: Mapping[str, list[Span]]) -> list[Span]:
    """Returns the notes from which chords are estimated: all notes, and those of a bass twice."""
    return [note for notes in parts.values() for note in notes] + parts.get("Bass", [])


def chords_of(harmony: list[Span]) -> tuple[Key, list[Triad]]:
    """Returns the key of a piece, and a chord for each half bar.

    Raises:
        NotArrangedError: If the piece is shorter than `MIN_BARS` bars.
    """
    bars = math.ceil(max(note.end for note in harmony) / BAR - 1e-6)
    if bars < MIN_BARS:
        raise NotArrangedError(f"shorter than {MIN_BARS} bars")
    key = guess_key(harmony)
    return key, guess_chords(harmony, 2 * bars, key)


# Reading the meter ---------------------------------------------------------------------------


def _spans(notes: Iterable, sequence) -> list[Span]:
    """Returns notes in steps of 4/4 bars, sorted by time, with a pickup at the end of its bar.

    Raises:
        NotArrangedError: If the bars do not fit 4/4.
    """
    if len({tempo.qpm for tempo in sequence.tempos}) > 1:
        raise NotArrangedError("tempo changes")
    qpm = sequence.tempos[0].qpm if sequence.tempos else 120.0
    rate = qpm / 60 * 4  # steps per second
    shift = _shift(sequence, rate)

    def steps(seconds: float) -> float:
        return round((seconds * rate + shift) * GRID) / GRID

    return sorted(
        (Span(note.pitch, steps(note.start_time), steps(note.end_time)) for note in notes),
        key=lambda note: (note.start, -note.pitch),
    )


def _shift(sequence, rate: float) -> int:
    """Returns the shift in steps that aligns the bars of a piece with those of 4/4."""
    meters = [(m.time * rate, m.numerator, m.denominator) for m in sequence.time_signatures]
    lengths = {numerator / denominator for _, numerator, denominator in meters}
    if lengths <= {1.0}:
        return 0
    if lengths == {0.5}:
        # Two bars count as one. A pickup is already at the end of its own short bar.
        starts_late = min(note.start_time for note in sequence.notes) * rate >= 0.5
        return HALF_BAR if starts_late else 0
    # Editions write a pickup as a separate bar, and shorten the bar before a repeated pickup. If
    # all longer bars start at the same position of the 4/4 grid, the piece is still in 4/4.
    lines = {round(time) % BAR for time, top, bottom in meters if time > 0 and top / bottom >= 0.75}
    if 1.0 not in lengths or max(lengths) > 1 or len(lines) != 1:
        _, numerator, denominator = meters[0]
        raise NotArrangedError(
            f"time signature {numerator}/{denominator} is not 4/4 or 2/4"
            if len(lengths) == 1
            else "time signature changes"
        )
    return -lines.pop() % BAR


# The band ------------------------------------------------------------------------------------


class Band:
    """Arranges one piece.

    Args:
        name: Name of the piece, which seeds all random choices.

    Attributes:
        style: Style of the arrangement.
        qpm: Tempo in quarter notes per minute.
    """

    def __init__(self, name: str):
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
        self._rng = random.Random(int.from_bytes(digest[8:16], "big"))
        self.style: Style = STYLES[self._rng.choice(sorted(STYLES))]
        self.qpm = self._rng.randint(*self.style.qpm)

    def play(
        self, melody: list[Span], harmony: list[Span], bass: list[Span] | None, band: bool = True
    ) -> NoteSequence:
        """Returns the arrangement as a NoteSequence.

        Args:
            melody: Notes of the melody.
            harmony: Notes from which the chords are estimated.
            bass: Notes of the bass; None to generate a bass line.
            band: Whether bass and drums are added.

        Raises:
            NotArrangedError: If the piece is too short.
        """
        melody = _one_at_a_time(melody)
        key, chords = chords_of(harmony)
        if not band:
            return self._write(melody, [], [], chords)
        drums = Drummer(self.style, self._rng).play(len(chords) // 2, math.floor(melody[-1].start))
        if bass is None:
            end = max(note.end for note in harmony)
            bass = _bass_line(self.style, self._rng, chords, key, end)
        return self._write(melody, _one_at_a_time(bass), drums, chords)

    def _write(self, melody, bass, drums: list[Hit], chords: list[Triad]):
        from note_seq.protobuf import music_pb2

        sequence = music_pb2.NoteSequence(ticks_per_quarter=TICKS)
        sequence.tempos.add(qpm=self.qpm)
        sequence.time_signatures.add(numerator=4, denominator=4)
        seconds = 15 / self.qpm  # per step
        for instrument, (program, line) in enumerate(
            ((MELODY_PROGRAM, melody), (BASS_PROGRAM, bass))
        ):
            for note in line:
                sequence.notes.add(
                    pitch=note.pitch,
                    velocity=_accent(note.start) + self._rng.randint(-3, 3),
                    start_time=self._swung(note.start) * seconds,
                    end_time=self._swung(note.end) * seconds,
                    instrument=instrument,
                    program=program,
                )
        for hit, end in _drum_ends(drums):
            sequence.notes.add(
                pitch=hit.pitch,
                velocity=hit.velocity,
                start_time=hit.time * seconds,
                end_time=end * seconds,
                instrument=DRUM_INSTRUMENT,
                is_drum=True,
            )
        for i, chord in enumerate(chords):
            if i == 0 or chord != chords[i - 1]:
                sequence.text_annotations.add(
                    time=i * HALF_BAR * seconds,
                    text=chord.symbol,
                    annotation_type=music_pb2.NoteSequence.TextAnnotation.CHORD_SYMBOL,
                )
        sequence.total_time = max(note.end_time for note in sequence.notes)
        return sequence

    def _swung(self, step: float) -> float:
        """Returns the time of a step with swing, which delays the second of two 16th notes."""
        pair, inside = divmod(step, 2)
        swing = self.style.swing
        bent = inside * (1 + swing) if inside <= 1 else (1 + swing) + (inside - 1) * (1 - swing)
        return 2 * pair + bent


def _one_at_a_time(notes: list[Span]) -> list[Span]:
    """Makes a line monophonic: keeps the highest of simultaneous notes, and cuts overlaps."""
    line: list[Span] = []
    for note in notes:
        if line and note.start == line[-1].start:
            continue  # the highest note comes first in the order of `_spans`
        if line and line[-1].end > note.start:
            line[-1] = line[-1]._replace(end=note.start)
        line.append(note)
    return line


def _accent(step: float) -> int:
    """Returns the velocity of a note at `step`, by its metrical accent."""
    if step % BAR == 0:
        return 102
    return 92 if step % 4 == 0 else 84


def _drum_ends(hits: Sequence[Hit]) -> list[tuple[Hit, float]]:
    """Returns each hit with its end: the time of the next hit, or an eighth note later."""
    ends, end = [], math.inf
    for i in reversed(range(len(hits))):
        later = hits[i + 1].time if i + 1 < len(hits) else math.inf
        if later - hits[i].time > 0.5:  # closer hits count as simultaneous
            end = later
        ends.append((hits[i], min(end, hits[i].time + 2)))
    return ends[::-1]


def _bass_line(
    style: Style, rng: random.Random, chords: list[Triad], key: Key, end: float
) -> list[Span]:
    """Returns a bass line: patterns of the style on the chord of each half bar, and a last note."""
    patterns = rng.sample(style.basses, 2)
    line: list[Span] = []
    bars = len(chords) // 2
    for bar in range(bars):
        pattern = patterns[bar // BAR % 2] if bar + 1 < bars else "R---------------"
        for step, character in enumerate(pattern):
            at = bar * BAR + step
            if character == "." or at >= end:
                continue
            if character == "-":
                line[-1] = line[-1]._replace(end=at + 1)
                continue
            chord = chords[at // HALF_BAR]
            following = chords[min(bar * 2 + 2, len(chords) - 1)]
            line.append(Span(_bass_pitch(character, chord, following, key), at, at + 1))
    line[-1] = line[-1]._replace(end=max(end, line[-1].start + 1))
    return line


def _bass_pitch(character: str, chord: Triad, following: Triad, key: Key) -> int:
    root = _root_pitch(chord)
    if character == "A":
        if following == chord:
            return _root_pitch(chord) + 7 if root < 36 else root - 5
        goal = _root_pitch(following)
        steps = (-1, -2, 1, 2) if root <= goal else (1, 2, -1, -2)
        return next(goal + s for s in steps if (goal + s) % 12 in key.scale)
    if character == "5":
        return root + 7 if root < 36 else root - 5
    return root + {"R": 0, "8": 12, "3": 3 if chord.minor else 4}[character]


def _root_pitch(chord: Triad) -> int:
    """Returns the MIDI pitch of a chord's root in the low octave of a bass, G to F sharp."""
    lowest = LOWEST_BASS + 3
    return lowest + (chord.root - lowest) % 12

"""Melodies as inputs of models of accompaniments: one id a step, 92 ids.

`melody_notes` infers the melody of a performance, `legato` extends its notes, and a
`TextMelodyCodec` converts it to ids. Rhythms and chords have similar codecs.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable

import numpy as np

from magenta_lite.converters.base import CHORD_CLASSES, Report, pitch_outside
from magenta_lite.converters.chords import (
    UnusableChords,
    chord_line,
    chord_symbols,
    nearest_class,
    typed_symbols,
)
from magenta_lite.converters.converter import checked_ids
from magenta_lite.converters.grid import (
    DEFAULT_QPM,
    MAX_STEPS,
    Stretch,
    at_one_tempo,
    is_playable,
    tempo_map,
    to_step,
    to_steps,
)
from magenta_lite.converters.melody_extraction import NO_EVENT, NOTE_OFF
from magenta_lite.converters.performance_codec import VELOCITIES
from magenta_lite.converters.score import NoteArrays, Score, without
from magenta_lite.converters.writing import add_melody, new_sequence
from magenta_lite.errors import UserError
from magenta_lite.typing import Music, NoteSequence

PAD, END = 0, 1
RESERVED = 2
FIRST_PITCH = 4  # after the ids of "no event" and "note-off"
CHORDS_SIZE = RESERVED + CHORD_CLASSES


@dataclasses.dataclass(frozen=True)
class TextMelodyCodec:
    """Codec of melodies, with one id a step: 2 no event, 3 note-off, 4 and up note-ons.

    Ids 0 and 1 are padding and end, as in performances; there are 92 ids with the pitches of a
    piano (Magenta's `TextMelodyConverterAbsolute`; `TextMelodyConverter` on a grid of quarters).

    Attributes:
        min_pitch: Lowest MIDI pitch.
        max_pitch: Highest MIDI pitch.
        steps_per_second: Grid resolution; 10 for steps of 100 ms.
        steps_per_quarter: Grid resolution in musical time instead, which follows the tempo; 0 to
            use `steps_per_second`.
    """

    min_pitch: int = 21
    max_pitch: int = 108
    steps_per_second: int = 10
    steps_per_quarter: int = 0

    @property
    def size(self) -> int:
        """Vocabulary size."""
        return FIRST_PITCH + self.max_pitch - self.min_pitch + 1

    # Notes to ids --------------------------------------------------------------------------

    def ids_of(self, music: Music, report: Report | None = None) -> list[int]:
        """Returns the ids (T,) of a piece up to its total time.

        Of overlapping notes the later one counts, and every end is a note-off, as in the original,
        which expects melodies. `report` counts the dropped items: drums and notes out of range.
        """
        report, score = Report() if report is None else report, Score.of(music)
        if self.steps_per_quarter:
            score = at_one_tempo(score)
        notes, rate = self._notes(score, report), self.steps_per_second
        if self.steps_per_quarter:
            rate = self.steps_per_quarter * _qpm(score, report) / 60
        return [self._id(event) for event in _melody(notes, score, rate, report)]

    def ids_of_events(self, events: Iterable[int]) -> list[int]:
        """Returns the ids of events: MIDI pitches, -1 for note-off, -2 for no event.

        Raises:
            UserError: If a pitch is out of range.
        """
        events = list(events)
        for event in events:
            if event not in (NO_EVENT, NOTE_OFF) and not self._in_range(event):
                raise UserError(
                    f"{event} in a melody is not a pitch from {self.min_pitch} to "
                    f"{self.max_pitch}; -1 ends a note and -2 goes on"
                )
        return [self._id(event) for event in events]

    def ids_of_text(self, text: str) -> list[int]:
        """Returns the ids of a melody that a user typed: "60 -2 67 -1" or "[60, -2, 67, -1]".

        Raises:
            UserError: If a word is not an integer, or a pitch is out of range.
        """
        words = text.strip(" []").replace(",", " ").split()
        try:
            events = [int(word) for word in words]
        except ValueError as error:
            raise UserError(
                f"'{text}' is not a melody; write pitches from {self.min_pitch} to "
                f"{self.max_pitch}, -1 where a note ends and -2 where nothing new begins, e.g. "
                "'60 -2 67 -1'"
            ) from error
        return self.ids_of_events(events)

    def _id(self, event: int) -> int:
        """Returns the id of an event: -2, -1 or a pitch."""
        return event - NO_EVENT + RESERVED if event < 0 else event - self.min_pitch + FIRST_PITCH

    def _in_range(self, pitch: int) -> bool:
        return self.min_pitch <= pitch <= self.max_pitch

    def _notes(self, score: Score, report: Report) -> NoteArrays:
        """Returns the notes in range, sorted by onset."""
        notes = score.notes
        if not is_playable(score, report):
            return notes[:0]
        outside = (notes.pitch < self.min_pitch) | (notes.pitch > self.max_pitch)
        reason = pitch_outside(self.min_pitch, self.max_pitch)
        notes = notes[without(report, ("drum note", notes.is_drum), (reason, outside))]
        return notes[np.argsort(notes.start, kind="stable")]

    # Ids to notes --------------------------------------------------------------------------

    def events_of(self, ids: Iterable[int]) -> list[int]:
        """Returns MIDI pitches, -1 for note-off and -2 for no event, up to the first id 1.

        Raises:
            ValueError: If an id is out of range.
        """
        ids = checked_ids(itertools.takewhile(lambda id: id != END, ids), self.size)
        return [self._event(id) for id in ids]

    def _event(self, id: int) -> int:
        if id >= FIRST_PITCH:
            return id - FIRST_PITCH + self.min_pitch
        return NO_EVENT if id == PAD else id - RESERVED + NO_EVENT

    def decode(
        self, ids: Iterable[int], qpm: float = DEFAULT_QPM, program: int = 0
    ) -> NoteSequence:
        """Returns the NoteSequence of ids (T,); every sequence of ids is valid.

        The first 1 ends the melody, and 0 is no event. `qpm` affects times only on a grid of
        quarters.
        """
        events = self.events_of(ids)
        seconds = 1 / self.steps_per_second
        if self.steps_per_quarter:
            seconds = 60 / qpm / self.steps_per_quarter
        sequence = new_sequence(qpm, metrical=self.steps_per_quarter > 0)
        add_melody(sequence, events, seconds, program)
        sequence.total_time = len(events) * seconds
        return sequence


@dataclasses.dataclass(frozen=True)
class RhythmCodec:
    """Codec of onsets with velocities: 2 no event, 4 and up the velocity bins; 36 ids.

    Magenta's `FlattenedTextMelodyConverterAbsolute`. Id 3 is not used.

    Attributes:
        steps_per_second: Grid resolution.
        velocity_bins: Number of velocity bins.
    """

    steps_per_second: int = 10
    velocity_bins: int = 32

    @property
    def size(self) -> int:
        """Vocabulary size."""
        return FIRST_PITCH + self.velocity_bins

    def ids_of(self, music: Music, report: Report | None = None) -> list[int]:
        """Returns the ids (T,) of a piece up to its total time; `report` counts drops."""
        report, score = Report() if report is None else report, Score.of(music)
        if not is_playable(score, report):
            return []
        notes = score.notes[without(report, ("note of velocity 0", score.notes.velocity <= 0))]
        notes = notes[np.argsort(notes.start, kind="stable")]
        starts, ends = _quantized(notes, score, self.steps_per_second, report)
        if not len(starts):
            return []
        ids = [RESERVED] * max(int(ends.max()), to_step(_seconds(score), self.steps_per_second))
        bin_size = -(-VELOCITIES // self.velocity_bins)
        bins = (np.minimum(notes.velocity, VELOCITIES) - 1) // bin_size
        for start, velocity_bin in zip(starts.tolist(), bins.tolist(), strict=True):
            ids[start] = FIRST_PITCH + velocity_bin
        return ids


def chord_ids_of(
    music: Music, steps_per_quarter: int = 1, report: Report | None = None
) -> list[int]:
    """Returns the chord id of each step of a piece.

    The 51 ids are 2 for no chord, then 12 roots each of major, minor, augmented and diminished, up
    to the total time or the last chord symbol, whichever is later. Without chord symbols the chords
    are inferred. `report` counts the dropped items.
    """
    report, score = Report() if report is None else report, Score.of(music)
    if not is_playable(score, report):
        return []
    score = at_one_tempo(score)
    qpm = _qpm(score, report)
    rate = steps_per_quarter * qpm / 60
    _, ends = _quantized(score.notes, score, rate, report)
    if not len(ends):
        return []
    meter = score.time_signatures[0] if score.time_signatures else None
    numerator, denominator = (meter.numerator, meter.denominator) if meter else (4, 4)
    try:
        chords = chord_line(Stretch(score, qpm, numerator, denominator), steps_per_quarter)
    except UnusableChords as error:
        report.drop(error.reason, error.symbol)
        return []
    last = max((time for time, _ in chord_symbols(score)), default=0.0)
    steps = max(
        int(ends.max()), to_step(_seconds(score), rate), min(to_step(last, rate), MAX_STEPS)
    )
    return [RESERVED + int(chord) for chord in chords.at(range(steps))]


def chord_ids_of_text(text: str) -> list[int]:
    """Returns the ids of chords that a user typed, one a step: "C G Am F N.C.".

    Raises:
        UserError: If a symbol is unknown.
    """
    return [RESERVED + nearest_class(symbol) for symbol in typed_symbols(text)]


# Melodies of performances ----------------------------------------------------------------------


def melody_notes(sequence: NoteSequence) -> NoteSequence:
    """Returns a NoteSequence of the inferred melody of a performance, with times unchanged.

    note_seq's inference prefers high notes and small intervals. It ignores drums and the sustain
    pedal, which must be applied first. Notes of the melody start with notes of the performance,
    which is not modified.

    Returns:
        A NoteSequence with the tempos, time signatures and total time of `sequence`, and notes of
        velocity 127 on an unused instrument; without notes if `sequence` is not playable.

    Raises:
        UserError: If a piece is too long, with about 5,000 notes.
    """
    from note_seq import melody_inference

    melody = type(sequence)()
    melody.CopyFrom(sequence)
    if not is_playable(sequence, Report()):
        del melody.notes[:]
        return melody
    melody.total_time = _seconds(Score.of(sequence))
    notes = len(sequence.notes)
    try:
        with np.errstate(divide="ignore", invalid="ignore"):  # logarithms of zero probabilities
            melody_inference.infer_melody_for_sequence(melody)
    except melody_inference.MelodyInferenceError as error:
        raise UserError(
            f"No melody can be found in a piece of {notes:,} notes ({error}); "
            "cut it into shorter ones"
        ) from error
    del melody.notes[:notes]
    for part in ("control_changes", "pitch_bends", "instrument_infos"):
        melody.ClearField(part)
    return melody


def legato(score: Score) -> Score:
    """Returns a score in which each note lasts until the next, and the last to the end.

    Magenta's accompaniment model was trained on such melodies, without rests. The notes are sorted
    by onset.
    """
    notes = score.notes[np.argsort(score.notes.start, kind="stable")]
    last = np.maximum(notes.end[-1:], score.total_time)
    notes = dataclasses.replace(notes, end=np.append(notes.start[1:], last))
    return dataclasses.replace(score, notes=notes)


# Steps -----------------------------------------------------------------------------------------


def _melody(notes: NoteArrays, score: Score, rate: float, report: Report) -> list[int]:
    """Returns the melody events of sorted notes, at `rate` steps a second."""
    starts, ends = _quantized(notes, score, rate, report)
    if not len(starts):
        return []
    events = [NO_EVENT] * max(int(ends.max()), to_step(_seconds(score), rate))
    for start, end, pitch in zip(starts.tolist(), ends.tolist(), notes.pitch.tolist(), strict=True):
        events[start] = pitch
        if end < len(events):
            events[end] = NOTE_OFF
    return events


def _quantized(
    notes: NoteArrays, score: Score, rate: float, report: Report
) -> tuple[np.ndarray, np.ndarray]:
    """Returns start and end step of each note; none if the piece cannot be quantized."""
    if not len(notes) or not rate:
        return np.zeros(0, int), np.zeros(0, int)
    if not _seconds(score) * rate <= MAX_STEPS:
        report.drop(f"music longer than {MAX_STEPS:,} steps")
        return np.zeros(0, int), np.zeros(0, int)
    starts = to_steps(notes.start, rate)
    return starts, np.maximum(to_steps(notes.end, rate), starts + 1)


def _seconds(score: Score) -> float:
    """Returns the duration of playable music; a total time that is not finite is ignored."""
    return max(score.end, score.total_time) if math.isfinite(score.total_time) else score.end


def _qpm(score: Score, report: Report) -> float:
    """Returns the tempo of a piece `at_one_tempo`; reports the reason and returns 0 without one."""
    if not score.tempos:
        return DEFAULT_QPM
    if tempo_map(score, 1) is None:
        report.drop("tempo that is not a positive number")
        return 0.0
    return score.tempos[0].qpm

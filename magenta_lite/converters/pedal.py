"""The sustain pedal, applied to notes by the rules of note_seq."""

from __future__ import annotations

import collections
import dataclasses
from typing import NamedTuple

import numpy as np

from magenta_lite.converters.score import NoteArrays, Score
from magenta_lite.typing import NoteSequence

SUSTAIN_PEDAL = 64  # number of the control change
HALF_DOWN = 64  # lowest value of a pedal that is down
TICK = 0.005  # seconds; changes so close to each other may be one tick of a file
DOWN, UP, NOTE_ON, NOTE_OFF = range(4)  # order of the events of one time


class Held(NamedTuple):
    """The effect of the pedal.

    Attributes:
        end: Ends of the notes in seconds, float (N,).
        kept: Mask of the notes that remain, bool (N,).
        total_time: Total time of the piece in seconds.
    """

    end: np.ndarray
    kept: np.ndarray
    total_time: float


def held(notes: NoteArrays, score: Score) -> Held:
    """Returns the effect of the pedals of `score` on `notes`, which are some of its notes.

    A note whose instrument holds the pedal lasts until the pedal is released, or until the next
    note of its pitch. Of notes of one pitch that begin together with a pedal only the last one
    remains. Drums are not changed.
    """
    pedals = score.controls[score.controls.number == SUSTAIN_PEDAL]
    kept, total_time = np.ones(len(notes), bool), score.total_time
    if not len(pedals):
        return Held(notes.end, kept, total_time)
    melodic = np.flatnonzero(~notes.is_drum)
    times = np.concatenate([notes.start[melodic], notes.end[melodic], pedals.time])
    kinds = np.repeat([NOTE_ON, NOTE_OFF], len(melodic))
    kinds = np.concatenate([kinds, np.where(pedals.value >= HALF_DOWN, DOWN, UP)])
    subjects = np.concatenate([melodic, melodic, pedals.instrument])
    order = np.lexsort((kinds, times))
    events = zip(*(each[order].tolist() for each in (times, kinds, subjects)), strict=True)

    starts, ends = notes.start.tolist(), notes.end.tolist()
    pitches, instruments = notes.pitch.tolist(), notes.instrument.tolist()
    down: set[int] = set()  # instruments
    # The notes of each pitch of each instrument that sound or are held.
    active: dict[int, dict[int, list[int]]] = collections.defaultdict(dict)
    time = 0.0
    for time, kind, subject in events:
        if kind == DOWN:
            down.add(subject)
            continue
        if kind == UP:
            down.discard(subject)
            sounding = {}
            for pitch, notes_of_pitch in active[subject].items():
                for note in notes_of_pitch:
                    if ends[note] < time:
                        ends[note] = time
                        total_time = max(total_time, time)
                    else:
                        sounding.setdefault(pitch, []).append(note)
            active[subject] = sounding
            continue
        instrument, pitch = instruments[subject], pitches[subject]
        sounding = active[instrument].setdefault(pitch, [])
        if kind == NOTE_ON:
            if instrument in down:
                for note in sounding:
                    ends[note] = time
                    kept[note] = starts[note] < time
                sounding.clear()
            sounding.append(subject)
        elif instrument not in down and subject in sounding:
            sounding.remove(subject)
    left = [note for parts in active.values() for part in parts.values() for note in part]
    for note in left:
        ends[note] = time
    return Held(np.array(ends), kept, time if left else total_time)


def sustained(score: Score) -> Score:
    """Returns a score with the sustain pedal applied to its notes; see `held`."""
    if SUSTAIN_PEDAL not in score.controls.number:
        return score
    effect = held(score.notes, score)
    notes = dataclasses.replace(score.notes, end=effect.end)[effect.kept]
    return dataclasses.replace(score, notes=notes, total_time=effect.total_time)


def with_sustain(sequence: NoteSequence) -> NoteSequence:
    """Returns a NoteSequence with the sustain pedal applied to its notes; see `held`."""
    if not any(change.control_number == SUSTAIN_PEDAL for change in sequence.control_changes):
        return sequence
    score = Score.of(sequence)
    effect = held(score.notes, score)
    whole = type(sequence)()
    whole.CopyFrom(sequence)
    for note, end in zip(whole.notes, effect.end.tolist(), strict=True):
        note.end_time = end
    for index in np.flatnonzero(~effect.kept)[::-1].tolist():
        del whole.notes[index]
    whole.total_time = effect.total_time
    return whole


def without_pedal(sequence: NoteSequence, start: float, end: float) -> NoteSequence:
    """Returns a NoteSequence without presses of the sustain pedal from `start` to `end`, seconds.

    A pedal that was pressed there and is down at the end is pressed at the end, unless it changes
    right then.
    """
    kept, down = type(sequence)(), {}
    kept.CopyFrom(sequence)
    del kept.control_changes[:]
    for change in sorted(sequence.control_changes, key=lambda change: change.time):
        is_pedal = change.control_number == SUSTAIN_PEDAL
        if is_pedal and start <= change.time < end:
            pressed = change.control_value >= HALF_DOWN
            down[change.instrument] = change if pressed else None
            if pressed:
                continue
        elif is_pedal and end <= change.time < end + TICK:
            down[change.instrument] = None
        kept.control_changes.add().CopyFrom(change)
    for change in filter(None, down.values()):
        kept.control_changes.add().CopyFrom(change)
        kept.control_changes[-1].time = end
    return kept

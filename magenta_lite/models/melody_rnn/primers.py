"""What is continued, for each kind of music, and how what comes out becomes notes again."""

from __future__ import annotations

import ast
import dataclasses
import math
from typing import Any, ClassVar

from magenta_lite.encoders.base import Report
from magenta_lite.encoders.event_sequences.melody import without_silent_end
from magenta_lite.encoders.grid import is_playable, stretches_with_notes
from magenta_lite.encoders.melody_extraction import NO_EVENT, NOTE_OFF, as_fresh_melody
from magenta_lite.encoders.performance_codec import PlayedNote
from magenta_lite.encoders.writing import add_melody, new_sequence
from magenta_lite.errors import UserError

HIGHEST_PITCH = 127
MELODY_EXAMPLE = "[60, -2, 62, -2]"
DRUMS_EXAMPLE = "[(36,), (), (42,)]"
PITCHES_EXAMPLE = "[60, 64, 67]"
PRIMER_VELOCITY = 100
SIXTEENTHS_PER_QUARTER = 4


class Primer:
    """Events to go on from; subclasses are made of an encoder and a `GenerateRequest`.

    Attributes:
        noun: What it is made of, for messages.
        options: Fields of a `GenerateRequest` that only this kind of music understands.
        usual_steps: Length of a piece, primer included, where the request does not say.
        ids: Event ids (P,), at least one.
        steps: Length in steps.
        qpm: Tempo of the piece it comes from; None for none of its own.
        shift: Semitones that its notes were moved by.
    """

    noun: ClassVar[str]
    options: ClassVar[tuple[str, ...]]
    usual_steps: ClassVar[int] = 128
    ids: Any
    steps: int
    qpm: float | None = None
    shift: int = 0

    def music(self, ids, qpm: float, new_steps: int):
        """Returns the NoteSequence of primer and continuation.

        Args:
            ids: Int (T,), the primer first; -1 after the last event.
            qpm: Quarter notes a minute.
            new_steps: Steps that were to be added.
        """
        raise NotImplementedError


class MelodyPrimer(Primer):
    """A melody: a list of events, the melody of a file, or middle C."""

    noun = "melodies"
    options = ("primer_melody", "magenta_timing")

    def __init__(self, encoder, request):
        self._encoder, self._request = encoder, request
        events = self._events()
        if request.magenta_timing:
            events = [*without_silent_end(events), NOTE_OFF, NO_EVENT]
        self._squashed = encoder.squash(events)
        self.steps, self.shift = len(events), self._squashed.shift
        self.ids = encoder.to_ids(self._squashed.events)

    def _events(self) -> list[int]:
        request = self._request
        piece = given_piece(request, {"primer_melody": MELODY_EXAMPLE})
        if piece:
            events, self.qpm = _melody_of(self._encoder, *piece, request.window)
            return events
        if request.primer_melody:
            return parse_melody(request.primer_melody)
        return self._encoder.default_primer

    def music(self, ids, qpm: float, new_steps: int):
        request = self._request
        melody = self._encoder.to_events(ids)
        melody = self._squashed.undo(melody, restore_folded=not request.magenta_timing)
        if request.only_new:
            melody = as_fresh_melody(melody[self.steps :])
        return self._encoder.decode_events(melody, qpm, request.programs or None)


class DrumsPrimer(Primer):
    """Drums: a list of what is hit on each step, the drums of a file, or a kick."""

    noun = "drums"
    options = ("primer_drums",)

    def __init__(self, encoder, request):
        self._encoder, self._request = encoder, request
        self.ids = self._given_ids()
        self.steps = len(self.ids)

    def _given_ids(self) -> list[int]:
        request, encoder = self._request, self._encoder
        piece = given_piece(request, {"primer_drums": DRUMS_EXAMPLE})
        if piece:
            ids, self.qpm = _drums_of(encoder, *piece)
            return ids
        if request.primer_drums:
            return parse_drums(request.primer_drums, encoder)
        return [encoder.encoding.start_id]

    def music(self, ids, qpm: float, new_steps: int):
        ids = ids[self.steps :] if self._request.only_new else ids
        return self._encoder.decode(ids, qpm, self._request.programs or None)


class PerformancePrimer(Primer):
    """A performance: a chord, a melody, a file, or a second of silence."""

    noun = "performances"
    options = ("primer_pitches", "primer_melody")
    usual_steps = 3000

    def __init__(self, encoder, request):
        self._encoder, self._request = encoder, request
        self.ids = self._given_ids()
        self.steps = encoder.steps(self.ids)

    def _given_ids(self) -> list[int]:
        request, encoder = self._request, self._encoder
        examples = {"primer_pitches": PITCHES_EXAMPLE, "primer_melody": MELODY_EXAMPLE}
        piece = given_piece(request, examples)
        if piece:
            return _performance_of(encoder, *piece)
        if request.primer_pitches:
            quarter = 60 / request.qpm
            notes = [
                PlayedNote(0.0, pitch, quarter, PRIMER_VELOCITY)
                for pitch in sorted(parse_pitches(request.primer_pitches))
            ]
            return encoder.codec.ids(notes)
        if request.primer_melody:
            sequence = new_sequence(request.qpm)
            sixteenth = 60 / request.qpm / SIXTEENTHS_PER_QUARTER
            add_melody(sequence, parse_melody(request.primer_melody), sixteenth, program=0)
            return _ids_of(encoder, "--primer_melody", sequence)
        return [encoder.encoding.start_id]

    def music(self, ids, qpm: float, new_steps: int):
        request, end = self._request, self.steps + new_steps
        ids = self._encoder.cut(ids, end)
        whole = self._encoder.decode(ids, qpm, request.programs or None)
        return _from(whole, self._seconds) if request.only_new else whole

    @property
    def _seconds(self) -> float:
        return self.steps / self._encoder.config.steps_per_second


# By the kind of the encoder.
PRIMERS: dict[str, type[Primer]] = {
    "event_melody": MelodyPrimer,
    "event_drums": DrumsPrimer,
    "event_performance": PerformancePrimer,
}


def given_piece(request, flags: dict[str, str]):
    """Returns name and NoteSequence of the primer's file; None if there is none.

    Args:
        request: A `GenerateRequest`.
        flags: The fields that give a primer as text, and an example of each.

    Raises:
        UserError: If there are several primers, or none where there must be one.
    """
    given = [f"--{name}" for name in flags if getattr(request, name)]
    given += ["--input"] if request.inputs else []
    if len(given) > 1:
        raise UserError(f"{' and '.join(given)} both give a primer: give one of them")
    if len(request.inputs) > 1:
        raise UserError(f"{len(request.inputs)} --input files: a piece has one primer")
    if not given and request.mode == "continue":
        texts = " or ".join(f"--{name}={example}" for name, example in flags.items())
        raise UserError(f"--mode=continue needs a primer: --input=FILE or {texts}")
    return request.inputs[0] if request.inputs else None


def _listed(flag: str, text: str, example: str, item: type | tuple[type, ...]) -> list:
    """Returns the items of a list as text. Raises: UserError if it is not a list of `item`s."""
    refusal = UserError(f"--{flag}={text} is not a list like {example}")
    try:
        items = ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise refusal from error
    if not isinstance(items, list | tuple) or not all(
        isinstance(value, item) and not isinstance(value, bool) for value in items
    ):
        raise refusal
    if not items:
        raise UserError(f"--{flag}=[] is empty; leave it out to start from nothing")
    return list(items)


def _reasons(report: Report) -> str:
    return "; ".join(f"{reason} ({n})" for reason, n in report.dropped.items())


# Melodies -----------------------------------------------------------------------------------


def parse_melody(text: str) -> list[int]:
    """Returns the events of a list such as "[60, -2, 62]". Raises: UserError if it is none."""
    events = _listed("primer_melody", text, MELODY_EXAMPLE, int)
    for event in events:
        if not NO_EVENT <= event <= HIGHEST_PITCH:
            raise UserError(
                f"--primer_melody has {event}; events are MIDI pitches from 0 to {HIGHEST_PITCH}, "
                f"{NOTE_OFF} for note-off and {NO_EVENT} for no event"
            )
    return as_fresh_melody(events)


def _melody_of(encoder, name: str, tune, window: str) -> tuple[list[int], float]:
    """Returns events and tempo of a melody of a piece: the one that `window` numbers.

    The melody with the most notes is the first.
    """
    melodies, report = _melodies(encoder, tune)
    if not melodies:
        raise UserError(f"{name} gives no melody to go on from: {_reasons(report)}")
    if not window.isdigit() or not 1 <= int(window) <= len(melodies):
        raise UserError(f"--window={window}: {name} has melodies 1 to {len(melodies)}")
    part, events, qpm = melodies[int(window) - 1]
    choice = "; choose another with --window" if len(melodies) > 1 else ""
    print(f"{name}: melody {window} of {len(melodies)}, {part}, {len(events)} steps{choice}")
    lower = report.dropped.get("lower note of several that start together", 0)
    if lower:
        print(f"{name}: {lower} notes under others that start with them are left out")
    return events, qpm


def _melodies(encoder, tune):
    """Returns (name, events, qpm) of each instrument, that with most notes first, and a report."""
    report = Report()
    whole = _without_gaps(encoder, skip_polyphony=False)
    found = []
    for stretch in stretches_with_notes(tune, report)[:1]:
        for melody in whole.melodies(stretch, report):
            found.append((_part_name(tune, melody.instrument), melody.events, stretch.qpm))
    found.sort(key=lambda melody: -sum(event >= 0 for event in melody[1]))
    return found, report


def _without_gaps(encoder, **changes):
    """Returns an encoder for which no silence ends a piece."""
    return type(encoder)(dataclasses.replace(encoder.config, gap_bars=math.inf, **changes))


def _part_name(tune, instrument: int) -> str:
    names = {info.instrument: info.name for info in tune.instrument_infos}
    program = next(note.program for note in tune.notes if note.instrument == instrument)
    name = names.get(instrument) or f"instrument {instrument}"
    return f"{name} (program {program})"


# Drums --------------------------------------------------------------------------------------


def parse_drums(text: str, encoder) -> list[int]:
    """Returns the ids of a list such as "[(36,), (), (42,)]". Raises: UserError if it is none."""
    steps = _listed("primer_drums", text, DRUMS_EXAMPLE, (tuple, list))
    known = encoder.known_pitches
    for pitch in (pitch for step in steps for pitch in step):
        if type(pitch) is not int or pitch not in known:
            raise UserError(
                f"--primer_drums has {pitch}, which is no drum that the model knows; it knows "
                f"{', '.join(map(str, sorted(known)))}"
            )
    return [encoder.id_of(step) for step in steps]


def _drums_of(encoder, name: str, piece) -> tuple[list[int], float]:
    """Returns ids and tempo of the drums of a piece, from the bar of the first hit to the last."""
    report, whole = Report(), _without_gaps(encoder)
    for stretch in stretches_with_notes(piece, report)[:1]:
        for track in whole.tracks(stretch, report):
            print(f"{name}: drums of {len(track.events)} steps")
            return track.events, stretch.qpm
    raise UserError(f"{name} gives no drums to go on from: {_reasons(report)}")


# Performances -------------------------------------------------------------------------------


def parse_pitches(text: str) -> list[int]:
    """Returns the pitches of a list such as "[60, 64]". Raises: UserError if it is none."""
    pitches = _listed("primer_pitches", text, PITCHES_EXAMPLE, int)
    for pitch in pitches:
        if not 0 <= pitch <= HIGHEST_PITCH:
            raise UserError(
                f"--primer_pitches has {pitch}; MIDI pitches go from 0 to {HIGHEST_PITCH}"
            )
    return pitches


def _performance_of(encoder, name: str, piece) -> list[int]:
    """Returns the ids of a whole piece."""
    ids = _ids_of(encoder, name, piece)
    print(f"{name}: {len(ids)} events, {encoder.steps(ids)} steps")
    return ids


def _ids_of(encoder, name: str, piece) -> list[int]:
    report = Report()
    notes = encoder.codec.notes(piece, report) if is_playable(piece, report) else []
    if not notes:
        raise UserError(f"{name} gives no notes to go on from: {_reasons(report)}")
    return encoder.codec.ids(notes)


def _from(sequence, seconds: float):
    """Returns what begins at `seconds` or later, moved to the start."""
    later = [note for note in sequence.notes if note.start_time >= seconds]
    cut = new_sequence(sequence.tempos[0].qpm, metrical=bool(sequence.time_signatures))
    for note in later:
        note.start_time -= seconds
        note.end_time -= seconds
    cut.notes.extend(later)
    cut.total_time = max((note.end_time for note in later), default=0.0)
    return cut

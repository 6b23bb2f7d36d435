"""Primers for each kind of music, and decoding of their continuations to notes."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, ClassVar

from magenta_lite.converters.base import Report
from magenta_lite.converters.chords import typed_symbols
from magenta_lite.converters.event_sequences.melody import without_silent_end
from magenta_lite.converters.grid import is_playable
from magenta_lite.converters.melody_extraction import NO_EVENT, NOTE_OFF, as_fresh_melody
from magenta_lite.converters.performance_codec import PlayedNote
from magenta_lite.converters.writing import add_marker, add_melody, new_sequence
from magenta_lite.errors import UserError
from magenta_lite.families.melody_rnn.songs import (
    Passage,
    drums_of_song,
    end_of_song,
    melody_of_song,
    reasons,
)
from magenta_lite.typing import Events, NoteSequence

if TYPE_CHECKING:
    from magenta_lite.converters.converter import Converter
    from magenta_lite.converters.event_sequences.drums import EventDrumsConverter
    from magenta_lite.converters.event_sequences.melody import EventMelodyConverter
    from magenta_lite.converters.event_sequences.performance import EventPerformanceConverter
    from magenta_lite.families.melody_rnn.options import MelodyRNNOptions

HIGHEST_PITCH = 127
MELODY_EXAMPLE = "[60, -2, 62, -2]"
DRUMS_EXAMPLE = "[(36,), (), (42,)]"
PITCHES_EXAMPLE = "[60, 64, 67]"
USUAL_CHORDS = "C G Am F C G F C"  # default backing chords
PRIMER_VELOCITY = 100
SIXTEENTHS_PER_QUARTER = 4


class Primer:
    """Events to continue.

    Attributes:
        texts: Options that give a primer as text, with an example of each.
        options: Other options for this kind of music only.
        usual_steps: Default length of a piece in steps, primer included.
        ids: Event ids (P,), at least one.
        steps: Length in steps.
        qpm: Tempo of the primer's song in quarter notes per minute; None without a song.
        shift: Semitones by which its notes were transposed.
        passage: The passage of a song that it comes from; None without a song.
    """

    texts: ClassVar[dict[str, str]]
    options: ClassVar[tuple[str, ...]]
    usual_steps: int = 128
    ids: Any
    steps: int
    qpm: float | None = None
    shift: int = 0
    passage: Passage | None = None

    def __init__(self, converter: Converter, options: MelodyRNNOptions):
        self._converter: Any = converter
        self._options = options

    @classmethod
    def check(cls, converter: Any, options: MelodyRNNOptions) -> None:
        """Checks the options of primers; files are not read.

        Raises:
            UserError: If there are several primers, a required one is missing, or one is invalid.
        """
        given = [f"--{name}" for name in cls.texts if getattr(options, name)]
        given += ["--input"] if options.inputs else []
        if len(given) > 1:
            raise UserError(f"{' and '.join(given)} both give a primer: give one of them")
        if len(options.inputs) > 1:
            raise UserError(f"{len(options.inputs)} --input files: a piece has one primer")
        if not given and options.mode == "continue":
            texts = " or ".join(f"--{name}={example}" for name, example in cls.texts.items())
            raise UserError(f"--mode=continue needs a primer: --input=FILE or {texts}")
        for name in ("primer_bars", "primer_seconds"):
            if getattr(options, name) is not None and not options.inputs:
                raise UserError(f"--{name} is how much of --input=FILE is continued; give one")
        if options.primer_bars is not None and options.primer_seconds is not None:
            raise UserError("--primer_bars and --primer_seconds both say how much; leave one out")
        for name in cls.texts:
            if getattr(options, name):
                cls._parse(name, getattr(options, name), converter)

    @staticmethod
    def _parse(name: str, text: str, converter) -> list:
        """Returns the parsed text of an option. Raises: UserError if it is invalid."""
        raise NotImplementedError

    def marked(self, sequence: NoteSequence, seconds: float) -> NoteSequence:
        """Adds a marker at the end of a user's primer of `seconds` to a sequence, and returns it.

        Without the primer, with the option `only_new`, there is no marker.
        """
        options = self._options
        is_given = options.inputs or any(getattr(options, name) for name in self.texts)
        if is_given and not options.only_new:
            add_marker(sequence, "continuation", seconds)
        return sequence

    def music(self, ids: Events, qpm: float, new_steps: int) -> NoteSequence:
        """Decodes primer and continuation to a NoteSequence with a marker at the primer's end.

        Args:
            ids: Int (T,), the primer first; -1 after the last event.
            qpm: Tempo in quarter notes per minute.
            new_steps: Number of steps that were requested after the primer.
        """
        raise NotImplementedError


class MelodyPrimer(Primer):
    """A melody: a list of events, the melody of a file, or, by default, middle C."""

    texts: ClassVar[dict[str, str]] = {"primer_melody": MELODY_EXAMPLE}
    options = ("magenta_timing", "primer_bars")

    def __init__(self, converter: EventMelodyConverter, options: MelodyRNNOptions):
        super().__init__(converter, options)
        events = self._events()
        if options.magenta_timing:
            events = [*without_silent_end(events), NOTE_OFF, NO_EVENT]
        self._squashed = converter.squash(events)
        self.steps, self.shift = len(events), self._squashed.shift
        self.ids = converter.to_ids(self._squashed.events)

    def _events(self) -> list[int]:
        options = self._options
        if self._converter.config.chords and (options.backing_chords or not options.inputs):
            chords = typed_symbols(options.backing_chords or USUAL_CHORDS, "backing_chords")
            self.usual_steps = len(chords) * options.steps_per_chord
        for name, song in options.inputs:
            part = melody_of_song(self._converter, name, song, options, self.usual_steps)
            self.passage, self.qpm = part, part.stretch.qpm
            return part.events
        if options.primer_melody:
            return parse_melody(options.primer_melody)
        return self._converter.default_primer

    @staticmethod
    def _parse(name: str, text: str, converter) -> list:
        return parse_melody(text)

    def music(self, ids: Events, qpm: float, new_steps: int) -> NoteSequence:
        options = self._options
        melody = self._converter.to_events(ids)
        melody = self._squashed.undo(melody, restore_folded=not options.magenta_timing)
        if options.only_new:
            melody = as_fresh_melody(melody[self.steps :])
        sequence = self._converter.decode_events(melody, qpm, options.programs or None)
        return self.marked(sequence, _seconds(self._converter, self.steps, qpm))


class DrumsPrimer(Primer):
    """Drums: a list of the hits of each step, the drums of a file, or, by default, a bass drum."""

    texts: ClassVar[dict[str, str]] = {"primer_drums": DRUMS_EXAMPLE}
    options = ("primer_bars",)

    def __init__(self, converter: EventDrumsConverter, options: MelodyRNNOptions):
        super().__init__(converter, options)
        self.ids = self._given_ids()
        self.steps = len(self.ids)

    def _given_ids(self) -> list[int]:
        options, converter = self._options, self._converter
        for name, song in options.inputs:
            part = drums_of_song(converter, name, song, options, self.usual_steps)
            self.passage, self.qpm = part, part.stretch.qpm
            return part.events
        if options.primer_drums:
            return parse_drums(options.primer_drums, converter)
        return [converter.encoding.start_id]

    @staticmethod
    def _parse(name: str, text: str, converter) -> list:
        return parse_drums(text, converter)

    def music(self, ids: Events, qpm: float, new_steps: int) -> NoteSequence:
        ids = ids[self.steps :] if self._options.only_new else ids
        sequence = self._converter.decode(ids, qpm, self._options.programs or None)
        return self.marked(sequence, _seconds(self._converter, self.steps, qpm))


class PerformancePrimer(Primer):
    """A performance: a chord, a melody, a file, or, by default, a second of silence."""

    texts: ClassVar[dict[str, str]] = {
        "primer_pitches": PITCHES_EXAMPLE,
        "primer_melody": MELODY_EXAMPLE,
    }
    options = ("primer_bars", "primer_seconds")
    usual_steps = 3000

    def __init__(self, converter: EventPerformanceConverter, options: MelodyRNNOptions):
        super().__init__(converter, options)
        self.ids = self._given_ids()
        self.steps = converter.steps(self.ids)

    def _given_ids(self) -> list[int]:
        options, converter = self._options, self._converter
        for name, song in options.inputs:
            usual = self.usual_steps / converter.config.steps_per_second
            return _ids_of(converter, name, end_of_song(name, song, options, usual))
        if options.primer_pitches:
            quarter, pitches = 60 / options.qpm, sorted(parse_pitches(options.primer_pitches))
            notes = [PlayedNote(0.0, pitch, quarter, PRIMER_VELOCITY) for pitch in pitches]
            return converter.codec.ids(notes).tolist()
        if options.primer_melody:
            sequence = new_sequence(options.qpm)
            sixteenth = 60 / options.qpm / SIXTEENTHS_PER_QUARTER
            add_melody(sequence, parse_melody(options.primer_melody), sixteenth, program=0)
            return _ids_of(converter, "--primer_melody", sequence)
        return [converter.encoding.start_id]

    @staticmethod
    def _parse(name: str, text: str, converter) -> list:
        return parse_pitches(text) if name == "primer_pitches" else parse_melody(text)

    def music(self, ids: Events, qpm: float, new_steps: int) -> NoteSequence:
        options, end = self._options, self.steps + new_steps
        ids = self._converter.cut(ids, end)
        whole = self._converter.decode(ids, qpm, options.programs or None)
        seconds = self.steps / self._converter.config.steps_per_second
        return _from(whole, seconds) if options.only_new else self.marked(whole, seconds)


# By kind of converter.
PRIMERS: dict[str, type[Primer]] = {
    "event_melody": MelodyPrimer,
    "event_drums": DrumsPrimer,
    "event_performance": PerformancePrimer,
}


def _seconds(converter, steps: int, qpm: float) -> float:
    return steps * 60 / qpm / converter.config.steps_per_quarter


def _listed(flag: str, text: str, example: str, item: type | tuple[type, ...]) -> list:
    """Returns the items of a list in a text. Raises: UserError if it is not a list of `item`s."""
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


# Melodies -----------------------------------------------------------------------------------


def parse_melody(text: str) -> list[int]:
    """Returns the events of a list such as "[60, -2, 62]". Raises: UserError if it is invalid."""
    events = _listed("primer_melody", text, MELODY_EXAMPLE, int)
    for event in events:
        if not NO_EVENT <= event <= HIGHEST_PITCH:
            raise UserError(
                f"--primer_melody has {event}; events are MIDI pitches from 0 to {HIGHEST_PITCH}, "
                f"{NOTE_OFF} for note-off and {NO_EVENT} for no event"
            )
    return as_fresh_melody(events)


# Drums --------------------------------------------------------------------------------------


def parse_drums(text: str, converter: EventDrumsConverter) -> list[int]:
    """Returns the ids of a list like "[(36,), (), (42,)]". Raises: UserError if it is invalid."""
    steps = _listed("primer_drums", text, DRUMS_EXAMPLE, (tuple, list))
    known = converter.known_pitches
    for pitch in (pitch for step in steps for pitch in step):
        if type(pitch) is not int or pitch not in known:
            raise UserError(
                f"--primer_drums has {pitch}, which is not a drum that the model knows; it knows "
                f"{', '.join(map(str, sorted(known)))}"
            )
    return [converter.id_of(step) for step in steps]


# Performances -------------------------------------------------------------------------------


def parse_pitches(text: str) -> list[int]:
    """Returns the pitches of a list such as "[60, 64]". Raises: UserError if it is invalid."""
    pitches = _listed("primer_pitches", text, PITCHES_EXAMPLE, int)
    for pitch in pitches:
        if not 0 <= pitch <= HIGHEST_PITCH:
            raise UserError(
                f"--primer_pitches has {pitch}; MIDI pitches go from 0 to {HIGHEST_PITCH}"
            )
    return pitches


def _ids_of(converter, name: str, piece) -> list[int]:
    report = Report()
    notes = converter.codec.notes(piece, report) if is_playable(piece, report) else []
    if not len(notes):
        raise UserError(f"{name} has no notes to continue: {reasons(report)}")
    return converter.codec.ids(notes).tolist()


def _from(sequence, seconds: float):
    """Returns the notes that begin at `seconds` or later, moved to the start."""
    later = [note for note in sequence.notes if note.start_time >= seconds]
    cut = new_sequence(sequence.tempos[0].qpm, metrical=bool(sequence.time_signatures))
    for note in later:
        note.start_time -= seconds
        note.end_time -= seconds
    cut.notes.extend(later)
    cut.total_time = max((note.end_time for note in later), default=0.0)
    return cut

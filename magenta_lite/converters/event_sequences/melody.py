"""Whole melodies in the range and key of MelodyRNN, with one event per 16th step."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from magenta_lite.converters.base import EncodeResult, EventFormat, Report
from magenta_lite.converters.chords import (
    ChordLine,
    UnusableChords,
    chord_line,
    transpose_chords,
)
from magenta_lite.converters.converter import check_at_least, checked_ids
from magenta_lite.converters.event_sequences.chord_ids import CHORD_VECTORS, CLASSES, stored_class
from magenta_lite.converters.event_sequences.converter import EventSequenceConverter
from magenta_lite.converters.event_sequences.encodings import EventEncoding
from magenta_lite.converters.event_sequences.squash import (
    MIDI_PITCHES,
    OCTAVE,
    Squashed,
    fold,
    squash,
)
from magenta_lite.converters.grid import GridConfig, Stretch, stretches_with_notes
from magenta_lite.converters.melody import FIRST_PITCH_ID, event_id, event_of
from magenta_lite.converters.melody_extraction import (
    NO_EVENT,
    NOTE_OFF,
    as_fresh_melody,
    extract_melodies,
    notes_by_instrument,
)
from magenta_lite.converters.windows import Windows
from magenta_lite.converters.writing import add_melody, new_sequence
from magenta_lite.errors import UserError, unknown_name
from magenta_lite.typing import Events, Music, NoteSequence

MIDDLE_C = 60


@dataclasses.dataclass(frozen=True)
class EventMelodyConverterConfig(GridConfig):
    """Extraction of melodies.

    Attributes:
        min_pitch: Lowest MIDI pitch of the model's range; the highest is at least 11 above.
        max_pitch: Highest MIDI pitch of the model's range.
        transpose_to_key: Major key, 0 (C) to 11, that melodies are transposed to, near the middle
            of the range; null for no transposition. Notes still out of range are folded.
        min_bars: Minimum length; shorter melodies are dropped.
        max_steps: Maximum length; longer melodies are truncated.
        min_unique_pitches: Minimum number of pitch classes; other melodies are dropped.
        gap_bars: Bars of silence after which a melody ends.
        skip_polyphony: Drop the rest of an instrument once two of its notes start together,
            instead of keeping the higher one.
        chords: Condition the model on the chord of the predicted step: `triads`, 49 classes, or
            `pitches`, root, pitches and bass; from the chord symbols of the piece, or inferred if
            it has none. Empty without chords.
        max_examples: Maximum number of melodies of a piece; 0 for all.
    """

    kind: ClassVar[str] = "event_melody"

    min_pitch: int = 48
    max_pitch: int = 83
    transpose_to_key: int | None = 0
    min_bars: int = 7
    max_steps: int = 512
    min_unique_pitches: int = 5
    gap_bars: float = 1.0
    skip_polyphony: bool = True
    chords: str = ""
    max_examples: int = 0

    def __post_init__(self) -> None:
        low, high = self.min_pitch, self.max_pitch
        if not 0 <= low <= low + OCTAVE - 1 <= high <= 127:
            raise UserError(
                f"converter.min_pitch={low} and max_pitch={high} must be MIDI pitches, 0 to 127, "
                f"and span an octave at least: max_pitch={max(high, low + OCTAVE - 1)} or more"
            )
        if self.transpose_to_key is not None and not 0 <= self.transpose_to_key < OCTAVE:
            raise UserError(
                f"converter.transpose_to_key={self.transpose_to_key} must be null, or 0 (C) to "
                "11 (B)"
            )
        if self.chords and self.chords not in CHORD_VECTORS:
            raise unknown_name("converter.chords", self.chords, CHORD_VECTORS)
        check_at_least(self, 1, "steps_per_quarter")
        check_at_least(self, 2, "max_steps")
        check_at_least(self, 0, "min_bars", "min_unique_pitches", "gap_bars", "max_examples")


class FoundMelody(NamedTuple):
    """A melody of a piece.

    Attributes:
        instrument: Number of the instrument in the piece.
        steps_per_bar: Length of a bar in steps.
        start: First step of the melody in its stretch.
        events: `NO_EVENT`, `NOTE_OFF` or a MIDI pitch for each step, up to the end of the last
            note.
    """

    instrument: int
    steps_per_bar: int
    start: int
    events: list[int]


class EventMelodyConverter(EventSequenceConverter):
    """Converts whole melodies to event ids, and back.

    Ids: 0 no event (a note or a rest continues), 1 note-off, 2 and up note-ons from `min_pitch` up.
    """

    config_class = EventMelodyConverterConfig
    default_programs = (0,)
    folds_pitches = True  # as in `squash`, because the range may be narrow

    @property
    def encoding(self) -> EventEncoding:
        """The last event, and its chord if the config has chords."""
        config, low = self.config, self.config.min_pitch
        return EventEncoding(
            num_ids=self.depth,
            min_pitch=low,
            steps_per_bar=self.steps_per_bar,
            chords=config.chords,
            start_id=event_id(fold(MIDDLE_C, low, config.max_pitch + 1), low),
        )

    @property
    def event_format(self) -> EventFormat:
        """One id a step, with chords as controls if the config has them."""
        control = "chords" if self.config.chords else ""
        return EventFormat("categorical", (self.depth,), control=control)

    @property
    def generate_flags(self) -> tuple[str, ...]:
        """Backing chords, for models conditioned on chords."""
        return ("--backing_chords=C G Am F C F G C",) if self.config.chords else ()

    @property
    def depth(self) -> int:
        return FIRST_PITCH_ID + self.config.max_pitch - self.config.min_pitch + 1

    @property
    def pitch_ids(self) -> tuple[tuple[int, int, int], ...]:
        """The ids of note-ons."""
        return ((0, FIRST_PITCH_ID, self.depth - 1),)

    @property
    def default_primer(self) -> list[int]:
        """The primer of pieces without input: middle C, as in the original."""
        return [MIDDLE_C]

    # Notes to ids --------------------------------------------------------------------------

    def encode(self, music: Music) -> EncodeResult:
        """Returns every melody of a piece.

        They are in order of instrument and time, without duplicates.

        Returns:
            Uint8 arrays (T,) of 2 to `max_steps` steps, their chords uint8 (T,) where the config
            has them, and a report of dropped items.
        """
        report = Report()
        windows = Windows(report, self.config.max_examples)
        for stretch in stretches_with_notes(music, self.config, report):
            melodies = [m for m in self.melodies(stretch, report) if self._is_kept(m, report)]
            try:
                chords = self._chords(stretch) if melodies else None
            except UnusableChords as error:
                report.drop(error.reason, error.symbol)
                continue
            for melody in melodies:
                self._add(melody, chords, windows, report)
        return windows.result()

    def _chords(self, stretch: Stretch) -> ChordLine | None:
        """Returns the chords of a stretch, if the config has any. Raises: UnusableChords."""
        reading = self.config.chords
        if not reading:
            return None
        classify = functools.partial(stored_class, reading=reading)
        return chord_line(stretch, self.config.steps_per_quarter, classify)

    def squash(self, events: Sequence[int]) -> Squashed:
        """Transposes and folds melody events to the key and range of the config; see `squash`."""
        config = self.config
        return squash(events, config.min_pitch, config.max_pitch, config.transpose_to_key)

    def to_ids(self, events: Sequence[int]) -> np.ndarray:
        """Returns the ids (T,) of melody events in range."""
        return np.array([event_id(event, self.config.min_pitch) for event in events], np.uint8)

    def melodies(self, stretch: Stretch, report: Report) -> Iterator[FoundMelody]:
        """Yields the melodies of each instrument, of any length; reports dropped notes."""
        bar = self._bar(stretch, report)
        if not bar:
            return
        pitches = (0, MIDI_PITCHES - 1)
        instruments = notes_by_instrument(stretch, self.config.steps_per_quarter, pitches, report)
        for instrument, notes in instruments:
            found = extract_melodies(
                notes,
                steps_per_bar=bar,
                gap_bars=self.config.gap_bars,
                skip_polyphony=self.config.skip_polyphony,
                steps_per_quarter=self.config.steps_per_quarter,
                report=report,
            )
            for melody in found:
                events = without_silent_end(melody.events.tolist())
                yield FoundMelody(instrument, bar, melody.start, events)

    def _is_kept(self, melody: FoundMelody, report: Report) -> bool:
        """Returns whether a melody has enough bars and pitches, or reports why not."""
        config = self.config
        pitch_classes = {event % OCTAVE for event in melody.events if event >= 0}
        if len(melody.events) < max(config.min_bars * melody.steps_per_bar, 2):
            report.drop(f"melody shorter than {config.min_bars} bars")
            return False
        if len(pitch_classes) < config.min_unique_pitches:
            report.drop(f"melody of fewer than {config.min_unique_pitches} pitches")
            return False
        return True

    def _add(
        self, melody: FoundMelody, chords: ChordLine | None, windows: Windows, report: Report
    ) -> None:
        config, events = self.config, melody.events
        if len(events) > config.max_steps:
            report.drop(f"melody longer than {config.max_steps} steps is cut")
            events = events[: config.max_steps]
        squashed = self.squash(events)
        report.keep("melodies")
        if squashed.folded:
            report.keep("notes folded into the range by octaves", squashed.folded)
        controls = None
        if chords is not None:
            steps = range(melody.start, melody.start + len(events))
            controls = self.move_chords(chords.at(steps), squashed.shift)
        windows.add(self.to_ids(squashed.events), controls)

    def move_chords(self, chords: np.ndarray, semitones: int) -> np.ndarray:
        """Returns chord ids (T,) transposed by `semitones`, including their basses."""
        above, classes = np.divmod(chords.astype(int), CLASSES)
        moved = above * CLASSES + transpose_chords(classes, semitones)
        return moved.astype(chords.dtype)

    # Ids to notes --------------------------------------------------------------------------

    def decode(
        self, events: Events, qpm: float = 120.0, programs: tuple[int, ...] | None = None
    ) -> NoteSequence:
        """Returns the NoteSequence of event ids (T,)."""
        return self.decode_events(self.to_events(events), qpm, programs)

    def to_events(self, ids: Events) -> list[int]:
        """Returns the melody events of ids (T,). Raises: ValueError if an id is out of range."""
        ids = checked_ids(ids, self.depth)
        return as_fresh_melody([event_of(id, self.config.min_pitch) for id in ids])

    def decode_events(
        self, events: Sequence[int], qpm: float = 120.0, programs: tuple[int, ...] | None = None
    ) -> NoteSequence:
        """Returns the NoteSequence of melody events, `NO_EVENT`, `NOTE_OFF` or MIDI pitches."""
        (program,) = self._programs(programs)
        sequence = new_sequence(qpm)
        add_melody(sequence, events, 60 / qpm / self.config.steps_per_quarter, program)
        return sequence


def without_silent_end(events: list[int]) -> list[int]:
    """Returns a melody up to the end of its last note."""
    last = len(events) - 1
    while last >= 0 and events[last] == NO_EVENT:
        last -= 1
    return events[:last] if last >= 0 and events[last] == NOTE_OFF else events

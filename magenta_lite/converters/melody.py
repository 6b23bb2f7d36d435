"""Monophonic melodies as one event per 16th step: no event, note-off, or a pitch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from magenta_lite.converters.base import EncodeResult, EventFormat, Report
from magenta_lite.converters.chords import UnusableChords, chord_line
from magenta_lite.converters.converter import (
    Converter,
    check_pitch_range,
    checked_ids,
    too_short,
)
from magenta_lite.converters.grid import (
    GridConfig,
    Stretch,
    bar_windows,
    common_time_stretches,
)
from magenta_lite.converters.melody_extraction import (
    NO_EVENT,
    NOTE_OFF,
    Melody,
    StepNotes,
    extract_melodies,
    notes_by_instrument,
    padded,
)
from magenta_lite.converters.windows import Windows
from magenta_lite.converters.writing import add_melody, new_sequence
from magenta_lite.errors import UserError
from magenta_lite.typing import Events, Music, NoteSequence

NO_EVENT_ID = 0
NOTE_OFF_ID = 1
FIRST_PITCH_ID = 2


@dataclasses.dataclass(frozen=True)
class MelodyConverterConfig(GridConfig):
    """Extraction of melodies and windows.

    Attributes:
        bars: Length of a window in 4/4 bars; 0 for whole melodies.
        min_pitch: Minimum MIDI pitch; lower notes are dropped.
        max_pitch: Maximum MIDI pitch; higher notes are dropped.
        programs: Lowest and highest General MIDI program of melodies; None for all.
        max_bars: Maximum length; longer melodies are truncated.
        gap_bars: Bars of silence after which a melody ends.
        skip_polyphony: Drop the rest of an instrument once two of its notes start together,
            instead of keeping the higher one.
        end_token: Whether melodies end with an end token.
        pad_edges: Keep silent bars before the first note and pad the last window with silence, to
            encode music whose first or last bar is silent. The original rejects it, including its
            own samples.
        max_examples: Maximum number of windows of a piece; 0 for all.
        chords: Add the chord of each step as a control: from the chord symbols of the piece, or
            inferred if it has none.
    """

    kind: ClassVar[str] = "melody"

    bars: int = 2
    min_pitch: int = 21
    max_pitch: int = 108
    programs: tuple[int, int] | None = None
    max_bars: int = 100
    gap_bars: float = 1.0
    skip_polyphony: bool = False
    end_token: bool = False
    pad_edges: bool = False
    max_examples: int = 0
    chords: bool = False

    def __post_init__(self) -> None:
        if self.programs is not None:
            object.__setattr__(self, "programs", tuple(self.programs))
        check_pitch_range(self)
        if self.bars < 0 or self.steps_per_quarter < 1 or self.max_bars < max(1, self.bars):
            raise UserError(
                f"converter.bars={self.bars}, steps_per_quarter={self.steps_per_quarter} and "
                f"max_bars={self.max_bars} must be positive, and max_bars at least bars"
            )


def event_id(event: int, min_pitch: int) -> int:
    """Returns the id of a melody event."""
    return event - min_pitch + FIRST_PITCH_ID if event >= 0 else event - NO_EVENT


def event_ids(events: np.ndarray, min_pitch: int) -> np.ndarray:
    """Returns the ids of melody events (T,)."""
    return np.where(events >= 0, events - min_pitch + FIRST_PITCH_ID, events - NO_EVENT)


def event_of(event_id: int, min_pitch: int) -> int:
    """Returns the melody event of an id: `NO_EVENT`, `NOTE_OFF` or a MIDI pitch."""
    if event_id >= FIRST_PITCH_ID:
        return event_id - FIRST_PITCH_ID + min_pitch
    return NOTE_OFF if event_id == NOTE_OFF_ID else NO_EVENT


class MelodyConverter(Converter):
    """Converts melodies of a NoteSequence to event ids, and back.

    Ids: 0 no event (a note or a rest continues), 1 note-off, 2 and up note-ons from `min_pitch`
    up, and last the optional end token: 90 ids with the defaults, as in Magenta's MusicVAE
    (Roberts et al. 2018, https://arxiv.org/abs/1803.05428).
    """

    config_class = MelodyConverterConfig
    default_programs = (0,)

    @property
    def event_format(self) -> EventFormat:
        """One id a step, with chords as controls if the config has them."""
        control = "chords" if self.config.chords else ""
        return EventFormat("categorical", (self.depth,), control=control, end_id=self.end_id)

    @property
    def depth(self) -> int:
        """Vocabulary size V."""
        pitches = self.config.max_pitch - self.config.min_pitch + 1
        return FIRST_PITCH_ID + pitches + self.config.end_token

    @property
    def end_id(self) -> int | None:
        """Id of the end token; None without it."""
        return self.depth - 1 if self.config.end_token else None

    @property
    def note_ids(self) -> range:
        """Ids of note-ons, from the lowest pitch to the highest."""
        return range(FIRST_PITCH_ID, self.depth - self.config.end_token)

    @property
    def pitch_ids(self) -> tuple[tuple[int, int, int], ...]:
        """The ids of note-ons."""
        return ((0, self.note_ids[0], self.note_ids[-1]),)

    @property
    def window_steps(self) -> int:
        """Length T in steps of a window, or of the longest melody if `bars` is 0."""
        bars = self.config.bars or self.config.max_bars
        return bars * self.steps_per_bar + self.config.end_token

    # Notes to ids --------------------------------------------------------------------------

    def encode(self, music: Music) -> EncodeResult:
        """Returns the windows of every melody in a piece.

        Windows are `bars` long and start on every bar, in order of instrument and time, without
        duplicates.

        Returns:
            Uint8 arrays (T,), their chords uint8 (T,) where the config has them, and a report
            of dropped items.
        """
        report = Report()
        windows = Windows(report, self.config.max_examples)
        try:
            for stretch in common_time_stretches(music, self.config, report):
                self._encode_stretch(stretch, windows, report)
        except UnusableChords as error:
            return error.as_result()
        return windows.result()

    def _encode_stretch(self, stretch: Stretch, windows: Windows, report: Report) -> None:
        config = self.config
        instruments = notes_by_instrument(
            stretch,
            config.steps_per_quarter,
            (config.min_pitch, config.max_pitch),
            report,
            config.programs or (0, 127),
        )
        melodies = [m for _, notes in instruments for m in self._melodies_of(notes, report)]
        if not melodies:
            return
        chords = None
        if config.chords:
            chords = chord_line(stretch, config.steps_per_quarter)
        for melody in melodies:
            report.keep("melodies")
            for start, ids in self._windows(melody, report):
                steps = range(start, start + len(ids))
                windows.add(ids, None if chords is None else chords.at(steps))

    def _melodies_of(self, notes: StepNotes, report: Report) -> list[Melody]:
        config = self.config
        padding = config.bars if config.pad_edges else 0
        return extract_melodies(
            notes,
            steps_per_bar=self.steps_per_bar,
            gap_bars=max(config.gap_bars, padding),  # silence inside a window must not split it
            max_bars=config.max_bars,
            skip_polyphony=config.skip_polyphony,
            # More leading silence would give silent windows.
            leading_bars=max(padding - 1, 0),
            steps_per_quarter=config.steps_per_quarter,
            report=report,
        )

    def _windows(self, melody: Melody, report: Report) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (first step, ids) of each window."""
        low = self.config.min_pitch
        end = [self.depth - 1] * self.config.end_token
        if not self.config.bars:
            yield melody.start, np.append(event_ids(melody.events, low), end).astype(np.uint8)
            return
        steps = self.config.bars * self.steps_per_bar
        events = padded(melody.events, steps) if self.config.pad_edges else melody.events
        if len(events) < steps:
            report.drop(too_short(f"melody shorter than {self.config.bars} bars"))
        ids = event_ids(events, low)
        for start, window in bar_windows(ids, steps, self.steps_per_bar):
            # Without note-offs before the first note.
            begun = np.logical_or.accumulate(window >= FIRST_PITCH_ID)
            fresh = np.where(begun, window, NO_EVENT_ID)
            yield melody.start + start, np.append(fresh, end).astype(np.uint8)

    # Ids to notes --------------------------------------------------------------------------

    def decode(
        self, events: Events, qpm: float = 120.0, programs: tuple[int, ...] | None = None
    ) -> NoteSequence:
        """Returns the NoteSequence of event ids (T,); those after an end token are ignored."""
        events = checked_ids(events, self.depth)
        if self.end_id in events:
            events = events[: events.index(self.end_id)]
        (program,) = self._programs(programs)
        sequence = new_sequence(qpm)
        melody = [event_of(event, self.config.min_pitch) for event in events]
        add_melody(sequence, melody, 60 / qpm / self.config.steps_per_quarter, program)
        return sequence

    def valid_next(self, events: Events) -> np.ndarray:
        """Returns the mask bool (V,) of valid next ids after `events` (T,).

        A note-off requires a sounding note; only no event follows an end token.
        """
        valid = np.ones(self.depth, bool)
        sounding = False
        for event in events:
            if event == self.end_id:
                return np.arange(self.depth) == NO_EVENT_ID
            if event != NO_EVENT_ID:
                sounding = event != NOTE_OFF_ID
        valid[NOTE_OFF_ID] = sounding
        return valid

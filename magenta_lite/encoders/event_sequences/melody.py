"""Whole melodies in the range and key that MelodyRNN knows, one event per 16th step."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from magenta_lite.encoders.base import EncodeResult, EventFormat, Report
from magenta_lite.encoders.encoder import Encoder, check_at_least
from magenta_lite.encoders.event_sequences.encodings import FIRST_PITCH_ID, EventEncoding
from magenta_lite.encoders.event_sequences.squash import OCTAVE, Squashed, squash
from magenta_lite.encoders.grid import MAX_STEPS, Stretch, quantize, stretches_with_notes
from magenta_lite.encoders.melody import event_id, event_of
from magenta_lite.encoders.melody_extraction import (
    NO_EVENT,
    NOTE_OFF,
    StepNote,
    as_fresh_melody,
    extract_melodies,
)
from magenta_lite.encoders.windows import Windows
from magenta_lite.encoders.writing import add_melody, new_sequence
from magenta_lite.errors import UserError, unknown_name

# Bits of the step counter of each encoding.
ENCODINGS = {"one_hot": 0, "lookback": 5, "key": 7}
MIDDLE_C = 60


@dataclasses.dataclass(frozen=True)
class EventMelodyEncoderConfig:
    """How melodies are found in a piece, and what a model sees of them.

    Attributes:
        encoding: `one_hot`, the last event alone; `lookback`, with what came one and two bars
            before; `key`, pitch, direction and keys instead of the bare event, and repeats.
        min_pitch: Lowest MIDI pitch of the model's range; the highest is at least 11 above.
        max_pitch: Highest MIDI pitch of the model's range.
        transpose_to_key: Major key, 0 (C) to 11, that melodies are moved to, near the middle of
            the range; null to leave them where they are. Notes still outside are folded in.
        lookback_distances: Steps back that `lookback` and `key` compare with; 16 is a 4/4 bar.
        steps_per_quarter: Grid; 4 is 16th notes.
        min_bars: Shorter melodies are left out.
        max_steps: Longer melodies are cut.
        min_unique_pitches: Melodies with fewer pitches, octaves not counted, are left out.
        gap_bars: Bars of silence that end a melody.
        skip_polyphony: Leave an instrument once two of its notes start together, instead of
            keeping the higher one.
        max_examples: At most so many melodies of a piece, the first ones; 0 for all.
    """

    kind: ClassVar[str] = "event_melody"

    encoding: str = "key"
    min_pitch: int = 48
    max_pitch: int = 83
    transpose_to_key: int | None = 0
    lookback_distances: tuple[int, ...] = (16, 32)
    steps_per_quarter: int = 4
    min_bars: int = 7
    max_steps: int = 512
    min_unique_pitches: int = 5
    gap_bars: float = 1.0
    skip_polyphony: bool = True
    max_examples: int = 0

    def __post_init__(self):
        object.__setattr__(self, "lookback_distances", tuple(self.lookback_distances))
        if self.encoding not in ENCODINGS:
            raise unknown_name("encoder.encoding", self.encoding, ENCODINGS)
        low, high = self.min_pitch, self.max_pitch
        if not 0 <= low <= low + OCTAVE - 1 <= high <= 127:
            raise UserError(
                f"encoder.min_pitch={low} and max_pitch={high} must be MIDI pitches, 0 to 127, "
                f"and span an octave at least: max_pitch={max(high, low + OCTAVE - 1)} or more"
            )
        if self.transpose_to_key is not None and not 0 <= self.transpose_to_key < OCTAVE:
            raise UserError(
                f"encoder.transpose_to_key={self.transpose_to_key} must be 0 (C) to 11 (B), or null"
            )
        distances = self.lookback_distances
        if any(d < 1 for d in distances) or list(distances) != sorted(set(distances)):
            raise UserError(
                f"encoder.lookback_distances={list(distances)} must be steps, 1 or more, "
                "the nearest first"
            )
        check_at_least(self, 1, "steps_per_quarter")
        check_at_least(self, 2, "max_steps")
        check_at_least(self, 0, "min_bars", "min_unique_pitches", "gap_bars", "max_examples")


class FoundMelody(NamedTuple):
    """A melody of a piece.

    Attributes:
        instrument: Its number in the piece.
        steps_per_bar: Length of the piece's bar.
        events: `NO_EVENT`, `NOTE_OFF` or a MIDI pitch for each step, to the end of the last note.
    """

    instrument: int
    steps_per_bar: int
    events: list[int]


class EventMelodyEncoder(Encoder):
    """Whole melodies of a NoteSequence as event ids, and back.

    Ids: 0 no event (a note goes on, or silence does), 1 note off, 2 and up a note-on from
    `min_pitch` up. What a model reads and predicts is made of them by `encoding`.

    Args:
        config: An `EventMelodyEncoderConfig`.
    """

    config_class = EventMelodyEncoderConfig
    default_programs = (0,)

    @property
    def encoding(self) -> EventEncoding:
        """What a model sees of the events, and the classes it predicts."""
        config = self.config
        return EventEncoding(
            num_ids=self.depth,
            distances=() if config.encoding == "one_hot" else config.lookback_distances,
            counter_bits=ENCODINGS[config.encoding],
            key_features=config.encoding == "key",
            min_pitch=config.min_pitch,
            steps_per_bar=self.steps_per_bar,
        )

    @property
    def event_format(self) -> EventFormat:
        """One id a step."""
        return EventFormat("categorical", (self.depth,))

    @property
    def depth(self) -> int:
        """Number of ids."""
        return FIRST_PITCH_ID + self.config.max_pitch - self.config.min_pitch + 1

    @property
    def pitch_ids(self) -> tuple[tuple[int, int, int], ...]:
        """The note-ons."""
        return ((0, FIRST_PITCH_ID, self.depth - 1),)

    @property
    def window_steps(self) -> int:
        """Steps of the longest melody."""
        return self.config.max_steps

    @property
    def default_primer(self) -> list[int]:
        """What a model goes on from when it is given nothing: middle C, as in the original."""
        return [MIDDLE_C]

    # Notes to ids --------------------------------------------------------------------------

    def encode(self, sequence) -> EncodeResult:
        """Returns every melody of a NoteSequence.

        They come in order of instrument and time, each only once.

        Args:
            sequence: A NoteSequence that is not quantised.

        Returns:
            Uint8 arrays (T,) of 2 to `max_steps` steps, and a report of what was left out.
        """
        report = Report()
        windows = Windows(report, self.config.max_examples)
        for stretch in stretches_with_notes(sequence, report):
            for melody in self.melodies(stretch, report):
                self._add(melody, windows, report)
        return windows.result()

    def squash(self, events: Sequence[int]) -> Squashed:
        """Moves melody events into the model's key and range; see `squash`."""
        config = self.config
        return squash(events, config.min_pitch, config.max_pitch, config.transpose_to_key)

    def to_ids(self, events: Sequence[int]) -> np.ndarray:
        """Returns the ids (T,) of melody events inside the range."""
        return np.array([event_id(event, self.config.min_pitch) for event in events], np.uint8)

    def _steps_per_bar(self, stretch: Stretch, report: Report) -> int:
        """Returns the length of a bar in steps; 0, and a line of the report, if there is none."""
        grid = self.config.steps_per_quarter
        bar = stretch.steps_per_bar(grid)
        if bar < 1 or bar != int(bar):
            meter = f"{stretch.numerator}/{stretch.denominator}"
            report.drop(f"bar of {meter} is no whole number of {4 * grid}ths")
            return 0
        if not 0 < stretch.qpm < math.inf:
            report.drop("tempo that is not a positive number")
            return 0
        last = max(note.end_time for note in stretch.sequence.notes)
        if last * stretch.steps_per_second(grid) > MAX_STEPS:
            report.drop(f"music longer than {MAX_STEPS:,} steps")
            return 0
        return int(bar)

    def melodies(self, stretch: Stretch, report: Report) -> Iterator[FoundMelody]:
        """Yields the melodies of each instrument, whatever their length; reports what is lost."""
        steps_per_bar = self._steps_per_bar(stretch, report)
        if not steps_per_bar:
            return
        by_instrument: dict[int, list[StepNote]] = {}
        for start, end, note in quantize(stretch, self.config.steps_per_quarter):
            if note.is_drum:
                report.drop("drum note")
            elif not 0 <= note.pitch <= 127:
                report.drop("pitch outside 0-127")
            elif note.velocity <= 0:
                report.drop("note of velocity 0")
            else:
                notes = by_instrument.setdefault(note.instrument, [])
                notes.append(StepNote(start, -note.pitch, end))
        for instrument, notes in sorted(by_instrument.items()):
            found = extract_melodies(
                notes,
                steps_per_bar=steps_per_bar,
                gap_bars=self.config.gap_bars,
                max_bars=math.inf,
                skip_polyphony=self.config.skip_polyphony,
                leading_bars=0,
                report=report,
            )
            for melody in found:
                yield FoundMelody(instrument, steps_per_bar, without_silent_end(melody.events))

    def _add(self, melody: FoundMelody, windows: Windows, report: Report) -> None:
        config, events = self.config, melody.events
        if len(events) < max(config.min_bars * melody.steps_per_bar, 2):
            report.drop(f"melody shorter than {config.min_bars} bars")
            return
        if len({event % OCTAVE for event in events if event >= 0}) < config.min_unique_pitches:
            report.drop(f"melody of fewer than {config.min_unique_pitches} pitches")
            return
        if len(events) > config.max_steps:
            report.drop(f"melody longer than {config.max_steps} steps is cut")
            events = events[: config.max_steps]
        squashed = self.squash(events)
        report.keep("melodies")
        if squashed.folded:
            report.keep("notes folded into the range by octaves", squashed.folded)
        windows.add(self.to_ids(squashed.events))

    # Ids to notes --------------------------------------------------------------------------

    def decode(self, events, qpm: float = 120.0, programs: tuple[int, ...] | None = None):
        """Returns the NoteSequence that event ids describe.

        Args:
            events: Int (T,).
            qpm: Quarter notes a minute.
            programs: General MIDI program of the melody, one; None for the first.

        Raises:
            ValueError: If an id is not one of this encoder's.
        """
        return self.decode_events(self.to_events(events), qpm, programs)

    def to_events(self, ids) -> list[int]:
        """Returns melody events of ids (T,). Raises: ValueError if one is none."""
        ids = [int(id) for id in ids]
        if ids and not 0 <= min(ids) <= max(ids) < self.depth:
            raise ValueError(f"Event ids must lie in [0, {self.depth}): {ids}")
        return as_fresh_melody([event_of(id, self.config.min_pitch) for id in ids])

    def decode_events(
        self, events: Sequence[int], qpm: float = 120.0, programs: tuple[int, ...] | None = None
    ):
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

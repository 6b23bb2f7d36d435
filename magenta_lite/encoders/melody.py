"""Monophonic melodies as one event per 16th step: no event, note off, or a note's pitch."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from magenta_lite.encoders.base import EncodeResult, Report
from magenta_lite.encoders.melody_extraction import (
    NO_EVENT,
    NOTE_OFF,
    StepNote,
    as_fresh_melody,
    extract_melodies,
    quantize,
    stretches,
)
from magenta_lite.errors import UserError

NO_EVENT_ID = 0
NOTE_OFF_ID = 1
FIRST_PITCH_ID = 2
VELOCITY = 80
QUARTERS_PER_BAR = 4


@dataclasses.dataclass(frozen=True)
class MelodyEncoderConfig:
    """How melodies are found in a piece and cut into windows.

    Attributes:
        bars: Length of a window in 4/4 bars; 0 for whole melodies.
        steps_per_quarter: Grid; 4 is 16th notes.
        min_pitch: Lowest MIDI pitch; notes below are left out.
        max_pitch: Highest MIDI pitch; notes above are left out.
        programs: Lowest and highest General MIDI program that may be a melody; None for all.
        max_bars: Longer melodies are cut.
        gap_bars: Bars of silence that end a melody.
        skip_polyphony: Leave an instrument once two of its notes start together, instead of
            keeping the higher one.
        end_token: Add an event for the end of a melody.
        pad_edges: Keep silent bars before the first note, and fill the last window with silence,
            so that music whose first or last bar is silent encodes. The original refuses it,
            its own samples included.
        max_examples: At most so many windows of a piece, the first ones; 0 for all.
    """

    kind: ClassVar[str] = "melody"

    bars: int = 2
    steps_per_quarter: int = 4
    min_pitch: int = 21
    max_pitch: int = 108
    programs: tuple[int, int] | None = None
    max_bars: int = 100
    gap_bars: float = 1.0
    skip_polyphony: bool = False
    end_token: bool = False
    pad_edges: bool = False
    max_examples: int = 0

    def __post_init__(self):
        if self.programs is not None:
            object.__setattr__(self, "programs", tuple(self.programs))
        if not 0 <= self.min_pitch <= self.max_pitch <= 127:
            raise UserError(
                f"encoder.min_pitch={self.min_pitch} and max_pitch={self.max_pitch} must be "
                "MIDI pitches, 0 to 127, the lower first"
            )
        if self.bars < 0 or self.steps_per_quarter < 1 or self.max_bars < max(1, self.bars):
            raise UserError(
                f"encoder.bars={self.bars}, steps_per_quarter={self.steps_per_quarter} and "
                f"max_bars={self.max_bars} must be positive, and max_bars at least bars"
            )


class MelodyEncoder:
    """Melodies of a NoteSequence as event ids, and back.

    Ids: 0 no event (a note goes on, or silence does), 1 note off, 2 and up a note-on from
    `min_pitch` up, and last the end token where there is one: 90 ids with the defaults, as
    Magenta's MusicVAE has them (Roberts et al. 2018, https://arxiv.org/abs/1803.05428).

    Args:
        config: A `MelodyEncoderConfig`.
    """

    def __init__(self, config: MelodyEncoderConfig):
        self.config = config

    @property
    def depth(self) -> int:
        """Number of ids V."""
        pitches = self.config.max_pitch - self.config.min_pitch + 1
        return FIRST_PITCH_ID + pitches + self.config.end_token

    @property
    def end_id(self) -> int | None:
        """Id of the end token; None without one."""
        return self.depth - 1 if self.config.end_token else None

    @property
    def note_ids(self) -> range:
        """Ids of note-ons, from the lowest pitch to the highest."""
        return range(FIRST_PITCH_ID, self.depth - self.config.end_token)

    @property
    def steps_per_bar(self) -> int:
        """Steps of a 4/4 bar."""
        return QUARTERS_PER_BAR * self.config.steps_per_quarter

    @property
    def window_steps(self) -> int:
        """Steps T of a window; of the longest melody when whole melodies are encoded."""
        bars = self.config.bars or self.config.max_bars
        return bars * self.steps_per_bar + self.config.end_token

    # Notes to ids --------------------------------------------------------------------------

    def encode(self, sequence) -> EncodeResult:
        """Returns the windows of every melody in a NoteSequence.

        Windows are `bars` long and start on every bar; they come in order of instrument and
        time, each only once.

        Args:
            sequence: A NoteSequence that is not quantised.

        Returns:
            Uint8 arrays (T,), and a report of what was left out.
        """
        report = Report()
        windows: dict[bytes, None] = {}  # an ordered set
        for melody in self._melodies(sequence, report):
            report.keep("melodies")
            for window in self._windows(melody, report):
                if window in windows:
                    report.drop("same window again in the piece")
                windows[window] = None
        examples = [np.frombuffer(window, np.uint8) for window in windows]
        limit = self.config.max_examples
        if limit and len(examples) > limit:
            report.drop(f"more than {limit} windows in a piece", n=len(examples) - limit)
            examples = examples[:limit]
        if examples:
            report.keep("windows", len(examples))
        return EncodeResult(examples, report)

    def _melodies(self, sequence, report: Report) -> list[list[int]]:
        if not sequence.notes:
            report.drop("no notes")
            return []
        if any(note.start_time < 0 or note.end_time < note.start_time for note in sequence.notes):
            report.drop("a note has negative time or ends before it starts")
            return []
        melodies = []
        for stretch in stretches(sequence):
            if stretch.steps_per_bar(self.config.steps_per_quarter) != self.steps_per_bar:
                meter = f"{stretch.numerator}/{stretch.denominator}"
                report.drop(f"time signature {meter} is not 4/4")
                continue
            for notes in self._notes_by_instrument(stretch, report):
                melodies += self._melodies_of(notes, report)
        return melodies

    def _notes_by_instrument(self, stretch, report: Report) -> list[list[StepNote]]:
        config = self.config
        low, high = config.programs or (0, 127)
        by_instrument: dict[int, list[StepNote]] = {}
        drums = out_of_range = other_program = 0
        for start, end, note in quantize(stretch, config.steps_per_quarter):
            if note.is_drum:
                drums += 1
            elif not low <= note.program <= high:
                other_program += 1
            elif not config.min_pitch <= note.pitch <= config.max_pitch:
                out_of_range += 1
            elif note.velocity:
                step_note = StepNote(start, -note.pitch, end)
                by_instrument.setdefault(note.instrument, []).append(step_note)
        report.drop("drum note", n=drums)
        report.drop(f"note of a program outside {low}-{high}", n=other_program)
        report.drop(f"pitch outside {config.min_pitch}-{config.max_pitch}", n=out_of_range)
        return [by_instrument[instrument] for instrument in sorted(by_instrument)]

    def _melodies_of(self, notes: list[StepNote], report: Report) -> list[list[int]]:
        config = self.config
        padding = config.bars if config.pad_edges else 0
        return extract_melodies(
            notes,
            steps_per_bar=self.steps_per_bar,
            gap_bars=max(config.gap_bars, padding),  # silence inside a window must not split it
            max_bars=config.max_bars,
            skip_polyphony=config.skip_polyphony,
            # More silence than this would fill whole windows.
            leading_bars=max(padding - 1, 0),
            report=report,
        )

    def _windows(self, melody: list[int], report: Report) -> list[bytes]:
        if not self.config.bars:
            return [self._to_ids(melody)]
        steps = self.config.bars * self.steps_per_bar
        if len(melody) < steps and self.config.pad_edges:
            melody = self._fill_up(melody, steps)
        if len(melody) < steps:
            report.drop(f"melody shorter than {self.config.bars} bars")
            return []
        starts = range(0, len(melody) - steps + 1, self.steps_per_bar)
        return [self._to_ids(as_fresh_melody(melody[s : s + steps])) for s in starts]

    @staticmethod
    def _fill_up(melody: list[int], steps: int) -> list[int]:
        sounding = next((event for event in reversed(melody) if event != NO_EVENT), NOTE_OFF)
        silence = NO_EVENT if sounding == NOTE_OFF else NOTE_OFF
        return [*melody, silence, *[NO_EVENT] * (steps - len(melody) - 1)]

    def _to_ids(self, events: list[int]) -> bytes:
        shift = FIRST_PITCH_ID - self.config.min_pitch
        ids = [event + shift if event >= 0 else event - NO_EVENT for event in events]
        if self.config.end_token:
            ids.append(self.depth - 1)
        return bytes(ids)

    # Ids to notes --------------------------------------------------------------------------

    def decode(self, events, qpm: float = 120.0, program: int = 0):
        """Returns the NoteSequence that event ids describe.

        Args:
            events: Int (T,); what follows an end token is ignored.
            qpm: Quarter notes a minute.
            program: General MIDI program.

        Raises:
            ValueError: If an id is not one of this encoder's.
        """
        from note_seq import constants
        from note_seq.protobuf import music_pb2

        events = [int(event) for event in events]
        if events and not 0 <= min(events) <= max(events) < self.depth:
            raise ValueError(f"Event ids must lie in [0, {self.depth}): {events}")
        if self.end_id in events:
            events = events[: events.index(self.end_id)]
        sequence = music_pb2.NoteSequence(ticks_per_quarter=constants.STANDARD_PPQ)
        sequence.tempos.add(qpm=qpm)
        seconds = 60 / qpm / self.config.steps_per_quarter
        note = None
        for step, event in enumerate([*events, NOTE_OFF_ID]):
            if event == NO_EVENT_ID:
                continue
            if note is not None:
                note.end_time = step * seconds
                sequence.total_time = note.end_time
                note = None
            if event >= FIRST_PITCH_ID:
                pitch = event - FIRST_PITCH_ID + self.config.min_pitch
                note = sequence.notes.add(
                    pitch=pitch, velocity=VELOCITY, start_time=step * seconds, program=program
                )
        return sequence

    def one_hot(self, events) -> np.ndarray:
        """Returns event ids int (T,) as bool (T, V)."""
        return np.eye(self.depth, dtype=bool)[np.asarray(events)]

    def transpose(self, events, semitones: int) -> np.ndarray:
        """Returns event ids (T,) with every note moved by `semitones`.

        A shift that would take a note out of the range is reduced until all notes fit, so that
        the rhythm stays whole. (The original drops the notes that leave the range.)
        """
        events = np.asarray(events)
        notes = (events >= self.note_ids.start) & (events < self.note_ids.stop)
        if not notes.any():
            return events.copy()
        lowest = self.note_ids.start - int(events[notes].min())
        highest = self.note_ids.stop - 1 - int(events[notes].max())
        shift = int(np.clip(semitones, lowest, highest))
        return np.where(notes, events.astype(int) + shift, events).astype(events.dtype)

    def valid_next(self, events) -> np.ndarray:
        """Returns which ids may follow `events` (T,): bool (V,).

        A note-off needs a sounding note; nothing but no event follows an end token.
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

    # As text -------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Returns the encoder's settings as plain values."""
        return {"kind": self.config.kind, **dataclasses.asdict(self.config)}

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> MelodyEncoder:
        """Returns the encoder that `to_json` described."""
        values = {key: value for key, value in tree.items() if key != "kind"}
        return cls(MelodyEncoderConfig(**values))

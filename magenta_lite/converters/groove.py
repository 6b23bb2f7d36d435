"""Expressive drumming: hits, velocities and timing offsets."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from magenta_lite.converters import drum_classes
from magenta_lite.converters.base import EncodeResult, EventFormat, Reason, Report
from magenta_lite.converters.converter import Converter, check_at_least, too_short
from magenta_lite.converters.grid import (
    GridConfig,
    Stretch,
    bar_windows,
    is_common_time,
    stretches_with_notes,
    to_steps,
)
from magenta_lite.converters.score import NoteArrays, without
from magenta_lite.converters.windows import Windows
from magenta_lite.converters.writing import DRUM_INSTRUMENT, new_sequence
from magenta_lite.errors import UserError, unknown_name
from magenta_lite.typing import Events, Music, NoteSequence

PITCH_MAPS = {"roland": drum_classes.ROLAND, "reduced": drum_classes.REDUCED}
DRUMS = 9  # classes of every map
OUTSIDE_MAP = {
    "roland": Reason.with_setting(
        "drum pitch outside the roland map",
        "--set converter.pitch_map=reduced reads all General MIDI drums",
    ),
    "reduced": Reason("drum pitch outside the reduced map"),
}
LOUDEST = 127  # MIDI velocity
HIT = 0.5  # threshold of hits


@dataclasses.dataclass(frozen=True)
class GrooveConverterConfig(GridConfig):
    """Extraction of windows.

    Attributes:
        bars: Length of a window in 4/4 bars.
        pitch_map: `roland`, the pitches of a Roland kit as in the Groove MIDI Dataset, or
            `reduced`, all General MIDI drums.
        hop_bars: Hop length of windows in bars, at most `bars`; 0 for windows without overlap.
        pad_edges: Pad the last window with silence instead of dropping it.
        unmarked_drums: Read all notes of a piece without notes on the drum channel as drums: pads
            and drum machines often use other channels, but so do pianos.
        max_examples: Maximum number of windows of a piece; 0 for all.
    """

    kind: ClassVar[str] = "groove"

    bars: int = 2
    pitch_map: str = "roland"
    hop_bars: int = 0
    pad_edges: bool = False
    unmarked_drums: bool = False
    max_examples: int = 0

    def __post_init__(self) -> None:
        check_at_least(self, 1, "bars", "steps_per_quarter")
        check_at_least(self, 0, "max_examples")
        if not 0 <= self.hop_bars <= self.bars:
            raise UserError(
                f"converter.hop_bars={self.hop_bars} must lie in [0, {self.bars}], "
                "the bars of a window; 0 is all of them"
            )
        if self.pitch_map not in PITCH_MAPS:
            raise unknown_name("converter.pitch_map", self.pitch_map, PITCH_MAPS)


class GrooveConverter(Converter):
    """Converts the drumming of a NoteSequence to hits, velocities and offsets, and back.

    An example has 27 numbers a step: the hits (0 or 1) of 9 classes, then their velocities (0 to
    1), then their offsets (-1 to 1, in half steps; positive is before the grid). They are the
    targets of a model; its section defines what its encoder network reads of them.
    """

    config_class = GrooveConverterConfig

    def __init__(self, config: GrooveConverterConfig):
        super().__init__(config)
        classes = PITCH_MAPS[config.pitch_map]
        self._class_of = drum_classes.class_of_pitch(classes)
        self._pitch_of = drum_classes.pitch_of_class(classes)

    def for_inference(
        self, pitch_map: str = "reduced", unmarked_drums: bool = True
    ) -> GrooveConverter:
        unmarked_drums = unmarked_drums or self.config.unmarked_drums
        return GrooveConverter(
            dataclasses.replace(self.config, pitch_map=pitch_map, unmarked_drums=unmarked_drums)
        )

    @property
    def class_pitches(self) -> tuple[int, ...]:
        """The MIDI pitch of each class."""
        return self._pitch_of

    @property
    def event_format(self) -> EventFormat:
        """27 numbers a step."""
        return EventFormat("groove", (DRUMS,))

    def encode(self, music: Music) -> EncodeResult:
        """Returns the windows of the drumming in a piece.

        Windows start every `hop_bars` bars from the beginning of the piece, or from a change of
        meter; an incomplete last window is dropped.

        Returns:
            Float32 arrays (T, 27), and a report of dropped items.
        """
        report = Report()
        # Duplicates are kept, as in the original.
        windows = Windows(report, self.config.max_examples, once=False)
        parts = stretches_with_notes(music, self.config, report)
        if len(parts) > 1 and self.config.split_on_time_changes:
            report.drop("piece with several tempos or time signatures")
            parts = []
        for stretch in parts:
            if is_common_time(stretch, self.config.steps_per_quarter, report):
                self._add_windows(self._groove(stretch, report), windows, report)
        return windows.result()

    def _drum_notes(self, stretch: Stretch, report: Report) -> NoteArrays:
        notes = stretch.notes
        drums = int(notes.is_drum.sum())
        if drums:
            report.drop("note that is not for drums", n=len(notes) - drums)
            return notes[notes.is_drum]
        if self.config.unmarked_drums:
            report.keep("notes that are not marked as drums, read as drums", len(notes))
            return notes
        reason = Reason.with_setting(
            "piece without a note on the drum channel",
            "--set converter.unmarked_drums=true reads all notes of such files as drums, for the "
            "recordings of pads",
        )
        report.drop(reason)
        return notes[:0]

    def _groove(self, stretch: Stretch, report: Report) -> np.ndarray:
        """Returns a whole piece, float32 (T, 27), in whole bars from time 0."""
        per_second = stretch.steps_per_second(self.config.steps_per_quarter)
        notes = self._drum_notes(stretch, report)
        drum = np.array([self._class_of.get(pitch, -1) for pitch in notes.pitch.tolist()], int)
        outside = OUTSIDE_MAP[self.config.pitch_map], drum < 0
        kept = without(report, outside, ("note of velocity 0", notes.velocity <= 0))
        notes, drum = notes[kept], drum[kept]
        step = to_steps(notes.start, per_second)
        offset = 2 * (step - notes.start * per_second)
        velocity = np.minimum(notes.velocity, LOUDEST) / LOUDEST
        # The first one of the loudest hits of a class at a step.
        order = np.lexsort((-velocity, drum, step))
        step, drum, offset, velocity = step[order], drum[order], offset[order], velocity[order]
        hits = (np.diff(step, prepend=-1) != 0) | (np.diff(drum, prepend=-1) != 0)
        report.drop("softer hit of several at one step", n=int((~hits).sum()))
        steps = int(step.max(initial=-1)) + 1
        groove = np.zeros((steps + -steps % self.steps_per_bar, 3, DRUMS), np.float32)
        values = np.stack([np.ones(len(step)), velocity, offset], axis=1)
        groove[step[hits], :, drum[hits]] = values[hits]
        return groove.reshape(-1, 3 * DRUMS)

    def _add_windows(self, groove: np.ndarray, windows: Windows, report: Report) -> None:
        steps = self.window_steps
        hop = self.config.hop_bars * self.steps_per_bar or steps
        unit = hop if len(groove) > steps else steps  # length of the next window's new steps
        rest = (len(groove) - steps) % unit
        if rest and self.config.pad_edges:
            groove = np.pad(groove, ((0, unit - rest), (0, 0)))
        elif rest:
            reason = f"bar at the end of a piece, short of a window of {self.config.bars}"
            report.drop(too_short(reason), n=rest // self.steps_per_bar)
        for _, window in bar_windows(groove, steps, hop):
            windows.add(window)

    def decode(
        self, events: Events, qpm: float = 120.0, programs: tuple[int, ...] | None = None
    ) -> NoteSequence:
        """Returns the NoteSequence of hits, velocities and offsets, float (T, 27).

        Each hit lasts one step; times before the beginning of the piece are clipped to it.
        """
        self._programs(programs)
        events = np.asarray(events, np.float32).reshape(-1, 3 * DRUMS)
        hits, velocities, offsets = np.split(events, 3, axis=1)
        offsets = offsets.clip(-1, 1)
        sequence = new_sequence(qpm)
        seconds = 60 / qpm / self.config.steps_per_quarter
        for step, drum in np.argwhere(hits > HIT).tolist():
            start = (step - float(offsets[step, drum]) / 2) * seconds
            velocity = round(LOUDEST * float(velocities[step, drum]))
            note = sequence.notes.add(
                pitch=self._pitch_of[drum],
                velocity=min(max(velocity, 1), LOUDEST),  # velocity 0 is a note-off
                start_time=max(start, 0.0),
                end_time=start + seconds,
                instrument=DRUM_INSTRUMENT,
                is_drum=True,
            )
            sequence.total_time = max(sequence.total_time, note.end_time)
        return sequence

"""Expressive drumming: hits, velocities and timing offsets."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from magenta_lite.converters import drum_classes
from magenta_lite.converters.base import EncodeResult, EventFormat, Report
from magenta_lite.converters.converter import Converter, check_at_least
from magenta_lite.converters.grid import (
    GridConfig,
    Stretch,
    bar_windows,
    is_common_time,
    stretches_with_notes,
    to_step,
)
from magenta_lite.converters.windows import Windows
from magenta_lite.converters.writing import DRUM_INSTRUMENT, new_sequence
from magenta_lite.errors import UserError, unknown_name
from magenta_lite.typing import Events, NoteSequence

PITCH_MAPS = {"roland": drum_classes.ROLAND, "reduced": drum_classes.REDUCED}
DRUMS = 9  # classes of every map
LOUDEST = 127  # MIDI velocity
HIT = 0.5  # threshold of hits


@dataclasses.dataclass(frozen=True)
class GrooveConverterConfig(GridConfig):
    """Extraction of windows, and the features that are hidden from the encoder network.

    Attributes:
        bars: Length of a window in 4/4 bars.
        humanize: Hide velocities and offsets, which the model learns to add.
        tapify: Replace the drums of each step by a tap; the model learns to choose the drums.
        fixed_velocities: Hide velocities.
        added_classes: Classes to hide (0 kick, 1 snare, 2 closed hi-hat, 3 open hi-hat, 4 low,
            5 mid and 6 high tom, 7 crash, 8 ride), which the model learns to add.
        hits_as_controls: Condition encoder and decoder on the hits at every step.
        max_note_dropout: Maximum probability in training of hiding a hit, which is higher for
            softer hits.
        pitch_map: `roland`, the pitches of a Roland kit as in the Groove MIDI Dataset, or
            `reduced`, all General MIDI drums.
        inference_pitch_map: The pitch map for input of generation.
        hop_bars: Hop length of windows in bars, at most `bars`; 0 for windows without overlap.
        pad_edges: Pad the last window with silence instead of dropping it.
        unmarked_drums: Read all notes of a piece without notes on the drum channel as drums: pads
            and drum machines often use other channels, but so do pianos.
        max_examples: Maximum number of windows of a piece; 0 for all.
    """

    kind: ClassVar[str] = "groove"

    bars: int = 2
    humanize: bool = False
    tapify: bool = False
    fixed_velocities: bool = False
    added_classes: tuple[int, ...] = ()
    hits_as_controls: bool = False
    max_note_dropout: float = 0.0
    pitch_map: str = "roland"
    inference_pitch_map: str = "reduced"
    hop_bars: int = 0
    pad_edges: bool = False
    unmarked_drums: bool = False
    max_examples: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "added_classes", tuple(self.added_classes))
        check_at_least(self, 1, "bars", "steps_per_quarter")
        check_at_least(self, 0, "max_examples")
        if not 0 <= self.hop_bars <= self.bars:
            raise UserError(
                f"converter.hop_bars={self.hop_bars} must lie in [0, {self.bars}], "
                "the bars of a window; 0 is all of them"
            )
        if not 0 <= self.max_note_dropout <= 1:
            raise UserError(
                f"converter.max_note_dropout={self.max_note_dropout} must lie in [0, 1]"
            )
        if not set(self.added_classes) <= set(range(DRUMS)):
            raise UserError(
                f"converter.added_classes={list(self.added_classes)} must be classes of drums, "
                f"0 to {DRUMS - 1}"
            )
        for name in ("pitch_map", "inference_pitch_map"):
            if getattr(self, name) not in PITCH_MAPS:
                raise unknown_name(f"converter.{name}", getattr(self, name), PITCH_MAPS)


class GrooveConverter(Converter):
    """Converts the drumming of a NoteSequence to hits, velocities and offsets, and back.

    An example has 27 numbers a step: the hits (0 or 1) of 9 classes, then their velocities (0 to
    1), then their offsets (-1 to 1, in half steps; positive is before the grid). Examples are the
    targets of the model; `network_input` returns the input of the encoder network.

    Args:
        config: A `GrooveConverterConfig`.
    """

    config_class = GrooveConverterConfig

    def __init__(self, config: GrooveConverterConfig):
        super().__init__(config)
        classes = PITCH_MAPS[config.pitch_map]
        self._class_of = drum_classes.class_of_pitch(classes)
        self._pitch_of = drum_classes.pitch_of_class(classes)

    def for_inference(self, unmarked_drums: bool = True) -> GrooveConverter:
        """Returns the converter for input of generation, with `inference_pitch_map`.

        Args:
            unmarked_drums: Whether all notes of a piece without drum notes are read as drums.
        """
        config = self.config
        wide = dataclasses.replace(
            config,
            pitch_map=config.inference_pitch_map,
            unmarked_drums=unmarked_drums or config.unmarked_drums,
        )
        return type(self)(wide)

    @property
    def event_format(self) -> EventFormat:
        """27 numbers a step, and the features that are hidden from the encoder network."""
        config = self.config
        changes = ("humanize", "tapify", "fixed_velocities")
        return EventFormat(
            "groove",
            (DRUMS,),
            control="hits" if config.hits_as_controls else "",
            input_changes=tuple(name for name in changes if getattr(config, name)),
            hidden_classes=config.added_classes,
            max_note_dropout=config.max_note_dropout,
        )

    @property
    def window_steps(self) -> int:
        """Length T of a window in steps."""
        return self.config.bars * self.steps_per_bar

    def encode(self, sequence: NoteSequence) -> EncodeResult:
        """Returns the windows of the drumming in a NoteSequence.

        Windows start every `hop_bars` bars from the beginning of the piece, or from a change of
        meter; an incomplete last window is dropped.

        Args:
            sequence: An unquantized NoteSequence.

        Returns:
            Float32 arrays (T, 27), and a report of dropped items.
        """
        report = Report()
        # Duplicates are kept, as in the original.
        windows = Windows(report, self.config.max_examples, once=False)
        parts = stretches_with_notes(sequence, self.config, report)
        if len(parts) > 1 and self.config.split_on_time_changes:
            report.drop("piece with several tempos or time signatures")
            parts = []
        for stretch in parts:
            if is_common_time(stretch, self.config.steps_per_quarter, report):
                self._add_windows(self._groove(stretch, report), windows, report)
        return windows.result()

    def _drum_notes(self, stretch: Stretch, report: Report) -> list:
        notes = list(stretch.sequence.notes)
        drums = [note for note in notes if note.is_drum]
        if not drums and not self.config.unmarked_drums:
            report.drop("piece without a note on the drum channel")
            return []
        if not drums:
            report.keep("notes that are not marked as drums, read as drums", len(notes))
            return notes
        report.drop("note that is not for drums", n=len(notes) - len(drums))
        return drums

    def _groove(self, stretch: Stretch, report: Report) -> np.ndarray:
        """Returns a whole piece, float32 (T, 27), in whole bars from time 0."""
        per_second = stretch.steps_per_second(self.config.steps_per_quarter)
        hits: dict[tuple[int, int], tuple[float, float]] = {}  # velocity and offset
        softer = 0
        for note in self._drum_notes(stretch, report):
            drum = self._class_of.get(note.pitch)
            if drum is None:
                report.drop(f"drum pitch outside the {self.config.pitch_map} map")
                continue
            if note.velocity <= 0:
                report.drop("note of velocity 0")
                continue
            step = to_step(note.start_time, per_second)
            offset = 2 * (step - note.start_time * per_second)
            velocity = min(note.velocity, LOUDEST) / LOUDEST
            softer += (step, drum) in hits
            if velocity > hits.get((step, drum), (0.0,))[0]:
                hits[step, drum] = velocity, offset
        report.drop("softer hit of several at one step", n=softer)
        steps = max((step + 1 for step, _ in hits), default=0)
        groove = np.zeros((steps + -steps % self.steps_per_bar, 3, DRUMS), np.float32)
        for (step, drum), (velocity, offset) in hits.items():
            groove[step, :, drum] = 1.0, velocity, offset
        return groove.reshape(-1, 3 * DRUMS)

    def _add_windows(self, groove: np.ndarray, windows: Windows, report: Report) -> None:
        steps = self.window_steps
        hop = self.config.hop_bars * self.steps_per_bar or steps
        unit = hop if len(groove) > steps else steps  # length of the next window's new steps
        rest = (len(groove) - steps) % unit
        if rest and self.config.pad_edges:
            groove = np.pad(groove, ((0, unit - rest), (0, 0)))
        elif rest:
            report.drop(
                f"bar at the end of a piece, short of a window of {self.config.bars}",
                n=rest // self.steps_per_bar,
            )
        for _, window in bar_windows(groove, steps, hop):
            windows.add(window)

    def decode(
        self, events: Events, qpm: float = 120.0, programs: tuple[int, ...] | None = None
    ) -> NoteSequence:
        """Returns the NoteSequence of hits, velocities and offsets.

        Each hit lasts one step; times before the beginning of the piece are clipped to it.

        Args:
            events: Float (T, 27).
            qpm: Quarter notes a minute.
            programs: Must be None or empty.
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


def network_input(events: np.ndarray, form: EventFormat) -> np.ndarray:
    """Returns the input of the encoder network for a groove, without note dropout.

    Args:
        events: Float (..., T, 27).
        form: The `EventFormat` of a `GrooveConverter`.

    Returns:
        Float (..., T, 27).
    """
    shape = events.shape
    groove = events.reshape(*shape[:-1], 3, form.sizes[0]).copy()  # hits, velocities, offsets
    velocities, offsets = groove[..., 1, :], groove[..., 2, :]  # views
    if "tapify" in form.input_changes:
        loudest = velocities.argmax(-1)[..., None, None]
        tap = np.take_along_axis(groove, loudest, axis=-1)[..., 0]
        groove[...] = 0
        groove[..., drum_classes.OPEN_HI_HAT] = tap
    if "humanize" in form.input_changes:
        velocities[...] = 0
        offsets[...] = 0
    if "fixed_velocities" in form.input_changes:
        velocities[...] = 0
    groove[..., list(form.hidden_classes)] = 0
    return groove.reshape(shape)


def hit_controls(events: np.ndarray, form: EventFormat) -> np.ndarray:
    """Returns the control `hits` of both networks: the hits of a groove, (..., T, D)."""
    return events[..., : form.sizes[0]]

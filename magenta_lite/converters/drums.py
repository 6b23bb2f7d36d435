"""Drums as the set of classes hit at each 16th step."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from magenta_lite.converters import drum_classes
from magenta_lite.converters.base import EncodeResult, EventFormat, Report
from magenta_lite.converters.converter import Converter, check_at_least, checked_ids, too_short
from magenta_lite.converters.drum_extraction import (
    DrumTrack,
    as_bits,
    extract_drum_tracks,
    hits_by_step,
)
from magenta_lite.converters.grid import (
    GridConfig,
    Stretch,
    bar_windows,
    common_time_stretches,
    steps_of_notes,
)
from magenta_lite.converters.windows import Windows
from magenta_lite.converters.writing import add_drums, new_sequence
from magenta_lite.errors import UserError, unknown_name
from magenta_lite.typing import Events, Music, NoteSequence

CLASSES = {"reduced": drum_classes.REDUCED, "full": drum_classes.FULL}


@dataclasses.dataclass(frozen=True)
class DrumsConverterConfig(GridConfig):
    """Extraction of drum tracks and windows.

    Attributes:
        bars: Length of a window in 4/4 bars.
        classes: `reduced`, 9 classes of similar drums, or `full`, 61 single pitches.
        roll: Encode one bit for each class, instead of one id for the set of hits.
        max_bars: Maximum length; longer drum tracks are truncated.
        gap_bars: Bars without a hit after which a drum track ends.
        pad_edges: Keep silent bars before the first hit and pad the last window with silence, to
            encode drums whose first or last bar is silent. The original rejects them, including
            its own samples.
        max_examples: Maximum number of windows of a piece; 0 for all.
    """

    kind: ClassVar[str] = "drums"

    bars: int = 2
    classes: str = "reduced"
    roll: bool = False
    max_bars: int = 100
    gap_bars: float = 1.0
    pad_edges: bool = False
    max_examples: int = 0

    def __post_init__(self) -> None:
        check_at_least(self, 1, "bars", "steps_per_quarter")
        check_at_least(self, self.bars, "max_bars")
        check_at_least(self, 0, "gap_bars", "max_examples")
        if self.classes not in CLASSES:
            raise unknown_name("converter.classes", self.classes, CLASSES)
        if self.classes == "full" and not self.roll:
            raise UserError(
                "converter.classes=full has too many sets of drums for an id each; "
                "add --set converter.roll=true"
            )


class DrumsConverter(Converter):
    """Converts the drums of a NoteSequence to sets of classes, and back.

    All drum notes form one track; velocities and durations are ignored. Without `roll` an example
    has one id a step, the sum of 2 ** class over the classes hit: 0 is silence, 5 is kick and
    closed hi-hat. With `roll` it has one bit for each class.
    """

    config_class = DrumsConverterConfig

    def __init__(self, config: DrumsConverterConfig):
        super().__init__(config)
        classes = CLASSES[config.classes]
        self._class_of = drum_classes.class_of_pitch(classes)
        self._pitches = drum_classes.pitch_of_class(classes)

    @property
    def class_pitches(self) -> tuple[int, ...]:
        """The MIDI pitch of each class."""
        return self._pitches

    @property
    def event_format(self) -> EventFormat:
        """Sets of drums as ids or as bits."""
        classes = len(self._pitches)
        if self.config.roll:
            return EventFormat("roll", (classes,))
        return EventFormat("categorical", (2**classes,), input_bits=classes)

    def encode(self, music: Music) -> EncodeResult:
        """Returns the windows of every drum track in a piece.

        Windows are `bars` long and start on every bar, in order of time, without duplicates.

        Returns:
            Uint16 arrays (T,), or uint8 (T, D) with `roll`, and a report of dropped items.
        """
        report = Report()
        windows = Windows(report, self.config.max_examples)
        for stretch in common_time_stretches(music, self.config, report):
            for track in self._tracks(stretch, report):
                report.keep("drum tracks")
                self._add_windows(track, windows, report)
        return windows.result()

    def _tracks(self, stretch: Stretch, report: Report) -> list[DrumTrack]:
        config = self.config
        starts, _ = steps_of_notes(stretch, config.steps_per_quarter)
        padding = config.bars if config.pad_edges else 0
        return extract_drum_tracks(
            hits_by_step(starts, stretch.notes, self._class_of, report),
            steps_per_bar=self.steps_per_bar,
            gap_bars=max(config.gap_bars, padding),  # silence inside a window must not split it
            max_bars=config.max_bars,
            # More leading silence would give silent windows.
            leading_bars=max(padding - 1, 0),
            report=report,
        )

    def _add_windows(self, track: DrumTrack, windows: Windows, report: Report) -> None:
        steps = self.window_steps
        events = track.events
        if self.config.pad_edges:
            events = events + [0] * (steps - len(events))
        if len(events) < steps:
            report.drop(too_short(f"drum track shorter than {self.config.bars} bars"))
        for _, window in bar_windows(events, steps, self.steps_per_bar):
            if self.config.roll:
                windows.add(as_bits(window, len(self._pitches)))
            else:
                windows.add(np.array(window, np.uint16))

    def decode(
        self, events: Events, qpm: float = 120.0, programs: tuple[int, ...] | None = None
    ) -> NoteSequence:
        """Returns the NoteSequence of ids (T,), or of bits (T, D) with `roll`.

        Each hit lasts one step.
        """
        self._programs(programs)
        classes, bits = len(self._pitches), np.asarray(events)
        if not self.config.roll:
            bits = as_bits(checked_ids(events, 2**classes), classes)
        sequence = new_sequence(qpm)
        seconds = 60 / qpm / self.config.steps_per_quarter
        add_drums(sequence, map(np.flatnonzero, bits), self._pitches, seconds)
        return sequence

"""Whole drum tracks as the set of classes hit at each step, for models that continue them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import ClassVar, NamedTuple

import numpy as np

from magenta_lite.converters import drum_classes
from magenta_lite.converters.base import EncodeResult, Report
from magenta_lite.converters.converter import check_at_least, checked_ids
from magenta_lite.converters.drum_extraction import as_bits, extract_drum_tracks, hits_by_step
from magenta_lite.converters.event_sequences.converter import EventSequenceConverter
from magenta_lite.converters.event_sequences.encodings import EventEncoding
from magenta_lite.converters.grid import GridConfig, Stretch, steps_of_notes, stretches_with_notes
from magenta_lite.converters.windows import Windows
from magenta_lite.converters.writing import add_drums, new_sequence
from magenta_lite.errors import unknown_name
from magenta_lite.typing import Events, Music, NoteSequence

HAND_CLAP = 39
ANY_DRUM = ((HAND_CLAP, *(pitch for pitch in range(128) if pitch != HAND_CLAP)),)
CLASSES = {"kit": drum_classes.REDUCED, "one": ANY_DRUM}
COUNTER_BITS = {"kit": 6, "one": 0}
FIRST_CLASS = 1  # id of the set of the first class only: the kick of a kit


@dataclasses.dataclass(frozen=True)
class EventDrumsConverterConfig(GridConfig):
    """Extraction and encoding of drum tracks.

    Attributes:
        classes: `kit`, sets of 9 classes of similar drums, with a step counter as a feature; `one`,
            one class of all drums.
        min_bars: Minimum length; shorter tracks are dropped.
        max_steps: Maximum length; longer tracks are truncated.
        gap_bars: Bars without a hit after which a track ends.
        max_examples: Maximum number of tracks of a piece; 0 for all.
    """

    kind: ClassVar[str] = "event_drums"

    classes: str = "kit"
    min_bars: int = 7
    max_steps: int = 512
    gap_bars: float = 1.0
    max_examples: int = 0

    def __post_init__(self) -> None:
        if self.classes not in CLASSES:
            raise unknown_name("converter.classes", self.classes, CLASSES)
        check_at_least(self, 1, "steps_per_quarter")
        check_at_least(self, 2, "max_steps")
        check_at_least(self, 0, "min_bars", "gap_bars", "max_examples")


class FoundDrums(NamedTuple):
    """A drum track of a piece.

    Attributes:
        steps_per_bar: Length of a bar in steps.
        start: First step of the track in its stretch.
        events: Id of the set of drums at each step, up to the last hit.
    """

    steps_per_bar: int
    start: int
    events: list[int]


class EventDrumsConverter(EventSequenceConverter):
    """Converts whole drum tracks to ids of sets of drums, and back.

    An id is the sum of 2 ** class over the classes hit: 0 is silence, 5 is kick and closed hi-hat.
    All drum notes form one track; velocities and durations are ignored.
    """

    config_class = EventDrumsConverterConfig

    def __init__(self, config: EventDrumsConverterConfig):
        super().__init__(config)
        self._class_of = drum_classes.class_of_pitch(CLASSES[config.classes])
        self._pitches = drum_classes.pitch_of_class(CLASSES[config.classes])

    @property
    def class_pitches(self) -> tuple[int, ...]:
        """The MIDI pitch of each class."""
        return self._pitches

    @property
    def encoding(self) -> EventEncoding:
        """The set of drums and the step counter."""
        return EventEncoding(
            num_ids=self.depth,
            counter_bits=COUNTER_BITS[self.config.classes],
            steps_per_bar=self.steps_per_bar,
            onset_ids=(1, self.depth - 1),
            start_id=FIRST_CLASS,
        )

    @property
    def depth(self) -> int:
        return 2 ** len(self._pitches)

    # Notes to ids --------------------------------------------------------------------------

    def encode(self, music: Music) -> EncodeResult:
        """Returns every drum track of a piece, in order of time, without duplicates.

        Returns:
            Arrays (T,) of 2 to `max_steps` ids, and a report of dropped items.
        """
        report = Report()
        windows = Windows(report, self.config.max_examples)
        for stretch in stretches_with_notes(music, self.config, report):
            for track in self.tracks(stretch, report):
                self._add(track, windows, report)
        return windows.result()

    def tracks(self, stretch: Stretch, report: Report) -> Iterator[FoundDrums]:
        """Yields the drum tracks of a stretch, of any length; reports dropped notes."""
        bar = self._bar(stretch, report)
        if not bar:
            return
        starts, _ = steps_of_notes(stretch, self.config.steps_per_quarter)
        hits = hits_by_step(starts, stretch.notes, self._class_of, report)
        found = extract_drum_tracks(
            hits, steps_per_bar=bar, gap_bars=self.config.gap_bars, report=report
        )
        for track in found:
            last = max(step for step, hits in enumerate(track.events) if hits)
            yield FoundDrums(bar, track.start, track.events[: last + 1])

    def _add(self, track: FoundDrums, windows: Windows, report: Report) -> None:
        config, events = self.config, track.events
        if len(events) < max(config.min_bars * track.steps_per_bar, 2):
            report.drop(f"drum track shorter than {config.min_bars} bars")
            return
        if len(events) > config.max_steps:
            report.drop(f"drum track longer than {config.max_steps} steps is cut")
            events = events[: config.max_steps]
        report.keep("drum tracks")
        windows.add(np.array(events, self.event_format.event_dtype))

    @property
    def known_pitches(self) -> set[int]:
        """MIDI pitches that have a class."""
        return set(self._class_of)

    def id_of(self, pitches: Iterable[int]) -> int:
        """Returns the id of a set of `known_pitches`."""
        return sum(1 << drum for drum in {self._class_of[pitch] for pitch in pitches})

    # Ids to notes --------------------------------------------------------------------------

    def decode(
        self, events: Events, qpm: float = 120.0, programs: tuple[int, ...] | None = None
    ) -> NoteSequence:
        """Returns the NoteSequence of sets of drums (T,); each hit lasts one step."""
        self._programs(programs)
        bits = as_bits(checked_ids(events, self.depth), len(self._pitches))
        sequence = new_sequence(qpm)
        seconds = 60 / qpm / self.config.steps_per_quarter
        add_drums(sequence, map(np.flatnonzero, bits), self._pitches, seconds)
        return sequence

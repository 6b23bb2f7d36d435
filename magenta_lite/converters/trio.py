"""Trios of melody, bass and drums, with one event of each per 16th step."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from magenta_lite.converters import drum_classes
from magenta_lite.converters.base import EncodeResult, EventFormat, Reason, Report
from magenta_lite.converters.converter import Converter, check_at_least, too_short
from magenta_lite.converters.drum_extraction import as_bits, hits_by_step
from magenta_lite.converters.grid import (
    MAX_STEPS,
    GridConfig,
    Stretch,
    bar_windows,
    common_time_stretches,
    steps_of_notes,
    to_step,
)
from magenta_lite.converters.melody import FIRST_PITCH_ID, event_ids, event_of
from magenta_lite.converters.melody_extraction import (
    NO_EVENT,
    StepNotes,
    extract_melodies,
    padded,
)
from magenta_lite.converters.score import NoteArrays, without
from magenta_lite.converters.windows import Windows
from magenta_lite.converters.writing import add_drums, add_melody, new_sequence
from magenta_lite.errors import UserError
from magenta_lite.typing import Events, Music, NoteSequence

MIN_PITCH, MAX_PITCH = 21, 108
PITCH_CLASSES = FIRST_PITCH_ID + MAX_PITCH - MIN_PITCH + 1
PARTS = ("melody", "bass", "drums")
DRUM_SETS = 2 ** len(drum_classes.REDUCED)
CLASS_OF_DRUM = drum_classes.class_of_pitch(drum_classes.REDUCED)


@dataclasses.dataclass(frozen=True)
class TrioConverterConfig(GridConfig):
    """Extraction of trios and windows.

    Attributes:
        bars: Length of a window in 4/4 bars.
        gap_bars: Number of bars around each note in which a part counts as playing; windows in
            which all three parts play are kept.
        max_bars: Maximum length of a piece; longer pieces are truncated.
        melody_programs: Lowest and highest General MIDI program of melodies.
        bass_programs: Lowest and highest General MIDI program of basses.
        pad_edges: Keep every window with a note, even if parts rest or are missing, and pad pieces
            that are shorter than a window. The original rejects them, including its own samples.
        max_examples: Maximum number of windows of a piece; 0 for all.
    """

    kind: ClassVar[str] = "trio"

    bars: int = 16
    gap_bars: int = 2
    max_bars: int = 1024
    melody_programs: tuple[int, int] = (0, 31)
    bass_programs: tuple[int, int] = (32, 39)
    pad_edges: bool = False
    max_examples: int = 0

    def __post_init__(self) -> None:
        for name in ("melody_programs", "bass_programs"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            low, high = getattr(self, name)
            if not 0 <= low <= high <= 127:
                raise UserError(
                    f"converter.{name}={[low, high]} must be General MIDI programs, 0 to 127, "
                    "the lower first"
                )
        check_at_least(self, 1, "bars", "steps_per_quarter")
        check_at_least(self, self.bars, "max_bars")
        check_at_least(self, 0, "gap_bars", "max_examples")
        (a, b), (c, d) = self.melody_programs, self.bass_programs
        if a <= d and c <= b:
            raise UserError(
                f"converter.melody_programs={[a, b]} and bass_programs={[c, d]} overlap: "
                "an instrument cannot be both"
            )


@dataclasses.dataclass
class Part:
    """One instrument of a piece.

    Attributes:
        ids: Event ids from time 0 to the end of the piece, int (T,).
        plays: Mask of the bars with notes, bool (bars,).
    """

    ids: np.ndarray
    plays: np.ndarray


class TrioConverter(Converter):
    """Converts trios of a NoteSequence to ids, and back.

    An example has three ids a step: melody and bass as in `MelodyConverter` (0 no event, 1
    note-off, 2 to 89 the pitches 21 to 108), and the set of drums as in `DrumsConverter` (0 to
    511).
    """

    config_class = TrioConverterConfig
    default_programs = (0, 33)

    @property
    def event_format(self) -> EventFormat:
        """One id of each part a step."""
        return EventFormat("multi_categorical", (PITCH_CLASSES, PITCH_CLASSES, DRUM_SETS))

    @property
    def pitch_ids(self) -> tuple[tuple[int, int, int], ...]:
        """The ids of note-ons of melody and bass."""
        return ((0, FIRST_PITCH_ID, PITCH_CLASSES - 1), (1, FIRST_PITCH_ID, PITCH_CLASSES - 1))

    # Notes to ids --------------------------------------------------------------------------

    def encode(self, music: Music) -> EncodeResult:
        """Returns the windows of all combinations of a melody, a bass and a drum track.

        Windows are `bars` long and start on every bar, in order of the instruments' numbers
        (melody, bass, drums) and time.

        Returns:
            Uint16 arrays (T, 3), and a report of dropped items.
        """
        report = Report()
        # Duplicates are kept, as in the original, since repeats are part of a form.
        windows = Windows(report, self.config.max_examples, once=False)
        for stretch in common_time_stretches(music, self.config, report):
            parts = self._parts(stretch, report)
            if self._complete(parts, report):
                for trio in itertools.product(*(parts[name] for name in PARTS)):
                    report.keep("trios")
                    self._add_windows(trio, windows, report)
        return windows.result()

    def _parts(self, stretch: Stretch, report: Report) -> dict[str, list[Part]]:
        starts, ends = steps_of_notes(stretch, self.config.steps_per_quarter)
        bars = self._bars(stretch, int(ends.max()))
        parts: dict[str, list[Part]] = {name: [] for name in PARTS}
        for name, own in self._instruments(stretch.notes, report):
            make = self._drums if name == "drums" else self._melody
            ids = make(starts[own], ends[own], stretch.notes[own], bars, report)
            if ids is not None:
                parts[name].append(Part(ids, self._playing(starts[own], ends[own], bars)))
        return parts

    def _instruments(self, notes: NoteArrays, report: Report) -> Iterator[tuple[str, np.ndarray]]:
        """Yields (part, indices of the notes) of each instrument that is one part only."""
        (a, b), (c, d) = self.config.melody_programs, self.config.bass_programs
        is_part = (
            ~notes.is_drum & (a <= notes.program) & (notes.program <= b),
            ~notes.is_drum & (c <= notes.program) & (notes.program <= d),
            notes.is_drum,
        )
        numbers = np.select(is_part, range(len(PARTS)), len(PARTS))
        for instrument in np.unique(notes.instrument).tolist():
            own = np.flatnonzero(notes.instrument == instrument)
            number = int(numbers[own[0]])
            if (numbers[own] != number).any():
                report.drop("note of an instrument that is several parts", n=len(own))
            elif number == len(PARTS):
                reason = Reason.with_setting(
                    f"note of a program outside {a}-{b} (melody) and {c}-{d} (bass)",
                    "converter.melody_programs and converter.bass_programs say which instruments "
                    "are taken",
                )
                report.drop(reason, n=len(own))
            else:
                yield PARTS[number], own

    def _bars(self, stretch: Stretch, notes_end: int) -> int:
        """Returns the length of the stretch in bars, including silence at its end."""
        config = self.config
        total = stretch.score.total_time * stretch.steps_per_second(config.steps_per_quarter)
        steps = notes_end if math.isnan(total) else max(notes_end, min(total, MAX_STEPS))
        bars = min(math.ceil(to_step(steps, 1) / self.steps_per_bar), config.max_bars)
        return max(bars, config.bars) if config.pad_edges else bars

    def _playing(self, starts: np.ndarray, ends: np.ndarray, bars: int) -> np.ndarray:
        """Returns the mask bool (bars,) of the bars in which notes sound."""
        changes = np.zeros(bars + 1, int)
        np.add.at(changes, np.minimum(starts // self.steps_per_bar, bars), 1)
        np.add.at(changes, np.minimum((ends - 1) // self.steps_per_bar + 1, bars), -1)
        return np.cumsum(changes)[:bars] > 0

    def _melody(self, starts, ends, notes: NoteArrays, bars: int, report) -> np.ndarray | None:
        outside = (notes.pitch < MIN_PITCH) | (notes.pitch > MAX_PITCH)
        kept = without(
            report,
            (f"pitch outside {MIN_PITCH}-{MAX_PITCH}", outside),
            ("note of velocity 0", notes.velocity <= 0),
        )
        melodies = extract_melodies(
            StepNotes.of(starts[kept], ends[kept], notes[kept]),
            steps_per_bar=self.steps_per_bar,
            steps_per_quarter=self.config.steps_per_quarter,
            report=report,
        )
        if not melodies:
            return None
        (melody,) = melodies
        steps = bars * self.steps_per_bar
        events = np.concatenate([np.full(melody.start, NO_EVENT), melody.events])
        return event_ids(padded(events, steps)[:steps], MIN_PITCH)

    def _drums(self, starts, ends, notes: NoteArrays, bars: int, report) -> np.ndarray | None:
        del ends  # hits have no duration
        hits = hits_by_step(starts, notes, CLASS_OF_DRUM, report)
        ids = np.zeros(bars * self.steps_per_bar, int)
        for step in hits:
            if step < len(ids):
                ids[step] = hits[step]
        return ids if hits else None

    def _complete(self, parts: dict[str, list[Part]], report: Report) -> bool:
        """Returns whether all parts are present; `pad_edges` adds silent parts for missing ones."""
        missing = [name for name in PARTS if not parts[name]]
        if len(missing) == len(PARTS) or (missing and not self.config.pad_edges):
            report.drop(f"no {' and no '.join(missing)}")
            return False
        (some, *_) = (part for name in PARTS for part in parts[name])
        for name in missing:
            parts[name] = [Part(np.zeros_like(some.ids), np.zeros_like(some.plays))]
        return True

    def _add_windows(self, trio: tuple[Part, ...], windows: Windows, report: Report) -> None:
        ids = np.stack([part.ids for part in trio], axis=-1).astype(np.uint16)
        complete = self._all_play([part.plays for part in trio])
        if len(complete) < self.config.bars:
            report.drop(too_short(f"trio shorter than {self.config.bars} bars"))
        for start, window in bar_windows(ids, self.window_steps, self.steps_per_bar):
            bar = start // self.steps_per_bar
            if self.config.pad_edges:
                if has_note(window):
                    windows.add(window)
                else:
                    report.drop("window without a note")
            elif complete[bar : bar + self.config.bars].all():
                windows.add(window)
            else:
                reason = Reason.with_setting(
                    "window in which melody, bass or drums rest too long",
                    "--set converter.gap_bars=4 lets melody, bass and drums rest for longer",
                )
                report.drop(reason)

    def _all_play(self, parts: list[np.ndarray]) -> np.ndarray:
        """Returns the mask bool (bars,) of bars in which all parts play within `gap_bars`."""
        gap = self.config.gap_bars
        near = np.array([np.convolve(plays, np.ones(2 * gap + 1), "full") > 0 for plays in parts])
        near = near[:, gap : gap + len(parts[0])]
        bars = np.arange(len(parts[0]))
        edge = np.minimum(bars, bars[::-1]) < gap  # a part may come in late or stop early
        return near.all(0) | (near.any(0) & edge)

    # Ids to notes --------------------------------------------------------------------------

    def decode(
        self, events: Events, qpm: float = 120.0, programs: tuple[int, ...] | None = None
    ) -> NoteSequence:
        """Returns the NoteSequence of ids (T, 3), with instruments 0, 1 and 9.

        `programs` are those of melody and bass.
        """
        events = np.asarray(events).reshape(-1, len(PARTS))
        if (events < 0).any() or (events >= self.event_format.sizes).any():
            raise ValueError(f"Event ids must lie below {self.event_format.sizes}: {events}")
        sequence = new_sequence(qpm)
        seconds = 60 / qpm / self.config.steps_per_quarter
        for part, program in enumerate(self._programs(programs)):
            melody = [event_of(event, MIN_PITCH) for event in events[:, part].tolist()]
            name = PARTS[part].capitalize()
            add_melody(sequence, melody, seconds, program, instrument=part, name=name)
        bits = as_bits(events[:, 2], len(drum_classes.REDUCED))
        pitches = drum_classes.pitch_of_class(drum_classes.REDUCED)
        add_drums(sequence, map(np.flatnonzero, bits), pitches, seconds)
        return sequence


def has_note(ids: np.ndarray) -> bool:
    """Returns whether ids (T, 3) contain a note or a drum hit."""
    return bool((ids[:, :2] >= FIRST_PITCH_ID).any() or ids[:, 2].any())

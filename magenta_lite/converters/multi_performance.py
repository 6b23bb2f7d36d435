"""Bars of several instruments as tracks of performance events."""

from __future__ import annotations

import dataclasses
import itertools
from typing import ClassVar, NamedTuple

import numpy as np

from magenta_lite.converters.base import EncodeResult, EventFormat, Reason, Report
from magenta_lite.converters.chords import ChordLine, UnusableChords, chord_line
from magenta_lite.converters.converter import Converter, check_at_least, checked_ids
from magenta_lite.converters.grid import (
    GridConfig,
    Stretch,
    common_time_stretches,
    is_playable,
    steps_of_notes,
)
from magenta_lite.converters.pedal import sustained
from magenta_lite.converters.performance_codec import (
    VELOCITIES,
    PerformanceCodec,
    PlayedNote,
)
from magenta_lite.converters.score import Score, without
from magenta_lite.converters.windows import Windows
from magenta_lite.converters.writing import VELOCITY, new_sequence
from magenta_lite.errors import UserError
from magenta_lite.typing import Events, Music, NoteSequence

PITCHES = PROGRAMS = 128
FRAME = 2  # events of a track besides its music: the first, its program, and the last, its end


@dataclasses.dataclass(frozen=True)
class MultiPerformanceConverterConfig(GridConfig):
    """Selection of bars.

    Attributes:
        velocity_bins: Number of velocity bins; 0 for no velocities.
        min_instruments: Minimum number of instruments; other bars are dropped.
        max_instruments: Maximum number of instruments, and number of tracks of an example.
        min_events: Minimum total number of events; other bars are dropped.
        max_events: Maximum length of a track, including the first event, its program, and the
            last, its end; other bars are dropped.
        first_only: Encode the first bar of a piece only.
        chords: Add the chord of each event as a control: from the chord symbols of the piece, or
            inferred if it has none.
        pad_edges: Encode bars with fewer instruments or events too, and truncate long tracks. The
            original rejects them, including its own samples.
        max_examples: Maximum number of bars of a piece; 0 for all.
    """

    kind: ClassVar[str] = "multi_performance"

    velocity_bins: int = 8
    steps_per_quarter: int = 24
    min_instruments: int = 2
    max_instruments: int = 8
    min_events: int = 8
    max_events: int = 64
    first_only: bool = False
    chords: bool = False
    pad_edges: bool = False
    max_examples: int = 0

    def __post_init__(self) -> None:
        check_at_least(self, 1, "steps_per_quarter", "min_instruments")
        check_at_least(self, 0, "velocity_bins", "min_events", "max_examples")
        check_at_least(self, self.min_instruments, "max_instruments")
        check_at_least(self, FRAME + 1, "max_events")
        if self.velocity_bins > VELOCITIES:
            raise UserError(
                f"converter.velocity_bins={self.velocity_bins} must be at most {VELOCITIES}"
            )


class Track(NamedTuple):
    """Ids of a track, and the step of each id in the bar, int (T,)."""

    ids: np.ndarray
    steps: np.ndarray


class MultiPerformanceConverter(Converter):
    """Converts bars of a NoteSequence with all their instruments to ids, and back.

    A bar has `max_instruments` tracks of `max_events` ids: first the program or the drums id; then
    note-ons, note-offs, time shifts in 96ths of a bar and velocity changes; then the end id and
    padding with zeros. A missing track consists of the end id and padding. Tracks are in order of
    program, drums last. First ids with the defaults: 0 note-on, 128 note-off, 256 shift by 1 to 96
    steps, 352 velocity, 360 program, 488 drums, 489 end (Simon et al. 2018,
    https://arxiv.org/abs/1806.00195).

    Differences from the original: notes belong to the bar of their quantized step, where the
    original splits bars first and loses notes that are slightly early; notes of one step are sorted
    by pitch, not by unquantized time; an instrument that changes its program within a bar has two
    tracks.
    """

    config_class = MultiPerformanceConverterConfig

    def __init__(self, config: MultiPerformanceConverterConfig):
        super().__init__(config)
        self.codec = PerformanceCodec(
            velocity_bins=config.velocity_bins,
            steps_per_second=1,  # all times are in steps
            max_shift=self.steps_per_bar,
            initial_velocity=VELOCITY,
        )
        self._first_program = self.codec.size
        self._drums = self._first_program + PROGRAMS
        self._end = self._drums + 1

    @property
    def event_format(self) -> EventFormat:
        """One id a step, with one segment for each track."""
        return EventFormat(
            "categorical",
            (self._end + 1,),
            control="chords" if self.config.chords else "",
            segments=self.config.max_instruments,
            end_id=self._end,
        )

    @property
    def window_steps(self) -> int:
        """Length T of a bar in ids."""
        return self.config.max_instruments * self.config.max_events

    @property
    def pitch_ids(self) -> tuple[tuple[int, int, int], ...]:
        """The ids of note-ons and note-offs; those of drums and after an end are not transposed."""
        return ((0, *self.codec.note_on), (0, *self.codec.note_off))

    @property
    def fixed_segment_id(self) -> int:
        """The id of drum tracks."""
        return self._drums

    def _movable(self, examples: np.ndarray) -> np.ndarray:
        tracks = examples.reshape(-1, self.config.max_instruments, self.config.max_events)
        before_end = np.cumsum(tracks == self._end, axis=2) == 0
        return (before_end & (tracks[:, :, :1] != self._drums)).reshape(examples.shape)

    # Notes to ids --------------------------------------------------------------------------

    def encode(self, music: Music) -> EncodeResult:
        """Returns the bars of a piece, in order of time, without duplicates.

        Returns:
            Uint16 arrays (T,), their chords uint8 (T,) where the config has them, and a report
            of dropped items.
        """
        config = self.config
        report = Report()
        windows = Windows(report, config.max_examples)
        if not is_playable(music, report):
            return windows.result()
        score = sustained(Score.of(music))
        try:
            for stretch in common_time_stretches(score, config, report):
                bars = self._bars(stretch, report)
                self._add_bars(bars, stretch, windows, report)
                if bars and config.first_only:
                    break
        except UnusableChords as error:
            return error.as_result()
        return windows.result()

    def _bars(self, stretch: Stretch, report: Report) -> list[tuple[int, list[Track]]]:
        """Returns (number, sorted tracks) of each bar with notes, or of the first one."""
        starts, ends = steps_of_notes(stretch, self.config.steps_per_quarter)
        bars, begins = np.divmod(starts, self.steps_per_bar)
        stops = ends - starts + begins
        notes = stretch.notes
        unusable = (
            ("note of velocity 0", notes.velocity <= 0),
            (f"pitch outside 0-{PITCHES - 1}", (notes.pitch < 0) | (notes.pitch >= PITCHES)),
            (
                f"note of a program outside 0-{PROGRAMS - 1}",
                (notes.program < 0) | (notes.program >= PROGRAMS),
            ),
        )
        held = "rest of a note that is held into the next bar", stops > self.steps_per_bar
        without(report, *unusable, held)
        kept = ~np.any([mask for _, mask in unusable], axis=0)
        if not kept.any():
            return []
        if self.config.first_only:
            kept &= bars == bars[kept].min()
        notes, bars = notes[kept], bars[kept]
        ends_in_bar = np.minimum(stops[kept], self.steps_per_bar)
        # The fields of `PlayedNote`.
        played = (begins[kept], notes.pitch, ends_in_bar, np.minimum(notes.velocity, VELOCITIES))
        keys = (bars, notes.is_drum, np.where(notes.is_drum, 0, notes.program), notes.instrument)
        order = np.lexsort((*reversed(played), *reversed(keys)))
        keys = np.array(keys)[:, order]
        is_first = (np.diff(keys, axis=1, prepend=-1) != 0).any(axis=0)
        tracks = self._tracks(np.array(played, float).T[order], np.cumsum(is_first) - 1)
        found: dict[int, list[Track]] = {}
        for (bar, is_drum, program, _), events, steps in zip(
            keys[:, is_first].T.tolist(), *tracks, strict=True
        ):
            first = self._drums if is_drum else self._first_program + program
            ids = np.concatenate([[first], events, [self._end]])
            steps = np.concatenate([[0], steps, steps[-1:]])
            found.setdefault(bar, []).append(Track(ids, steps))
        return list(found.items())

    def _tracks(self, notes: np.ndarray, tracks: np.ndarray) -> tuple[list, list]:
        """Returns the ids of the notes of each track, and the steps of the ids in their bars.

        The notes are sorted by track, the fields of `PlayedNote` (N, 4).
        """
        ids, owners = self.codec.ids_of_parts(notes, tracks, until=self.steps_per_bar)
        first, last = self.codec.shift
        shifts = np.where((ids >= first) & (ids <= last), ids - first + 1, 0)
        # The shifts of every track add up to a bar.
        steps = np.cumsum(shifts) - shifts - owners * self.steps_per_bar
        cuts = np.flatnonzero(np.diff(owners)) + 1
        return np.split(ids, cuts), np.split(steps, cuts)

    def _add_bars(self, bars, stretch: Stretch, windows: Windows, report: Report) -> None:
        chords = None
        for number, tracks in bars:
            tracks = self._fitting(tracks, report)
            if not tracks:
                continue
            if self.config.chords and chords is None:
                chords = chord_line(stretch, self.config.steps_per_quarter)
            events = self._joined([track.ids for track in tracks], missing=[self._end])
            controls = None
            if chords is not None:
                first_step = number * self.steps_per_bar
                classes = [_chords_of(track, chords, first_step) for track in tracks]
                controls = self._joined(classes, missing=[]).astype(np.uint8)
            windows.add(events.astype(self.event_format.event_dtype), controls)

    def _fitting(self, tracks: list[Track], report: Report) -> list[Track]:
        """Returns the tracks of a bar that is kept, or none, and reports why.

        `pad_edges` truncates tracks.
        """
        config = self.config
        lengths = [len(track.ids) - FRAME for track in tracks]
        most = config.max_events - FRAME
        if len(tracks) < config.min_instruments and not config.pad_edges:
            reason = _too_empty(f"bar with fewer than {config.min_instruments} instruments")
        elif len(tracks) > config.max_instruments:
            reason = f"bar with more than {config.max_instruments} instruments"
        elif sum(lengths) < config.min_events and not config.pad_edges:
            reason = _too_empty(f"bar with fewer than {config.min_events} events in all")
        elif max(lengths) > most and not config.pad_edges:
            reason = f"bar with more than {most} events of an instrument"
        else:
            for length in lengths:
                report.drop(
                    f"event of an instrument after {most} in a bar", n=max(length - most, 0)
                )
            return [Track(*(_cut(ids, most) for ids in track)) for track in tracks]
        report.drop(reason)
        return []

    def _joined(self, tracks: list[np.ndarray], missing: list[int]) -> np.ndarray:
        """Returns zero-padded tracks (N, <= max_events), concatenated to int (T,)."""
        joined = np.zeros((self.config.max_instruments, self.config.max_events), int)
        for row, track in itertools.zip_longest(joined, tracks, fillvalue=missing):
            row[: len(track)] = track
        return joined.ravel()

    # Ids to notes --------------------------------------------------------------------------

    def decode(
        self, events: Events, qpm: float = 120.0, programs: tuple[int, ...] | None = None
    ) -> NoteSequence:
        """Returns the NoteSequence of ids: one bar, with an instrument for each track.

        Every sequence of ids is valid: a note-off without its note, a note of zero length and a
        program inside a track are ignored, and notes without a note-off end with the bar. Tracks
        have their own programs, so that `programs` must be None or empty.
        """
        self._programs(programs)
        events = np.array(checked_ids(events, self._end + 1))
        sequence = new_sequence(qpm)
        seconds = 60 / qpm / self.config.steps_per_quarter
        tracks = events.reshape(self.config.max_instruments, self.config.max_events).tolist()
        for instrument, track in enumerate(tracks):
            ids = list(itertools.takewhile(lambda event: event != self._end, track))
            program = ids[0] - self._first_program if ids else 0
            for note in self._notes(ids):
                sequence.notes.add(
                    pitch=note.pitch,
                    velocity=note.velocity,
                    start_time=note.start * seconds,
                    end_time=note.end * seconds,
                    instrument=instrument,
                    program=program if 0 <= program < PROGRAMS else 0,
                    is_drum=ids[0] == self._drums,
                )
                sequence.total_time = max(sequence.total_time, note.end * seconds)
        return sequence

    def _notes(self, ids: list[int]) -> list[PlayedNote]:
        """Returns the sorted notes of a track's ids, clipped to the bar."""
        events = [id for id in ids if id < self._first_program]
        # After a bar of silence, all notes have reached the end of the bar.
        notes = self.codec.decoded(events + self.codec.shifts(self.steps_per_bar))
        bar = self.steps_per_bar
        return sorted(note._replace(end=min(note.end, bar)) for note in notes if note.start < bar)


def _cut(events: np.ndarray, most: int) -> np.ndarray:
    """Returns the events (T,) of a track without those after `most` between the first and last."""
    return (
        np.concatenate([events[: 1 + most], events[-1:]]) if len(events) > most + FRAME else events
    )


def _chords_of(track: Track, chords: ChordLine, first_step: int) -> np.ndarray:
    """Returns the chord class of each event; 0 for the first event, the program."""
    return np.append(0, chords.at(first_step + track.steps[1:]))


def _too_empty(text: str) -> Reason:
    return Reason.with_setting(
        text, "--set converter.pad_edges=true takes bars with little in them, too"
    )

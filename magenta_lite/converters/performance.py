"""Piano performances as tokens of a Music Transformer."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from magenta_lite.converters.base import EncodeResult, EventFormat, Report
from magenta_lite.converters.converter import check_at_least, check_pitch_range, checked_ids
from magenta_lite.converters.grid import is_playable
from magenta_lite.converters.performance_codec import PerformanceCodec, stretched
from magenta_lite.converters.performance_infill import MARKS, GapCodec
from magenta_lite.converters.score import Score
from magenta_lite.converters.token_converter import TokenConverter, check_share
from magenta_lite.converters.token_rules import NO_IDS, TokenRules
from magenta_lite.errors import UserError
from magenta_lite.typing import Events, Music, NoteSequence

PAD, END = 0, 1
RESERVED = 2


@dataclasses.dataclass(frozen=True)
class PerformanceConverterConfig:
    """Selection of performances and length of examples.

    Attributes:
        crop: Length of a training example in tokens. Stored rows are twice as long, so that a crop
            can begin at any token.
        stretches: Factors of duration for time-stretching of training pieces.
        end_token: Whether pieces end with an end token.
        min_tokens: Minimum length; shorter pieces are dropped.
        min_pitch: Minimum MIDI pitch; lower notes are dropped.
        max_pitch: Maximum MIDI pitch; higher notes are dropped.
        max_examples: Maximum number of rows of a piece; 0 for all.
        infill: Share of the examples of training in which the notes of a span are moved to the end,
            so that the model learns to fill in gaps; see `performance_infill`. Above 0 the
            vocabulary has four marks more.
    """

    kind: ClassVar[str] = "performance"

    crop: int = 2048
    stretches: tuple[float, ...] = (1.0, 0.95, 0.975, 1.025, 1.05)
    end_token: bool = False
    min_tokens: int = 64
    min_pitch: int = 21
    max_pitch: int = 108
    max_examples: int = 0
    infill: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "stretches", tuple(self.stretches))
        check_share(self, "infill")
        check_at_least(self, 2, "crop")
        check_at_least(self, 1, "min_tokens")
        check_at_least(self, 0, "max_examples")
        check_stretches(self.stretches)
        check_pitch_range(self)


def check_stretches(stretches: tuple[float, ...]) -> None:
    """Raises: UserError if one of `stretches` is not positive, or 1.0 is missing."""
    if 1.0 not in stretches or min(stretches) <= 0:
        raise UserError(
            f"converter.stretches={list(stretches)} must be positive and hold 1.0, which "
            "validation and test read"
        )


class PerformanceConverter(TokenConverter):
    """Converts performances to ids, and back.

    Ids: 0 padding, 1 end, then note-ons, note-offs, time shifts of 1 to 100 steps of 10 ms, and 32
    velocities: 310 ids with the defaults (Huang et al. 2018, §3.2; Oore et al. 2018); then the
    marks of gaps, if there are any. The sustain pedal is applied to notes; all instruments except
    drums are merged.
    """

    config_class = PerformanceConverterConfig
    default_programs = (0,)

    def __init__(self, config: PerformanceConverterConfig):
        super().__init__(config)
        self.codec = PerformanceCodec(config.min_pitch, config.max_pitch, first_id=RESERVED)

    @property
    def rules(self) -> TokenRules:
        codec, ends, fills = self.codec, self.config.end_token, self.rearranges
        marks = tuple(range(codec.size, codec.size + MARKS * fills))
        return TokenRules(
            size=codec.size + len(marks),
            note_on=codec.note_on,
            note_off=codec.note_off,
            shift=codec.shift,
            end=END if ends else None,
            steps_per_second=codec.steps_per_second,
            never=((PAD,) if ends else (PAD, END)) + marks,
            marks=(marks[0], marks[-1]) if fills else NO_IDS,
            fill_end=END if fills else None,
        )

    @property
    def event_format(self) -> EventFormat:
        """One id per token."""
        return EventFormat("categorical", (self.codec.size,))

    @property
    def pitch_ids(self) -> tuple[tuple[int, int, int], ...]:
        """The ids of note-ons and note-offs."""
        return ((0, *self.codec.note_on), (0, *self.codec.note_off))

    @functools.cached_property
    def gaps(self) -> GapCodec:
        """Arranges tokens around gaps, if there are marks."""
        return GapCodec(self.rules)

    def with_gap(self, events: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return self.gaps.rearranged(events, self.crop, rng)

    # Notes to ids --------------------------------------------------------------------------

    def encode(self, music: Music) -> EncodeResult:
        """Returns the rows of a piece, in order of time, for all stretches.

        Row k holds the tokens from k * crop to (k + 2) * crop, so every crop of the piece begins in
        the first half of a row, and the first halves of all rows together are the piece.

        Returns:
            Uint16 arrays of at most 2 * crop ids, and a report of dropped items; those of
            stretches other than 1 are for training only.
        """
        config, report = self.config, Report()
        notes = self.notes_of(music, report)
        rows, train_only = [], []
        for stretch in config.stretches:
            ids = self.ids_of_notes(notes, stretch)
            if len(ids) < config.min_tokens:
                if stretch == 1.0:
                    report.drop(f"piece of fewer than {config.min_tokens} tokens")
                continue
            starts = range(0, max(len(ids) - 1, 1), config.crop)
            for start in starts[: config.max_examples or None]:
                row = ids[start : start + self.window_steps]
                rows.append(row.astype(self.event_format.event_dtype))
                train_only.append(stretch != 1.0)
        if rows:
            report.keep("windows", len(rows))
        return EncodeResult(rows, report, train_only=train_only)

    def ids_of(self, music: Music, stretch: float = 1.0, report: Report | None = None) -> list[int]:
        """Returns the ids of a whole piece, including the end token if there is one.

        All times are multiplied by `stretch`; `report` counts the dropped items.
        """
        report = Report() if report is None else report
        return self.ids_of_notes(self.notes_of(music, report), stretch).tolist()

    def notes_of(self, music: Music, report: Report) -> np.ndarray:
        """Returns `PerformanceCodec.notes` of a piece; none if it is not playable."""
        score = Score.of(music)
        return self.codec.notes(score, report) if is_playable(score, report) else np.zeros((0, 4))

    def ids_of_notes(self, notes: np.ndarray, stretch: float) -> np.ndarray:
        """Returns the ids (T,) of notes whose times are multiplied by `stretch`."""
        end = [END] * (self.config.end_token and len(notes) > 0)
        return np.append(self.codec.ids(stretched(notes, stretch)), end).astype(int)

    def seconds(self, ids: Iterable[int], qpm: float) -> float:
        """Returns the duration of `ids` in seconds, which does not depend on `qpm`."""
        return self.codec.steps(ids) / self.codec.steps_per_second

    # Ids to notes --------------------------------------------------------------------------

    def decode(
        self,
        events: Events,
        qpm: float = 120.0,
        programs: tuple[int, ...] | None = None,
        max_hung_note: float = 0.0,
    ) -> NoteSequence:
        """Returns the NoteSequence of ids (T,); every sequence of ids is valid.

        The first 1 ends the piece, and 0 is ignored. Notes without a note-off last at most
        `max_hung_note` seconds, or until the last token if it is 0.
        """
        (program,) = self._programs(programs)
        ids = checked_ids(itertools.takewhile(lambda id: id != END, events), self.codec.size)
        max_hung = round(max_hung_note * self.codec.steps_per_second)
        return self.codec.sequence(ids, qpm, program, max_hung)

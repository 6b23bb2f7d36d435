"""Converter between multi-instrument pieces and rows of MuseNet's tokens."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any, ClassVar

import numpy as np

from magenta_lite.converters.base import EncodeResult, EventFormat, Report
from magenta_lite.converters.converter import check_at_least
from magenta_lite.converters.grid import MAX_STEPS, are_playable, to_steps
from magenta_lite.converters.musenet import codec, controls, infill, places, vocabulary
from magenta_lite.converters.musenet.codec import Note, NoteColumns
from magenta_lite.converters.musenet.rules import MuseNetRules, tables
from magenta_lite.converters.musenet.vocabulary import (
    DRUMS,
    END,
    FIRST_STYLE,
    INSTRUMENTS,
    PIANO,
    UNSPECIFIED,
)
from magenta_lite.converters.score import NoteArrays, header_of, without
from magenta_lite.converters.token_converter import TokenConverter, check_share
from magenta_lite.converters.writing import new_sequence
from magenta_lite.errors import UserError, unknown_name
from magenta_lite.typing import Events, Music, NoteSequence

PREFIX = 3  # style, instruments, start
PROGRAMS = 128
PIANO_PLACE = codec.PLACE[PIANO]
ORIGINAL = ("original",)  # selects the styles of the original
DOUBLED = "note doubled by another of its instrument and pitch"
ROUNDING = 1e-8  # seconds; makes times halfway between two units round up despite rounding errors


@dataclasses.dataclass(frozen=True)
class MuseNetConverterConfig:
    """Selection of pieces, styles and length of examples.

    Attributes:
        crop: Length of a training example in tokens, including the prefix of three.
        min_tokens: Minimum length; shorter pieces are dropped.
        styles: Names of the styles, at most 610; empty for those of `vocabulary.styles`,
            `[original]` for those of the original.
        max_examples: Maximum number of rows of a piece; 0 for all.
        merge_doubled: Whether of the notes of an instrument that begin together on one pitch only
            the loudest is kept. The original kept the volumes of a piano's notes, and all ends.
        places_by_time: Whether part and countdown count time, as they do in generation, instead of
            tokens.
        infill: Share of the examples of training in which notes are moved to the end, so that the
            model learns to fill in gaps; see `infill.layout`.
        controls: Share of the examples of training in which tokens after the prefix may tell how
            instruments play, so that the model learns to do as it is told; see `controls`.
    """

    kind: ClassVar[str] = "musenet_tokens"

    crop: int = 2048
    min_tokens: int = 64
    styles: tuple[str, ...] = ()
    max_examples: int = 0
    merge_doubled: bool = False
    places_by_time: bool = False
    infill: float = 0.0
    controls: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "styles", tuple(self.styles))
        check_at_least(self, PREFIX + 1, "crop")
        check_at_least(self, 1, "min_tokens")
        check_at_least(self, 0, "max_examples")
        check_share(self, "infill")
        check_share(self, "controls")
        most = vocabulary.LAST_STYLE - FIRST_STYLE + 1
        if len(self.styles) > most or len(set(self.styles)) < len(self.styles):
            raise UserError(f"converter.styles must be at most {most} names, each once")


class MuseNetConverter(TokenConverter):
    """Converts music to ids of MuseNet's ten instruments, and back.

    A row begins with its style, the families of instruments of the whole piece and `start`,
    followed by notes, waits in units of 10 ms, and `end`. A step has three numbers: the id, the
    128th of the piece that it belongs to, and the number of remaining 128ths (see `places`).
    Padding is id 0, the note-off of a pitch that pianos lack.
    """

    config_class = MuseNetConverterConfig
    writes_text = True
    crop_prefix = PREFIX

    def __init__(self, config: MuseNetConverterConfig):
        super().__init__(config)
        names = config.styles or vocabulary.styles()
        if config.styles == ORIGINAL:
            names = vocabulary.original_styles()
        self.styles = {canonical(name): FIRST_STYLE + i for i, name in enumerate(names) if name}

    @property
    def rules(self) -> MuseNetRules:
        return MuseNetRules()

    @property
    def event_format(self) -> EventFormat:
        """An id and its two positions in the piece."""
        return EventFormat("multi_categorical", (vocabulary.SIZE, places.PARTS, places.PARTS))

    @property
    def window_steps(self) -> int:
        """Length of a row in tokens: the prefix, and two crops without prefix."""
        return PREFIX + 2 * (self.config.crop - PREFIX)

    @property
    def pitch_ids(self) -> tuple[tuple[int, int, int], ...]:
        """The ids of notes of all instruments except drums."""
        blocks = vocabulary.FIRST_DRUM // vocabulary.PITCHES
        size = vocabulary.PITCHES
        # Without pitch 0, whose note-off of the piano is padding.
        return tuple((0, size * block + 1, size * (block + 1) - 1) for block in range(blocks))

    @property
    def pitch_ranges(self) -> tuple[tuple[int, int], ...]:
        """Lowest and highest playable id of each of `pitch_ids`."""
        firsts = [low - 1 for _, low, _ in self.pitch_ids]
        players = [vocabulary.token(first).instrument for first in firsts]
        ranges = [vocabulary.BY_NAME[player].range for player in players]
        return tuple(
            (first + low, first + high) for first, (low, high) in zip(firsts, ranges, strict=True)
        )

    # Notes to ids --------------------------------------------------------------------------

    def encode(self, music: Music) -> EncodeResult:
        """Returns the rows of a piece, in order of time.

        Row k holds the prefix and the tokens of the piece from k * C to (k + 2) * C, where C is the
        length of a crop without its prefix.

        Returns:
            Uint16 arrays (T, 3), T at most `window_steps`, and a report of dropped notes and of
            notes that were assigned to other instruments.
        """
        config, report = self.config, Report()
        notes = self.columns_of(music, report)
        ids = self._with_end(codec.ids_of(notes))
        if len(ids) < config.min_tokens:
            report.drop(f"piece of fewer than {config.min_tokens} tokens")
            return EncodeResult([], report)
        piece = np.stack([ids, *self.places_of(ids)], axis=1)
        front = np.zeros((PREFIX, 3), int)
        _, players = np.unique(notes.place, return_index=True)
        families = families_of(notes.at(players).notes())
        front[:, 0] = self.prefix(self.style_of(music), families)
        step = config.crop - PREFIX
        starts = range(0, max(len(piece) - 1, 1), step)
        rows = []
        for start in starts[: config.max_examples or None]:
            front[:, 1:] = piece[start, 1:]
            row = np.concatenate([front, piece[start : start + 2 * step]])
            rows.append(row.astype(self.event_format.event_dtype))
        report.keep("windows", len(rows))
        return EncodeResult(rows, report)

    @property
    def rearranges(self) -> bool:
        return self.config.infill > 0 or self.config.controls > 0

    def rearranged(self, events: Events, rng: np.random.Generator) -> Events:
        if not self.config.controls or rng.random() >= self.config.controls:
            return super().rearranged(events, rng)
        events = np.asarray(events)
        wanted = controls.chosen(events[PREFIX:, 0].astype(int), self.crop // 2, rng)
        most = self.crop - controls.length(wanted)
        made = events[:most]
        if rng.random() < self.config.infill:
            made = infill.rearranged(made, PREFIX, most, rng)
        return controls.inserted(made, PREFIX, wanted, rng)

    def with_gap(self, events: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return infill.rearranged(events, PREFIX, self.crop, rng)

    def places_of(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns part and countdown of the ids (T,) of a piece, int (T,) each."""
        if self.config.places_by_time:
            return places.in_time(np.cumsum(tables().units[ids]))
        where = places.places(ids)
        return where.part, where.countdown

    def prefix(self, style: str | None, families: Iterable[str]) -> list[int]:
        """Returns the prefix of three ids; a missing style or set of families is `UNSPECIFIED`.

        Raises:
            UserError: If a style or family has an unknown name.
        """
        style = style and canonical(style)
        if style and style not in self.styles:
            raise unknown_name("style", style, self.styles)
        families = list(families)
        for family in families:
            if family not in vocabulary.FAMILIES:
                raise unknown_name("family of instruments", family, vocabulary.FAMILIES)
        style_id = self.styles[style] if style else UNSPECIFIED
        return [style_id, vocabulary.instrument_set_id(families) or UNSPECIFIED, vocabulary.START]

    def style_of(self, music: Music) -> str | None:
        """Returns the style of a piece, from its genre or the folders of its file.

        Case, spaces and hyphens are ignored; the innermost folder with the name of a style counts.
        """
        header = header_of(music)
        folders = PurePosixPath(header.filename.replace("\\", "/")).parts[:-1]
        for name in (*header.sequence_metadata.genre, *reversed(folders)):
            if canonical(name) in self.styles:
                return canonical(name)
        return None

    def notes_of(self, music: Music, report: Report | None = None) -> list[Note]:
        """Returns the notes of a piece, assigned to the ten instruments.

        `report` counts the dropped and the reassigned notes.
        """
        return self.columns_of(music, Report() if report is None else report).notes()

    def columns_of(self, music: Music, report: Report) -> NoteColumns:
        """Returns `notes_of` a piece as arrays."""
        import pretty_midi

        rate, none = vocabulary.UNITS_PER_SECOND, NoteColumns.of([])
        notes = NoteArrays.of(music)
        if not are_playable(notes, report):
            return none
        if notes.end.max() * rate > MAX_STEPS:
            report.drop(f"music longer than {MAX_STEPS:,} steps")
            return none
        place = _places(notes)
        unplayable = (notes.pitch < (place == PIANO_PLACE)) | (notes.pitch >= vocabulary.PITCHES)
        kept = without(
            report,
            ("note of velocity 0", notes.velocity <= 0),
            ("pitch outside 0-127, or 0 of a piano", unplayable),
        )
        notes, place = notes[kept], place[kept]
        standard = np.array([instrument.program for instrument in INSTRUMENTS])[place]
        others = ~notes.is_drum & (notes.program != standard)
        others &= (notes.program >= 0) & (notes.program < PROGRAMS)
        groups = zip((notes.program[others] // 8 * 8).tolist(), place[others].tolist(), strict=True)
        for (program, instrument), count in Counter(groups).items():
            group = pretty_midi.program_to_instrument_class(program)
            report.keep(f"notes of {group} as {INSTRUMENTS[instrument].name}", count)
        start = to_steps(notes.start + ROUNDING, rate)
        end = np.maximum(to_steps(notes.end + ROUNDING, rate), start + 1)
        found = NoteColumns(start, end, notes.pitch, notes.velocity, place).in_order()
        if self.config.merge_doubled:
            found = _without_doubled(found, report)
        _report_overlaps(found, report)
        return found

    def _with_end(self, ids: np.ndarray) -> np.ndarray:
        return np.append(ids, END) if len(ids) else ids

    def ids_of(self, music: Music, report: Report | None = None, **kwargs: Any) -> list[int]:
        """Returns the ids of a whole piece, without prefix, including `end`."""
        notes = self.columns_of(music, Report() if report is None else report)
        return self._with_end(codec.ids_of(notes)).tolist()

    def contour(self, events: Any) -> np.ndarray:
        """Returns `codec.contour` of a row (T, 3) or of a NoteSequence."""
        if hasattr(events, "notes"):
            return codec.contour(self.notes_of(events))
        return codec.contour(codec.decode(np.asarray(events)[:, 0]).notes)

    def text_of(self, sequence: NoteSequence) -> str:
        """Returns the ids of a NoteSequence, including the prefix, as text like MuseNet's."""
        prefix = self.prefix(self.style_of(sequence), families_of(self.notes_of(sequence)))
        return " ".join(map(str, prefix + self.ids_of(sequence))) + "\n"

    def seconds(self, ids: Iterable[int], qpm: float) -> float:
        """Returns the duration of `ids` in seconds, which does not depend on `qpm`."""
        waits = (int(id) - vocabulary.FIRST_WAIT + 1 for id in ids)
        units = sum(wait for wait in waits if 1 <= wait <= vocabulary.MAX_WAIT)
        return units / vocabulary.UNITS_PER_SECOND

    # Ids to notes --------------------------------------------------------------------------

    def decode(
        self, events: Events, qpm: float = 120.0, programs: tuple[int, ...] | None = None
    ) -> NoteSequence:
        """Returns the NoteSequence of ids (T,) or of a row (T, 3), with or without a prefix.

        Every sequence of ids is valid; `end` ends the piece. Notes are repaired by
        `codec.repaired`. Each instrument has its own MIDI channel. Ids encode the instruments, so
        that `programs` must be None or empty.
        """
        self._programs(programs or None)
        ids = np.asarray(events)
        ids = ids[:, 0] if ids.ndim == 2 else ids
        return to_sequence(codec.repaired(codec.decode(ids).notes), qpm)


def canonical(style: str) -> str:
    """Returns a style in lower case, with underscores for spaces and hyphens."""
    return re.sub(r"[\s-]+", "_", style.strip().lower())


def to_sequence(notes: Iterable[Note], qpm: float = 120.0) -> NoteSequence:
    """Returns a NoteSequence of notes, with a program and a channel for each instrument."""
    sequence, second = new_sequence(qpm, metrical=False), vocabulary.UNITS_PER_SECOND
    for note in notes:
        added = sequence.notes.add()
        added.pitch, added.velocity = note.pitch, note.velocity
        added.start_time, added.end_time = note.start / second, note.end / second
        added.program, added.is_drum = note.instrument.program, note.instrument is DRUMS
        added.instrument = INSTRUMENTS.index(note.instrument)
        sequence.total_time = max(sequence.total_time, added.end_time)
    for number in sorted({note.instrument for note in sequence.notes}):
        name = INSTRUMENTS[number].name.capitalize()
        sequence.instrument_infos.add(instrument=number, name=name)
    return sequence


def families_of(notes: Iterable[Note]) -> list[str]:
    """Returns the families of instruments of notes, in the order of instrument sets."""
    playing = {note.instrument.family for note in notes}
    return [family for family in reversed(vocabulary.FAMILIES) if family in playing]


def _places(notes: NoteArrays) -> np.ndarray:
    """Returns the index in `INSTRUMENTS` of the instrument that encodes each note, int (N,)."""
    programs = [codec.PLACE[vocabulary.instrument_of(program)] for program in range(PROGRAMS)]
    known = (notes.program >= 0) & (notes.program < PROGRAMS)
    places = np.where(known, np.array(programs)[notes.program % PROGRAMS], PIANO_PLACE)
    return np.where(notes.is_drum, codec.PLACE[DRUMS], places)


def _without_doubled(notes: NoteColumns, report: Report) -> NoteColumns:
    """Returns the loudest, and longest, of the notes that begin together on one pitch.

    The others of their instrument are reported. The notes are in order.
    """
    keys = (notes.start * len(INSTRUMENTS) + notes.place) * vocabulary.PITCHES + notes.pitch
    best = np.lexsort((-notes.end, -notes.velocity, keys))
    best = np.sort(best[np.unique(keys[best], return_index=True)[1]])
    report.drop(DOUBLED, n=len(keys) - len(best))
    return notes.at(best)


def _report_overlaps(notes: NoteColumns, report: Report) -> None:
    """Reports notes that overlap others of their instrument and pitch, which ids cannot encode.

    The notes are in order.
    """
    different = np.unique(notes.start * vocabulary.SIZE + notes.on_ids())
    report.drop(DOUBLED, n=len(notes.start) - len(different))
    keys = notes.place * vocabulary.PITCHES + notes.pitch
    order = np.argsort(keys, kind="stable")
    order = order[notes.place[order] != codec.PLACE[DRUMS]]
    # The times of each instrument and pitch follow all those of the ones before.
    offset = keys[order] * 2 * MAX_STEPS
    latest = np.maximum.accumulate(notes.end[order] + offset)
    cut = int(((notes.start[order] + offset)[1:] < latest[:-1]).sum())
    report.drop("end of a note that its instrument strikes again before", n=cut)

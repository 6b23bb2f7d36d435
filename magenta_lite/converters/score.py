"""A piece of music as arrays, from which converters encode."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any, ClassVar, Self

import numpy as np

from magenta_lite.converters.base import Reason, Report
from magenta_lite.typing import Music, NoteSequence


class _Arrays:
    """The messages of a repeated field of a NoteSequence as columns, read-only by convention.

    Attributes:
        field: Name of the field.
        types: Names and types of the fields of a message, in the order of the columns.
    """

    field: ClassVar[str]
    types: ClassVar[dict[str, type]]

    def __len__(self) -> int:
        return len(self.columns()[0])

    def __getitem__(self, which: Any) -> Self:
        """Returns the rows of a mask bool (N,), or of indices int (M,)."""
        return type(self)(*(column[which] for column in self.columns()))

    def columns(self) -> list[np.ndarray]:
        """Returns the columns in their order."""
        return [getattr(self, field.name) for field in dataclasses.fields(self)]  # type: ignore[arg-type]

    @classmethod
    def of(cls, music: Music) -> Self:
        """Returns the messages of a NoteSequence."""
        messages = list(getattr(music, cls.field))
        return cls(
            *(np.array([getattr(m, name) for m in messages], t) for name, t in cls.types.items())
        )

    def add_to(self, sequence: NoteSequence) -> None:
        """Adds the messages to a NoteSequence, many times as fast as the method `add` of the field.

        Integers must lie in [0, 2**21): the bytes of a protocol buffer are made from columns, in
        which numbers always have the same size
        (https://protobuf.dev/programming-guides/encoding).
        """
        repeated = sequence.DESCRIPTOR.fields_by_name[self.field]
        pieces: list[tuple[str, np.ndarray | int]] = []
        for name, values in zip(self.types, self.columns(), strict=True):
            number = repeated.message_type.fields_by_name[name].number
            if values.dtype == np.float64:
                pieces += [("u1", number << 3 | 1), ("<f8", values)]
            else:
                digits = values & 0x7F | 0x80, values >> 7 & 0x7F | 0x80, values >> 14
                pieces += [("u1", number << 3), *(("u1", digit) for digit in digits)]
        size = np.dtype([("", kind) for kind, _ in pieces]).itemsize
        pieces = [("u1", repeated.number << 3 | 2), ("u1", size), *pieces]
        messages = np.empty(len(self), [("", kind) for kind, _ in pieces])
        for name, (_, values) in zip(messages.dtype.names or (), pieces, strict=True):
            messages[name] = values
        sequence.MergeFromString(messages.tobytes())


@dataclasses.dataclass(frozen=True)
class NoteArrays(_Arrays):
    """Notes in the order of their NoteSequence; arrays (N,).

    Attributes:
        pitch: MIDI pitch or drum key, int.
        velocity: MIDI velocity, int.
        start: Onset in seconds, float.
        end: End in seconds, float.
        instrument: Number of the instrument, int.
        program: General MIDI program, int.
        is_drum: Whether it is a drum hit, bool.
    """

    field = "notes"
    types: ClassVar = {
        "pitch": int,
        "velocity": int,
        "start_time": float,
        "end_time": float,
        "instrument": int,
        "program": int,
        "is_drum": bool,
    }

    pitch: np.ndarray
    velocity: np.ndarray
    start: np.ndarray
    end: np.ndarray
    instrument: np.ndarray
    program: np.ndarray
    is_drum: np.ndarray

    @classmethod
    def of(cls, music: Music) -> NoteArrays:
        """Returns the notes of a piece."""
        return music.notes if isinstance(music, Score) else super().of(music)


@dataclasses.dataclass(frozen=True)
class ControlArrays(_Arrays):
    """Control changes; arrays (C,).

    Attributes:
        time: Seconds, float.
        number: MIDI controller, int.
        value: 0 to 127, int.
        instrument: Number of the instrument, int.
        program: General MIDI program, int.
        is_drum: Whether the instrument plays drums, bool.
    """

    field = "control_changes"
    types: ClassVar = {
        "time": float,
        "control_number": int,
        "control_value": int,
        "instrument": int,
        "program": int,
        "is_drum": bool,
    }

    time: np.ndarray
    number: np.ndarray
    value: np.ndarray
    instrument: np.ndarray
    program: np.ndarray
    is_drum: np.ndarray


def header_of(music: Any) -> Any:
    """Returns the header of a score, or any other piece itself."""
    return music.header if isinstance(music, Score) else music


NO_CONTROLS = ControlArrays(*np.zeros((6, 0), int))


@dataclasses.dataclass(frozen=True)
class Score:
    """A piece of music: a NoteSequence whose notes and control changes are arrays.

    Attributes:
        notes: The notes.
        controls: The control changes.
        header: A NoteSequence of everything else: tempos, time signatures, chord symbols, names of
            the instruments, genre, file name. It may be shared by several scores.
        total_time: Duration in seconds.
    """

    notes: NoteArrays
    controls: ControlArrays
    header: NoteSequence
    total_time: float

    @classmethod
    def of(cls, music: Music) -> Score:
        """Returns the score of a NoteSequence; a score is returned as it is."""
        if isinstance(music, Score):
            return music
        header = type(music)()
        header.CopyFrom(music)
        del header.notes[:], header.control_changes[:]
        return cls(NoteArrays.of(music), ControlArrays.of(music), header, music.total_time)

    @property
    def tempos(self) -> Any:
        """The tempos, as in a NoteSequence."""
        return self.header.tempos

    @property
    def time_signatures(self) -> Any:
        """The time signatures, as in a NoteSequence."""
        return self.header.time_signatures

    @property
    def text_annotations(self) -> Any:
        """The chord symbols and other annotations, as in a NoteSequence."""
        return self.header.text_annotations

    @property
    def end(self) -> float:
        """End of the last note in seconds; 0 without notes."""
        return float(self.notes.end.max(initial=0.0))

    def retimed(self, start: np.ndarray, end: np.ndarray) -> Score:
        """Returns the score with other onsets and ends of its notes, in seconds."""
        notes = dataclasses.replace(self.notes, start=start, end=end)
        return dataclasses.replace(self, notes=notes)

    def later(self, seconds: float) -> Score:
        """Returns the score with all times increased, without its control changes."""
        if seconds <= 0:
            return self
        from note_seq import sequences_lib

        header = sequences_lib.shift_sequence_times(self.header, seconds)
        moved = self.retimed(self.notes.start + seconds, self.notes.end + seconds)
        total_time = self.total_time + seconds
        return dataclasses.replace(
            moved, header=header, controls=NO_CONTROLS, total_time=total_time
        )

    def split(self, times: list[float]) -> list[Score]:
        """Splits the score at `times` in seconds, as `note_seq.split_note_sequence` does.

        Each part starts at time 0, and ends its last notes. Control changes are left out.
        """
        from note_seq import sequences_lib

        return list(self._parts(sequences_lib.split_note_sequence(self._whole_header(), times)))

    def split_on_time_changes(self) -> list[Score]:
        """Splits the score as `note_seq.split_note_sequence_on_time_changes` does; see `split`."""
        from note_seq import sequences_lib

        headers = sequences_lib.split_note_sequence_on_time_changes(self._whole_header())
        return list(self._parts(headers))

    def _whole_header(self) -> NoteSequence:
        """Returns the header with a total time that includes all notes."""
        header = type(self.header)()
        header.CopyFrom(self.header)
        header.total_time = max(self.total_time, self.end)
        return header

    def _parts(self, headers: list[NoteSequence]) -> Iterator[Score]:
        """Yields the parts of the score, for headers that note_seq has split."""
        times = [header.subsequence_info.start_time_offset for header in headers]
        times.append(max(self.total_time, self.end))
        for header, (start, end) in zip(headers, itertools.pairwise(times), strict=True):
            yield self._part(header, start, end)

    def between(self, start: float, end: float) -> Score:
        """Returns the part from `start` to `end` in seconds, without control changes.

        Notes that begin before `start` are left out; the others end by `end`.
        """
        from note_seq import sequences_lib

        return self._part(
            sequences_lib.extract_subsequence(self._whole_header(), start, end), start, end
        )

    def _part(self, header: NoteSequence, start: float, end: float) -> Score:
        notes = self.notes
        within = np.flatnonzero((start <= notes.start) & (notes.start < end))
        within = within[np.argsort(notes.start[within], kind="stable")]
        notes = notes[within]
        part = Score(notes, NO_CONTROLS, header, 0.0)
        part = part.retimed(notes.start - start, np.minimum(notes.end, end) - start)
        return dataclasses.replace(part, total_time=part.end)

    def sequence(self) -> NoteSequence:
        """Returns the NoteSequence; its integers must lie in [0, 2**21)."""
        whole = type(self.header)()
        whole.CopyFrom(self.header)
        whole.total_time = self.total_time
        self.notes.add_to(whole)
        self.controls.add_to(whole)
        return whole


def without(report: Report, *cases: tuple[Reason | str, np.ndarray]) -> np.ndarray:
    """Returns the mask bool (N,) of the notes that none of `cases`, (reason, mask), concerns.

    Other notes are reported under the first case that concerns them, reasons in the order of their
    first notes.
    """
    kept, found = np.ones(len(cases[0][1]), bool), []
    for reason, mask in cases:
        dropped = mask & kept
        if dropped.any():
            found.append((int(dropped.argmax()), reason, int(dropped.sum())))
            kept &= ~dropped
    for _, reason, count in sorted(found, key=lambda case: case[0]):
        report.drop(reason, n=count)
    return kept

"""The notes of a piece as arrays."""

from __future__ import annotations

import dataclasses
import operator
from typing import Any

import numpy as np

from magenta_lite.converters.base import Reason, Report
from magenta_lite.typing import NoteSequence

_fields_of = operator.attrgetter(
    "start_time", "end_time", "pitch", "velocity", "program", "instrument", "is_drum"
)


@dataclasses.dataclass(frozen=True)
class NoteArrays:
    """Notes in the order of their NoteSequence; arrays (N,).

    Attributes:
        start: Onset in seconds, float.
        end: End in seconds, float.
        pitch: MIDI pitch or drum key, int.
        velocity: MIDI velocity, int.
        program: General MIDI program, int.
        instrument: Number of the instrument, int.
        is_drum: Whether it is a drum hit, bool.
    """

    start: np.ndarray
    end: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    program: np.ndarray
    instrument: np.ndarray
    is_drum: np.ndarray

    @classmethod
    def of(cls, sequence: NoteSequence) -> NoteArrays:
        """Returns the notes of a NoteSequence."""
        rows = np.array(list(map(_fields_of, sequence.notes)), float).reshape(-1, 7)
        columns = np.ascontiguousarray(rows.T)
        pitch, velocity, program, instrument = columns[2:6].astype(int)
        start, end, is_drum = columns[0], columns[1], columns[6].astype(bool)
        return cls(start, end, pitch, velocity, program, instrument, is_drum)

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, which: Any) -> NoteArrays:
        """Returns the notes of a mask bool (N,), or of indices int (M,)."""
        return NoteArrays(*(getattr(self, f.name)[which] for f in dataclasses.fields(self)))


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

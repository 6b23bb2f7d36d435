"""The notes of a piece as arrays."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from magenta_lite.converters.base import Reason, Report
from magenta_lite.converters.note_parsing import parsed_notes
from magenta_lite.typing import NoteSequence


@dataclasses.dataclass(frozen=True)
class NoteArrays:
    """Notes in the order of their NoteSequence; arrays (N,), which are read-only.

    Attributes:
        pitch: MIDI pitch or drum key, int.
        velocity: MIDI velocity, int.
        start: Onset in seconds, float.
        end: End in seconds, float.
        instrument: Number of the instrument, int.
        program: General MIDI program, int.
        is_drum: Whether it is a drum hit, bool.
    """

    pitch: np.ndarray
    velocity: np.ndarray
    start: np.ndarray
    end: np.ndarray
    instrument: np.ndarray
    program: np.ndarray
    is_drum: np.ndarray

    @classmethod
    def of(cls, sequence: NoteSequence) -> NoteArrays:
        """Returns the notes of a NoteSequence."""
        return cls(*parsed_notes(sequence))

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

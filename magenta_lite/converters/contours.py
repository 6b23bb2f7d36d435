"""Contours of pieces, by which copies of passages are found in any key."""

from __future__ import annotations

import numpy as np

from magenta_lite.typing import NoteSequence

PITCHES = 128
DRUM = 2 * PITCHES  # numbers of drums are above those of intervals
TOGETHER = 1e-3  # seconds


def contour(sequence: NoteSequence) -> np.ndarray:
    """Returns a number for each note of a NoteSequence that is invariant to key, tempo and volume.

    It encodes the interval from the previous pitch (for drums, the drum), and whether the note
    starts together with the previous one.

    Returns:
        Int (N,), in order of time, then of pitch from the highest down.
    """
    notes = sorted(sequence.notes, key=lambda note: (note.start_time, -note.pitch))
    numbers, before, moment = [], 0, -1.0
    for note in notes:
        interval = DRUM + note.pitch
        if not note.is_drum:
            interval, before = note.pitch - before + PITCHES, note.pitch
        together, moment = abs(note.start_time - moment) < TOGETHER, note.start_time
        numbers.append(2 * interval + together)
    return np.array(numbers, int)

"""Transposition of a melody to the key and range of a model, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from magenta_lite.converters.event_sequences.encodings import best_keys

OCTAVE = 12
MIDI_PITCHES = 128


@dataclasses.dataclass(frozen=True)
class Squashed:
    """A melody transposed and folded to a range.

    Attributes:
        events: `NO_EVENT`, `NOTE_OFF` or a pitch in range, for each step.
        original: The original events.
        shift: Transposition of all notes in semitones, before folding.
        folded: Number of notes that were folded, that is, moved by octaves.
    """

    events: list[int]
    original: list[int]
    shift: int
    folded: int

    def undo(self, events: Sequence[int], restore_folded: bool = True) -> list[int]:
        """Transposes this melody, or a continuation of it, back to the original key and range.

        Args:
            events: This melody or a continuation of it.
            restore_folded: Whether folded notes of this melody return to their original octaves.
                The original code moves all notes by the same interval.

        Returns:
            Events with pitches from 0 to 127; other pitches are moved by octaves.
        """
        moved = [fold(event - self.shift, 0, MIDI_PITCHES) if event >= 0 else event
                 for event in events]  # fmt: skip
        if restore_folded:
            given = min(len(moved), len(self.original))
            moved[:given] = self.original[:given]
        return moved


def squash(
    events: Iterable[int], min_pitch: int, max_pitch: int, key: int | None = None
) -> Squashed:
    """Transposes a melody to a major key near the middle of a range and folds notes out of range.

    Args:
        events: `NO_EVENT`, `NOTE_OFF` or a MIDI pitch for each step.
        min_pitch: Lowest pitch of the range.
        max_pitch: Highest pitch of the range, at least an octave above.
        key: 0 (C) to 11; None to keep the melody's own key and octave.
    """
    events = [int(event) for event in events]
    notes = [event for event in events if event >= 0]
    shift = _shift(notes, min_pitch, max_pitch, key) if notes and key is not None else 0
    moved = [
        fold(event + shift, min_pitch, max_pitch + 1) if event >= 0 else event for event in events
    ]
    folded = sum(a != b + shift for a, b in zip(moved, events, strict=True) if b >= 0)
    return Squashed(moved, events, shift, folded)


def _shift(notes: list[int], min_pitch: int, max_pitch: int, key: int) -> int:
    to_key = key - major_key(notes)
    middle = (min(notes) + max(notes)) / 2 + to_key
    octaves = round(((min_pitch + max_pitch) / 2 - middle) / OCTAVE)  # rounds half to even
    return to_key + OCTAVE * octaves


def major_key(notes: Sequence[int]) -> int:
    """Returns the lowest major key, 0 (C) to 11, that contains most of the notes."""
    counts = np.bincount(np.asarray(notes) % OCTAVE, minlength=OCTAVE)
    return int(best_keys(counts[None])[0].argmax())


def fold(pitch: int, low: int, high: int) -> int:
    """Moves a pitch by octaves to the nearest end of [low, high)."""
    if pitch < low:
        return low + (pitch - low) % OCTAVE
    if pitch >= high:
        return high - OCTAVE + (pitch - high) % OCTAVE
    return pitch

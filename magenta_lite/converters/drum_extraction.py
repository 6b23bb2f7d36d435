"""Extraction of the drum tracks of a piece, by the rules of Magenta's training data.

A drum track is a list of sets of drums, one per step; bit k of a set is the hit of class k.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from magenta_lite.converters.base import Report
from magenta_lite.converters.score import NoteArrays, without
from magenta_lite.typing import Events

PITCHES = 128


class DrumTrack(NamedTuple):
    """Sets of drums from the step `start`; both ends are on bar lines."""

    start: int
    events: list[int]


def hits_by_step(
    starts: np.ndarray, notes: NoteArrays, class_of: dict[int, int], report: Report
) -> dict[int, int]:
    """Returns the set of classes hit at each step with hits, in order of time.

    `starts` are the steps of the notes (N,), `class_of` is the class of each MIDI pitch.
    """
    classes = np.full(PITCHES, -1)
    classes[list(class_of)] = list(class_of.values())
    known = (notes.pitch >= 0) & (notes.pitch < PITCHES)
    drums = np.where(known, classes[np.clip(notes.pitch, 0, PITCHES - 1)], -1)
    kept = without(
        report,
        ("note that is not for drums", ~notes.is_drum),
        ("drum pitch without a class", drums < 0),
        ("note of velocity 0", notes.velocity <= 0),
    )
    steps, places = np.unique(starts[kept], return_inverse=True)
    hits = np.zeros(len(steps), int)
    np.bitwise_or.at(hits, places, 1 << drums[kept])
    return dict(zip(steps.tolist(), hits.tolist(), strict=True))


def extract_drum_tracks(
    hits: dict[int, int],
    *,
    steps_per_bar: int,
    gap_bars: float,
    max_bars: float = math.inf,
    leading_bars: int = 0,
    report: Report,
) -> list[DrumTrack]:
    """Returns the drum tracks of a piece, each in whole bars from the bar of its first hit.

    Args:
        hits: Set of classes hit at each step with hits.
        steps_per_bar: Length of a bar.
        gap_bars: Bars without a hit after which a new track begins; infinity for one track.
        max_bars: Maximum length; longer tracks are truncated.
        leading_bars: Maximum number of silent bars to keep before the first track.
        report: Collects the counts of dropped items.
    """
    tracks: list[DrumTrack] = []
    for step in sorted(hits):
        track = tracks[-1] if tracks else None
        silence = step - track.start - len(track.events) if track else 0
        bar = step // steps_per_bar * steps_per_bar
        if track is None:
            track = DrumTrack(max(0, bar - leading_bars * steps_per_bar), [])
            tracks.append(track)
        elif silence >= gap_bars * steps_per_bar:
            track = DrumTrack(bar, [])
            tracks.append(track)
        track.events.extend([0] * (step - track.start - len(track.events)))
        track.events.append(hits[step])
    for track in tracks:
        track.events.extend([0] * (-len(track.events) % steps_per_bar))
        if len(track.events) > max_bars * steps_per_bar:
            report.drop(f"drum track longer than {max_bars} bars is cut")
            del track.events[int(max_bars * steps_per_bar) :]
    return tracks


def as_bits(events: Events, classes: int) -> np.ndarray:
    """Returns sets of drums as uint8 0/1 (T, classes)."""
    wide = np.array(events, np.uint64)[:, None]
    return (wide >> np.arange(classes, dtype=np.uint64) & np.uint64(1)).astype(np.uint8)

"""Summaries of a collection: split sizes, dropped music, and hints how to keep more of it."""

from __future__ import annotations

import textwrap
from typing import Any

from magenta_lite.converters.base import Report
from magenta_lite.data.building import SPLITS, Windows, arrays, converter_of
from magenta_lite.errors import UserError


def check_usable(sizes: dict[str, int], report: Report, what: str) -> None:
    """Raises UserError with the report if the collection `what` has no training examples."""
    if not sizes.get("train"):
        raise UserError(
            f"{what} gives nothing to train on. What was read, and why it was left out:\n"
            + report.table()
            + "".join(f"\n{hint}" for hint in hints(report))
        )


def summary(sizes: dict[str, int], report: Report, width: int = 80) -> str:
    """Returns lines of text: the used files, the split sizes, and the dropped music."""
    total = sum(sizes.values())
    parts = ", ".join(f"{sizes.get(split, 0):,} {split}" for split in SPLITS)
    lines = [report.used(width), f"{total:,} different windows: {parts}", report.details(width)]
    empty = [split for split in SPLITS[1:] if not sizes.get(split)]
    if empty and sizes.get("train"):
        note = (
            f"Nothing is held out for {' and '.join(empty)}: too few pieces that differ from the "
            "others. Training works; its quality cannot be measured there."
        )
        lines.append(textwrap.fill(note, width))
    return "\n".join(filter(None, lines))


def hints(report: Report) -> list[str]:
    """Returns the hints how to keep more music, those for the most frequent reasons first."""
    reasons = [reason for reason, _ in report.dropped.most_common()]
    return list(dict.fromkeys(report.hints[r] for r in reasons if r in report.hints))


def pitch_range(windows: Windows, converter_config: Any) -> tuple[int, int] | None:
    """Returns the lowest and highest MIDI pitch of all windows; None if events have no pitches."""
    converter = converter_of(converter_config)
    if not converter.pitch_ids:
        return None
    room = []  # largest possible transpositions down and up of each window, in semitones
    for window in (window for split in windows.splits.values() for window in split):
        events, _ = arrays(window.events, window.controls, converter_config)
        down, up = converter.possible_shift(events, -127), converter.possible_shift(events, 127)
        if down or up:  # a window without notes has neither
            room.append((down, up, events))
    if not room:
        return None
    extremes = max(room, key=lambda r: r[0])[2], min(room, key=lambda r: r[1])[2]
    notes = [note for events in extremes for note in converter.decode(events).notes]
    pitches = [note.pitch for note in notes if not note.is_drum]
    return min(pitches), max(pitches)

"""Summaries of a collection: split sizes, dropped music, and hints how to keep more of it."""

from __future__ import annotations

import re
import textwrap
from typing import Any

from magenta_lite.converters.base import Report
from magenta_lite.data.building import SPLITS, Windows, arrays, converter_of
from magenta_lite.errors import UserError

# Hints by a phrase in the reason for dropping. A hint applies to converters that have the settings
# it names.
PAD = "--set converter.pad_edges=true pads short music with silence"
HINTS = {
    "program outside": "--set converter.programs=null reads the notes of every program",
    "(melody) and": (
        "converter.melody_programs and converter.bass_programs say which instruments are taken"
    ),
    "pitch outside": "--set converter.min_pitch=0 --set converter.max_pitch=127 reads every pitch",
    "outside the roland map": "--set converter.pitch_map=reduced reads all General MIDI drums",
    "shorter than": PAD,
    "short of a window": PAD,
    "bar with fewer than": "--set converter.pad_edges=true takes bars with little in them, too",
    "rest too long": "--set converter.gap_bars=4 lets melody, bass and drums rest for longer",
    "instrument with notes that start together": (
        "--set converter.skip_polyphony=false takes the highest of several notes"
    ),
    "segment of more than": (
        "--set converter.max_tokens=4096 reads longer ones, "
        "--set converter.max_seconds=10 cuts shorter"
    ),
    "windows in a piece": "--set converter.max_examples=0 takes every window of a piece",
    "sound shorter than": (
        "--set converter.crop=4096 takes shorter sound, for a model of short clips"
    ),
    "no sample above": "--set converter.silence=-90 takes quieter sound",
    "without a note on the drum channel": (
        "--set converter.unmarked_drums=true reads all notes of such files as drums, for the "
        "recordings of pads"
    ),
}
# Reasons that no setting changes.
FIXED = {"is not 4/4": "Only music in 4/4 or 2/2 has bars that fit these windows"}


def check_usable(sizes: dict[str, int], report: Report, what: str, converter_config: Any) -> None:
    """Raises UserError with the report if the collection `what` has no training examples."""
    if not sizes.get("train"):
        raise UserError(
            f"{what} gives nothing to train on. What was read, and why it was left out:\n"
            + report.table()
            + "".join(f"\n{hint}" for hint in hints(report, converter_config))
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


def hints(report: Report, converter_config: Any) -> list[str]:
    """Returns hints how to keep more music, for the reasons in `report`."""
    found = [
        f"To keep more: {hint}"
        for words, hint in HINTS.items()
        if any(words in reason for reason in report.dropped)
        and all(hasattr(converter_config, name) for name in re.findall(r"converter\.(\w+)", hint))
    ]
    found += [
        f"{why}; no setting changes that"
        for words, why in FIXED.items()
        if any(words in reason for reason in report.dropped)
    ]
    return list(dict.fromkeys(found))


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

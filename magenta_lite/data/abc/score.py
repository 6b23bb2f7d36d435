"""A tune as written: what sounds at which time, and the marks of its bar lines.

All times are in ticks of `fields.WHOLE` to a whole note.
"""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(slots=True)
class Note:
    """A written note; `tied` to the next one of this pitch."""

    start: int
    end: int
    pitch: int
    program: int
    is_drum: bool
    tied: bool = False


@dataclasses.dataclass
class BarLine:
    """What a bar line, or the beginning of a part, says about the order of play.

    Attributes:
        repeats_before: Number of colons before it, as in `:|`.
        repeats_after: Number of colons behind it, as in `|:`.
        is_double: Whether it ends a section or an ending.
        endings: Numbers of the variant ending that begins here.
        part: Name of the part that begins here.
    """

    repeats_before: int = 0
    repeats_after: int = 0
    is_double: bool = False
    endings: frozenset[int] = frozenset()
    part: str = ""

    def merged(self, other: BarLine) -> BarLine:
        """Returns what two bar lines at one time say together."""
        return BarLine(
            max(self.repeats_before, other.repeats_before),
            max(self.repeats_after, other.repeats_after),
            self.is_double or other.is_double,
            self.endings | other.endings,
            self.part or other.part,
        )


@dataclasses.dataclass(eq=False)
class Voice:
    """A voice as written; changes and chord symbols are pairs of a time and a value."""

    lines: list[list[Note]] = dataclasses.field(default_factory=list)  # the voice, its overlays
    marks: dict[int, BarLine] = dataclasses.field(default_factory=dict)
    bar_times: list[int] = dataclasses.field(default_factory=list)
    meters: list[tuple[int, Any]] = dataclasses.field(default_factory=list)
    tempos: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    chord_symbols: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    end: int = 0


@dataclasses.dataclass
class Score:
    """A tune as written; `parts` is the order of play of its parts, or ""."""

    title: str
    parts: str
    voices: list[Voice]

"""The order in which the sections of a tune are played: repeats, endings and parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import chain, groupby, islice, pairwise
from operator import attrgetter

from magenta_lite.data.abc.fields import AbcError
from magenta_lite.data.abc.score import BarLine

MAX_SECTIONS = 10_000


@dataclasses.dataclass
class Section:
    """The music between two marks, in ticks, with what its bar lines say."""

    start: int
    end: int
    part: str
    endings: frozenset[int]
    repeats_after: int  # colons of the bar line at its start
    repeats_before: int  # colons of the bar line at its end
    is_closed: bool  # whether a double bar ends it


def played_stretches(marks: dict[int, BarLine], end: int, parts: str) -> list[tuple[int, int]]:
    """Returns (start, end) of each stretch of the written music in the order of play.

    Args:
        marks: The marks by their time.
        end: End of the music.
        parts: Order of the parts, or "" for the order in which they are written.

    Raises:
        AbcError: If more than 10,000 sections are played.
    """
    sections = list(_sections(marks, end))
    # "" is what stands before the first part; of a part that is written twice the last one counts.
    by_part = {name: list(group) for name, group in groupby(sections, attrgetter("part"))}
    order = [name for name in parts if name in by_part]
    if order:
        unfolded = {name: _unfolded(written) for name, written in by_part.items()}
        in_order = chain.from_iterable(unfolded.get(name, []) for name in ["", *order])
        played = list(islice(in_order, MAX_SECTIONS + 1))
    else:
        played = _unfolded(sections)
    if len(played) > MAX_SECTIONS:
        raise AbcError("parts without end")
    stretches: list[tuple[int, int]] = []
    for section in played:
        if stretches and stretches[-1][1] == section.start:
            stretches[-1] = stretches[-1][0], section.end
        else:
            stretches.append((section.start, section.end))
    return stretches


def _sections(marks: dict[int, BarLine], end: int) -> Iterator[Section]:
    endings: frozenset[int] = frozenset()
    part = ""
    for start, stop in pairwise(sorted({0, end, *(time for time in marks if time < end)})):
        before, after = marks.get(start, BarLine()), marks.get(stop, BarLine())
        part = before.part or part
        if before != BarLine():
            endings = before.endings
        yield Section(
            start, stop, part, endings, before.repeats_after, after.repeats_before, after.is_double
        )


def _unfolded(sections: list[Section]) -> list[Section]:
    """Returns the sections as played, with repeats and variant endings."""
    _complete(sections)
    around = _numbers_around(sections)
    played: list[Section] = []
    start = i = 0  # start: where the next repeat goes back to
    turn = 1
    while i < len(sections):
        section = sections[i]
        numbers = around[i]
        if i > start and _begins(sections, start, i):
            start, turn = i, 1
        if numbers and turn not in section.endings and (turn > 1 or 1 in numbers):
            i += 1
            continue
        played.append(section)
        if len(played) > MAX_SECTIONS:
            raise AbcError("repeats without end")
        turns = min(sections[start].repeats_after, section.repeats_before) + 1
        if section.repeats_before and turn < max(2, turns, *numbers):
            turn, i = turn + 1, start
            continue
        if section.repeats_before:
            start, turn = i + 1, 1
        i += 1
    return played


def _complete(sections: list[Section]) -> None:
    """Adds the repeats that are left out: `|: A |: B :|`, `|1 A |2 B`, and `A ::| B :|`."""
    opened = 0
    for before, section in pairwise(sections):
        opened = before.repeats_after or opened
        if section.repeats_after and opened and not before.repeats_before:
            before.repeats_before = 1
        if before.endings and section.endings and before.endings != section.endings:
            before.repeats_before = before.repeats_before or 1
        if before.repeats_before > 1 and opened < 2:
            section.repeats_after = section.repeats_after or 1
        if before.repeats_before:
            opened = 0


def _begins(sections: list[Section], start: int, i: int) -> bool:
    """Returns whether the next repeat goes back to section `i` and no longer to `start`."""
    before, section = sections[i - 1], sections[i]
    if section.repeats_after or (before.endings and not section.endings):
        return True
    return before.is_closed and not sections[start].repeats_after


def _numbers_around(sections: list[Section]) -> list[set[int]]:
    """Returns for each section the numbers of all endings that stand together with its own."""
    numbers: list[set[int]] = []
    for has_endings, group in groupby(sections, lambda section: bool(section.endings)):
        endings = [section.endings for section in group]
        numbers += [set().union(*endings) if has_endings else set()] * len(endings)
    return numbers

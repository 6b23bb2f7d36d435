"""The order in which the measures of a score are played."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

MAX_MEASURES = 20_000
MAX_TURNS = 50  # of a repeated section
MAX_JUMPS = 50


@dataclasses.dataclass
class Signs:
    """The signs of a measure that direct what is played next.

    Attributes:
        starts_repeat: Whether a repeated section starts with this measure.
        turns: How often a repeated section that ends with this measure is played; 0 if none ends.
        repeats_after_jump: Whether that repeat is also played after a jump.
        endings: Numbers of the ending that the measure is in.
        segno: Labels of the segno signs at its start.
        coda: Labels of the coda signs at its start.
        to_coda: Labels of the codas to which its end leads after a jump.
        dal_segno: Labels of the segno signs to which its end leads.
        da_capo: Whether its end leads to the beginning.
        fine: Whether the score ends with it after a jump.
    """

    starts_repeat: bool = False
    turns: int = 0
    repeats_after_jump: bool = False
    endings: set[int] = dataclasses.field(default_factory=set)
    segno: set[str] = dataclasses.field(default_factory=set)
    coda: set[str] = dataclasses.field(default_factory=set)
    to_coda: set[str] = dataclasses.field(default_factory=set)
    dal_segno: set[str] = dataclasses.field(default_factory=set)
    da_capo: bool = False
    fine: bool = False


def playing_order(signs: Sequence[Signs]) -> list[int]:
    """Returns the indices of the measures as they are played.

    Repeats are not played after a jump (da capo, dal segno), which leads to the last endings. A
    jump is made once. A repeat without a start goes back to the end of the one before.

    Raises:
        ValueError: If more than `MAX_MEASURES` measures would be played.
    """
    order: list[int] = []
    jumped: set[int] = set()  # measures whose jump was made
    jumps = 0
    segnos = [i for i, sign in enumerate(signs) if sign.segno]
    codas = [i for i, sign in enumerate(signs) if sign.coda]
    sections = _ends_of_sections(signs)
    i, start, turn = 0, 0, 1
    while i < len(signs):
        sign, end = signs[i], sections[i]
        after_endings = i > 0 and signs[i - 1].endings and not sign.endings
        if i != start and (sign.starts_repeat or after_endings):
            start, turn = i, 1
        repeats = not jumped or end.repeats_after_jump
        current = turn if repeats else end.turns
        # A second ending without a first one is played.
        if sign.endings and current not in sign.endings and current >= end.first:
            i += 1
            continue
        order.append(i)
        if len(order) > MAX_MEASURES:
            raise ValueError(f"more than {MAX_MEASURES:,} measures with all repeats")
        if sign.turns and repeats and turn < end.turns:
            i, turn = start, turn + 1
            continue
        if jumped and sign.fine:
            break
        target = _jump(signs, i, jumped, segnos, codas) if jumps < MAX_JUMPS else None
        if target is None:
            target = i + 1
        else:
            jumps += 1
            jumped.add(i)
        if sign.turns or target != i + 1:
            start, turn = target, 1
        i = target
    return order


class _End(NamedTuple):
    """How often the repeated section is played that ends with a measure or with its ending."""

    turns: int
    first: int  # the lowest number of the endings
    repeats_after_jump: bool


def _ends_of_sections(signs: Sequence[Signs]) -> list[_End]:
    ends: list[_End] = []
    while len(ends) < len(signs):
        # Measures in endings are grouped; all others are their own group.
        stop = len(ends) + 1
        while stop < len(signs) and signs[stop - 1].endings and signs[stop].endings:
            if signs[stop].starts_repeat:
                break
            stop += 1
        group = signs[len(ends) : stop]
        turns = max(max((sign.turns, *sign.endings)) for sign in group)
        first = min((min(sign.endings) for sign in group if sign.endings), default=1)
        end = _End(turns, first, any(sign.repeats_after_jump for sign in group))
        ends += [end] * len(group)
    return ends


def _jump(
    signs: Sequence[Signs], i: int, jumped: set[int], segnos: list[int], codas: list[int]
) -> int | None:
    """Returns the measure to which the end of measure `i` leads; None for the next one."""
    sign = signs[i]
    if jumped and sign.to_coda:
        later = [(j, signs[j].coda) for j in codas if j > i]
        return _labelled(later, sign.to_coda)
    if i in jumped or not (sign.da_capo or sign.dal_segno):
        return None
    earlier = [(j, signs[j].segno) for j in reversed(segnos) if j <= i]
    return 0 if sign.da_capo else _labelled(earlier, sign.dal_segno)


def _labelled(places: list[tuple[int, set[str]]], wanted: set[str]) -> int | None:
    """Returns the first place with a wanted label, else the first; None if there is none."""
    return next((i for i, labels in places if labels & wanted), places[0][0] if places else None)

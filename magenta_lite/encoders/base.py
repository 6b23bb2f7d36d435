"""What every encoder gives back: examples, and a report of what was left out and why."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np

PLACES_KEPT = 5  # named per reason; the counts stay exact


@dataclasses.dataclass
class Report:
    """Counts what was kept and what was left out, by reason.

    A reason is a short phrase that a musician understands and that says what to change, e.g.
    "bar is not 4/4". `places` names the first few files or bars of each reason.
    """

    kept: Counter = dataclasses.field(default_factory=Counter)
    dropped: Counter = dataclasses.field(default_factory=Counter)
    places: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    def keep(self, what: str, n: int = 1) -> None:
        """Counts `n` of `what` ("files", "melodies", "windows") as kept."""
        self.kept[what] += n

    def drop(self, reason: str, place: str = "", n: int = 1) -> None:
        """Counts `n` things as left out for `reason`, at `place` (a file, a bar range)."""
        if n == 0:
            return
        self.dropped[reason] += n
        places = self.places.setdefault(reason, [])
        if place and place not in places and len(places) < PLACES_KEPT:
            places.append(place)

    def merge(self, other: Report, place: str = "") -> None:
        """Adds the counts of `other`; its places are prefixed with `place` (a file)."""
        self.kept.update(other.kept)
        for reason, n in other.dropped.items():
            places = other.places.get(reason) or [""]
            self.drop(reason, " ".join(filter(None, (place, places[0]))), n)
            for name in places[1:]:
                self.drop_place(reason, " ".join(filter(None, (place, name))))

    def drop_place(self, reason: str, place: str) -> None:
        """Names another place of a reason that is already counted."""
        places = self.places.setdefault(reason, [])
        if place not in places and len(places) < PLACES_KEPT:
            places.append(place)

    def to_json(self) -> dict[str, Any]:
        """Returns plain dicts and lists."""
        return {
            "kept": dict(self.kept),
            "dropped": dict(self.dropped),
            "places": {reason: list(places) for reason, places in self.places.items()},
        }

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Report:
        """Returns the report that `to_json` described."""
        return cls(Counter(tree["kept"]), Counter(tree["dropped"]), dict(tree["places"]))

    def table(self) -> str:
        """Returns the report as lines of text: what was kept, then what was not and why."""
        lines = [f"{n:>9,} {what}" for what, n in self.kept.items()]
        for reason, n in self.dropped.most_common():
            places = ", ".join(self.places.get(reason, []))
            lines.append(f"{n:>9,} left out: {reason}" + (f" ({places})" if places else ""))
        return "\n".join(lines) or "nothing read"


@dataclasses.dataclass
class EncodeResult:
    """Examples of one NoteSequence, and what was left out of it.

    Attributes:
        examples: What the family's pipeline stores; for melodies uint8 arrays (T,).
        report: What was left out and why.
    """

    examples: list[np.ndarray]
    report: Report

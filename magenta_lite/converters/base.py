"""What every converter gives back: examples, their format, and what was left out and why."""

from __future__ import annotations

import dataclasses
import re
import textwrap
from collections import Counter
from typing import Any

import numpy as np

MAX_LINES = 3  # of a reason in a table, names of places included
NAME_WIDTH = 40  # columns of such a name
PLACES_KEPT = 5  # named per reason; the counts stay exact

# What is counted under a reason, by how the reason begins; else whole files or pieces.
UNITS = {
    "notes": r"(drum |lower )?note\b|(drum )?pitch\b|softer hit|(end|rest) of a note|event of",
    "windows": r"(same |train |validation |test )?window|more than (\d+ windows)?|silent clip",
    "passages": (
        r"melody|drum track|trio|part of|segment|bar\b|time signature|tempo|music longer"
        r"|no (melody|bass|drums)|instrument with"
    ),
}
FILES = "files and pieces"


def unit_of(reason: str) -> str:
    """Returns what is counted under a reason of a `Report`: a key of `UNITS`, or `FILES`."""
    return next((unit for unit, words in UNITS.items() if re.match(words, reason)), FILES)


@dataclasses.dataclass
class Tally:
    """Counts what was kept and what was left out, by reason; `places` names the first of each."""

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

    def merge(self, other: Tally, place: str = "") -> None:
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


@dataclasses.dataclass
class Report(Tally):
    """A `Tally` of pieces, passages, windows and notes, and one of whole files.

    A reason is a short phrase that a musician understands and that says what to change, e.g.
    "bar is not 4/4". Its first words say what is counted, see `unit_of`.

    Attributes:
        files: How many files of music are used, and why the others give nothing.
    """

    files: Tally = dataclasses.field(default_factory=Tally)

    def merge(self, other: Report, place: str = "") -> None:
        """Adds the counts of `other`; its places are prefixed with `place` (a file)."""
        super().merge(other, place)
        self.files.merge(other.files, place)

    def to_json(self) -> dict[str, Any]:
        """Returns plain dicts and lists."""
        return super().to_json() | {"files": self.files.to_json()}

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Report:
        """Returns the report that `to_json` described."""
        return cls(*_counts(tree), files=Tally(*_counts(tree.get("files", {}))))

    def main_reason(self) -> str:
        """Returns why nothing was kept: of the reasons for the largest units the most frequent."""
        units = [FILES, *reversed(UNITS)]
        ranked = sorted(self.dropped.items(), key=lambda r: (units.index(unit_of(r[0])), -r[1]))
        reason = ranked[0][0] if ranked else "nothing in it that fits"
        return f"no usable note ({reason})" if unit_of(reason) == "notes" else reason

    def table(self, width: int = 80) -> str:
        """Returns the report as text of so many columns: what is used, and what was left out."""
        lines = [self.used(width), self.details(width)]
        return "\n".join(filter(None, lines)) or "nothing read"

    def used(self, width: int = 80) -> str:
        """Returns how many files are used, and why the others give nothing; empty without any."""
        used, unused = self.files.kept["files"], self.files.dropped.total()
        if not used + unused:
            return ""
        if not unused:
            return f"All {_of(used)} used" if used > 1 else "1 file is used"
        few = "this one gives" if unused == 1 else f"these {unused:,} give"
        first = f"{used:,} of {_of(used + unused)} used; {few} nothing, because"
        reasons = self.files.dropped.most_common()
        lines = [_line(n, why, self.files.places.get(why, []), width) for why, n in reasons]
        return "\n".join([first, *lines])

    def details(self, width: int = 80) -> str:
        """Returns what was kept, then what was left out, in sections by what is counted."""
        lines = [f"{n:>9,} {what}" for what, n in self.kept.items()]
        left = self.dropped - self.files.dropped  # those are told already
        for unit in (FILES, *reversed(UNITS)):
            reasons = [(why, n) for why, n in left.most_common() if unit_of(why) == unit]
            if reasons:
                lines.append(f"{unit[0].upper()}{unit[1:]} left out:")
            lines += [_line(n, why, self.places.get(why, []), width) for why, n in reasons]
        return "\n".join(lines)


def _of(files: int) -> str:
    return "1 file is" if files == 1 else f"{files:,} files are"


def _counts(tree: dict[str, Any]) -> tuple[Counter, Counter, dict[str, list[str]]]:
    return Counter(tree.get("kept")), Counter(tree.get("dropped")), dict(tree.get("places", {}))


def _line(n: int, reason: str, places: list[str], width: int) -> str:
    """Returns a count, its reason and as many places as there is room for."""
    names = [shortened(place, NAME_WIDTH) for place in places]
    for shown in range(len(names), -1, -1):
        more = ["…"] if n > shown or shown < len(names) else []
        named = f" ({', '.join(names[:shown] + more)})" if shown else ""
        text = f"{n:>9,} {reason}{named}"
        lines = textwrap.wrap(text, width, subsequent_indent=" " * 10, break_on_hyphens=False)
        if len(lines) <= MAX_LINES:
            break
    return "\n".join(lines)


def shortened(name: str, width: int) -> str:
    """Returns a name of at most `width` columns, without the middle of a longer one."""
    if len(name) <= width:
        return name
    front = (width - 1) // 2
    return f"{name[:front]}…{name[len(name) - (width - 1 - front) :]}"


@dataclasses.dataclass(frozen=True)
class EventFormat:
    """What the numbers of a converter's examples mean to a model; plain values only.

    Kinds, with the shape of one example's `events` (T steps) and of the vector that stands for
    one step inside a model:

    - `categorical`: one of `sizes[0]` classes a step; int (T,); one-hot.
    - `multi_categorical`: one class of each of the parts `sizes`; int (T, P); one-hots joined.
    - `roll`: which of `sizes[0]` classes are hit; uint8 0/1 (T, D); as it is.
    - `groove`: hits (0/1), velocities (0 to 1) and offsets (-1 to 1, positive is early, in half
      steps) of `sizes[0]` classes; float32 (T, 3 * D); as it is.
    - `audio`: samples of `sizes[0]` channels; int16 (T, C); divided by 32768.

    Attributes:
        kind: See above.
        sizes: See above.
        input_bits: For `categorical` of 2 ** n classes, each a set of n members: the converter
            network reads n membership bits instead of the one-hot; 0 to read the one-hot.
        control: What else the networks read at every step: `chords`, the 49 chord classes, given
            with the example; `hits`, a groove's own hits; or nothing.
        segments: In how many parts of equal length the T steps fall (the tracks of a bar), 1 for
            one sequence. A segment ends after its first `end_id`; what follows is filling.
        end_id: The class that ends a segment, or a sequence; None without one.
        input_changes: For `groove`, what the encoder network does not see: any of `humanize`
            (velocities and offsets), `tapify` (which drum), `fixed_velocities` (velocities).
        hidden_classes: For `groove`, classes that the encoder network does not see.
        max_note_dropout: For `groove`, in training each note of an example is hidden from the
            encoder network with a probability of up to this.
    """

    kind: str
    sizes: tuple[int, ...]
    input_bits: int = 0
    control: str = ""
    segments: int = 1
    end_id: int | None = None
    input_changes: tuple[str, ...] = ()
    hidden_classes: tuple[int, ...] = ()
    max_note_dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("sizes", "input_changes", "hidden_classes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of the numbers of one step."""
        return {
            "categorical": (),
            "multi_categorical": (len(self.sizes),),
            "roll": self.sizes,
            "audio": self.sizes,
            "groove": (3 * self.sizes[0],),
        }[self.kind]

    @property
    def event_dtype(self) -> np.dtype:
        """Type in which examples are stored."""
        if self.kind == "groove":
            return np.dtype(np.float32)
        if self.kind == "audio":
            return np.dtype(np.int16)
        wide = self.kind != "roll" and max(self.sizes) > 256
        return np.dtype(np.uint16 if wide else np.uint8)


CHORD_CLASSES = 49  # none, then 12 each of major, minor, augmented and diminished


@dataclasses.dataclass
class EncodeResult:
    """Examples of one piece, and what was left out of it.

    Attributes:
        examples: Arrays of the converter's `EventFormat`: (T, *event_shape), event_dtype.
        report: What was left out and why.
        controls: For the control `chords`, the chord class of each step of each example, uint8
            (T,); None otherwise.
        train_only: Whether each example must not be held out, being another form of one that may;
            None for no.
        positions: (first step, steps of the whole piece) of each example, from a converter whose
            examples are put together again; such a piece is kept whole. None for any other.
    """

    examples: list[np.ndarray]
    report: Report
    controls: list[np.ndarray] | None = None
    train_only: list[bool] | None = None
    positions: list[tuple[int, int]] | None = None

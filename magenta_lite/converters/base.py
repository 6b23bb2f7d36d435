"""Results of converters: examples, their format, and reports of dropped material."""

from __future__ import annotations

import dataclasses
import re
import textwrap
from collections import Counter
from typing import Any

import numpy as np

from magenta_lite.files import printable

MAX_LINES = 3  # of a reason in a table, including names of places
NAME_WIDTH = 40  # columns of the name of a place
COUNTS = ("kept", "dropped", "places", "hints")  # fields of a `Tally`
PLACES_KEPT = 5  # places stored for each reason; the counts stay exact

# The unit that a reason counts, by the beginning of the reason; otherwise files or pieces.
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
    """Returns the unit that a reason of a `Report` counts: a key of `UNITS`, or `FILES`."""
    return next((unit for unit, words in UNITS.items() if re.match(words, reason)), FILES)


@dataclasses.dataclass(frozen=True)
class Reason:
    """Why music is dropped.

    Attributes:
        text: A short phrase for a musician, e.g. "bar is not 4/4". Its first words determine the
            unit that is counted; see `unit_of`.
        hint: A sentence on how to keep such music; empty without one.
    """

    text: str
    hint: str = ""

    @classmethod
    def with_setting(cls, text: str, setting: str) -> Reason:
        """Returns a reason with a hint at a setting, e.g. "--set converter.bars=1 does this"."""
        return cls(text, f"To keep more: {setting}")


def pitch_outside(low: int, high: int) -> Reason:
    """Returns the reason to drop notes outside `converter.min_pitch` and `converter.max_pitch`."""
    text = f"pitch outside {low}-{high}"
    if (low, high) == (0, 127):  # no setting reads pitches that MIDI lacks
        return Reason(text)
    every = "--set converter.min_pitch=0 --set converter.max_pitch=127 reads every pitch"
    return Reason.with_setting(text, every)


@dataclasses.dataclass
class Tally:
    """Counts of kept items, and of dropped items by reason, with the first places of each.

    Attributes:
        kept: Counts by kind of item.
        dropped: Counts by the text of the reason.
        places: First places by the text of the reason.
        hints: Hints of the reasons that have one, by the text of the reason.
    """

    kept: Counter = dataclasses.field(default_factory=Counter)
    dropped: Counter = dataclasses.field(default_factory=Counter)
    places: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    hints: dict[str, str] = dataclasses.field(default_factory=dict)

    def keep(self, what: str, n: int = 1) -> None:
        """Counts `n` items of kind `what` ("files", "melodies", "windows") as kept."""
        self.kept[what] += n

    def drop(self, reason: Reason | str, place: str = "", n: int = 1) -> None:
        """Counts `n` items as dropped for `reason`, at `place` (a file, a bar range)."""
        if n == 0:
            return
        if isinstance(reason, str):
            reason = Reason(reason)
        text = printable(reason.text)
        self.dropped[text] += n
        self._add_place(text, place)
        if reason.hint:
            self.hints[text] = reason.hint

    def merge(self, other: Tally, place: str = "") -> None:
        """Adds the counts of `other`, and prefixes its places with `place` (a file)."""
        self.kept.update(other.kept)
        self.dropped.update(other.dropped)
        self.hints |= other.hints
        for reason in other.dropped:
            for name in other.places.get(reason) or [""]:
                self._add_place(reason, f"{place} {name}".strip())

    def _add_place(self, reason: str, place: str) -> None:
        places = self.places.setdefault(reason, [])
        if len(places) == PLACES_KEPT:
            return
        name = printable(place)
        if name and name not in places:
            places.append(name)

    def to_json(self) -> dict[str, Any]:
        """Returns plain dicts and lists."""
        return {name: dict(getattr(self, name)) for name in COUNTS}


@dataclasses.dataclass
class Report(Tally):
    """A `Tally` of pieces, passages, windows and notes, and one of whole files.

    Attributes:
        files: Counts of used and unused music files.
    """

    files: Tally = dataclasses.field(default_factory=Tally)

    def to_json(self) -> dict[str, Any]:
        """Returns plain dicts and lists."""
        return super().to_json() | {"files": self.files.to_json()}

    def merge(self, other: Report, place: str = "") -> None:
        """Adds the counts of `other`, and prefixes its places with `place` (a file)."""
        super().merge(other, place)
        self.files.merge(other.files, place)

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Report:
        """Returns the report that `to_json` described."""
        return cls(**_counts(tree), files=Tally(**_counts(tree.get("files", {}))))

    def main_reason(self) -> str:
        """Returns why nothing was kept: the most frequent reason of the largest unit."""
        units = [FILES, *reversed(UNITS)]
        ranked = sorted(self.dropped.items(), key=lambda r: (units.index(unit_of(r[0])), -r[1]))
        reason = ranked[0][0] if ranked else "nothing in it that fits"
        return f"no usable note ({reason})" if unit_of(reason) == "notes" else reason

    def table(self, width: int = 80) -> str:
        """Returns the report as text of at most `width` columns."""
        lines = [self.used(width), self.details(width)]
        return "\n".join(filter(None, lines)) or "nothing read"

    def used(self, width: int = 80) -> str:
        """Returns the counts of used and unused files as text; empty without files."""
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
        """Returns the kept and dropped items as text, in sections by unit."""
        lines = [f"{n:>9,} {what}" for what, n in self.kept.items()]
        left = self.dropped - self.files.dropped  # those are reported by `used`
        for unit in (FILES, *reversed(UNITS)):
            reasons = [(why, n) for why, n in left.most_common() if unit_of(why) == unit]
            if reasons:
                lines.append(f"{unit[0].upper()}{unit[1:]} left out:")
            lines += [_line(n, why, self.places.get(why, []), width) for why, n in reasons]
        return "\n".join(lines)


def _of(files: int) -> str:
    return "1 file is" if files == 1 else f"{files:,} files are"


def _counts(tree: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of a `Tally`; earlier versions wrote no hints."""
    counts = {name: dict(tree.get(name, {})) for name in COUNTS}
    return counts | {name: Counter(counts[name]) for name in ("kept", "dropped")}


def _line(n: int, reason: str, places: list[str], width: int) -> str:
    """Returns a line with a count, its reason and as many places as fit."""
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
    """Returns a name shortened to `width` columns by leaving out its middle."""
    if len(name) <= width:
        return name
    front = (width - 1) // 2
    return f"{name[:front]}…{name[len(name) - (width - 1 - front) :]}"


@dataclasses.dataclass(frozen=True)
class EventFormat:
    """Format of a converter's examples; plain values only.

    Each kind defines the shape of `events` (T steps) and the vector that represents a step in a
    model:

    - `categorical`: one of `sizes[0]` classes a step; int (T,); one-hot.
    - `multi_categorical`: one class of each of the parts `sizes`; int (T, P); concatenated
      one-hots.
    - `roll`: hits of `sizes[0]` classes; uint8 0/1 (T, D); unchanged.
    - `groove`: hits (0/1), velocities (0 to 1) and offsets (-1 to 1, positive is early, in half
      steps) of `sizes[0]` classes; float32 (T, 3 * D); unchanged.
    - `audio`: samples of `sizes[0]` channels; int16 (T, C); divided by 32768.

    Attributes:
        kind: One of the kinds above.
        sizes: Numbers of classes or channels, as the kind defines.
        input_bits: For `categorical` with 2 ** n classes that are sets of n members: the encoder
            network reads n membership bits instead of the one-hot; 0 to read the one-hot.
        control: Additional input of the networks at every step: `chords`, the 49 chord classes of
            the example; `hits`, the hits of a groove; or empty.
        segments: Number of segments of equal length in the T steps (the tracks of a bar); 1 for
            one sequence. A segment ends after its first `end_id`, followed by padding.
        end_id: The class that ends a segment or a sequence; None without one.
        input_changes: For `groove`, features hidden from the encoder network: any of `humanize`
            (velocities and offsets), `tapify` (drum classes), `fixed_velocities` (velocities).
        hidden_classes: For `groove`, classes hidden from the encoder network.
        max_note_dropout: For `groove`, the maximum probability in training with which each note is
            hidden from the encoder network.
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
        """Shape of one step of an example."""
        return {
            "categorical": (),
            "multi_categorical": (len(self.sizes),),
            "roll": self.sizes,
            "audio": self.sizes,
            "groove": (3 * self.sizes[0],),
        }[self.kind]

    @property
    def event_dtype(self) -> np.dtype:
        """Data type in which examples are stored."""
        if self.kind == "groove":
            return np.dtype(np.float32)
        if self.kind == "audio":
            return np.dtype(np.int16)
        wide = self.kind != "roll" and max(self.sizes) > 256
        return np.dtype(np.uint16 if wide else np.uint8)


CHORD_CLASSES = 49  # none, then 12 each of major, minor, augmented and diminished


@dataclasses.dataclass
class EncodeResult:
    """Examples of one piece, with a report of dropped material.

    Attributes:
        examples: Arrays of the converter's `EventFormat`: (T, *event_shape), event_dtype.
        report: Counts of kept and dropped items, with reasons.
        controls: For the control `chords`, the chord class of each step of each example, uint8
            (T,); None otherwise.
        train_only: Whether each example is an augmentation, for training only; None if none is.
        positions: (first step, steps of the whole piece) of each example, from a converter whose
            examples can be joined; their pieces are never split. None for other converters.
    """

    examples: list[np.ndarray]
    report: Report
    controls: list[np.ndarray] | None = None
    train_only: list[bool] | None = None
    positions: list[tuple[int, int]] | None = None

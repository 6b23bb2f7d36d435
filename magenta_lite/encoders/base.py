"""What every encoder gives back: examples, their format, and what was left out and why."""

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


@dataclasses.dataclass(frozen=True)
class EventFormat:
    """What the numbers of an encoder's examples mean to a model; plain values only.

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
        input_bits: For `categorical` of 2 ** n classes, each a set of n members: the encoder
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

    def __post_init__(self):
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
        examples: Arrays of the encoder's `EventFormat`: (T, *event_shape), event_dtype.
        report: What was left out and why.
        controls: For the control `chords`, the chord class of each step of each example, uint8
            (T,); None otherwise.
        train_only: Whether each example must not be held out, being another form of one that may;
            None for no.
        positions: (first step, steps of the whole piece) of each example, from an encoder whose
            examples are put together again; such a piece is kept whole. None for any other.
    """

    examples: list[np.ndarray]
    report: Report
    controls: list[np.ndarray] | None = None
    train_only: list[bool] | None = None
    positions: list[tuple[int, int]] | None = None

"""What all converters share: grid, transposition, and writing their settings down."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from magenta_lite.converters.base import EncodeResult, EventFormat
from magenta_lite.converters.chords import transpose_chords
from magenta_lite.converters.grid import QUARTERS_PER_BAR
from magenta_lite.errors import UserError
from magenta_lite.typing import Events, NoteSequence

EXAMPLE = "{example}"
LOWEST = -127  # semitones: every example ends up at the bottom of its range


class Converter:
    """Notes to numbers and back.

    Subclasses give `event_format`, `window_steps`, `encode` and `decode`.

    Attributes:
        config: The converter section.
        default_programs: General MIDI programs that `decode` gives its melodic parts.
        pitch_ids: (part, lowest id, highest id) of ids that are pitches; they move together
            under transposition.
        fixed_segment_id: Segments that begin with this id, drum tracks, do not move under
            transposition; None without.
        pitch_ranges: Lowest and highest id of each of `pitch_ids` that can be played; None for all.
        crop: Steps of a training example that is a part of what is stored; 0 for all of it.
        crop_grid: Crops begin at multiples of so many steps.
        crop_prefix: So many steps at the front of what is stored begin every crop of it.
        folds_pitches: Pitches that leave their range under transposition move by octaves.
        rejects_transpositions: A transposition that would leave the range is not drawn, instead of
            moving by less.
    """

    config_class: ClassVar[type]
    default_programs: ClassVar[tuple[int, ...]] = ()
    fixed_segment_id: int | None = None
    pitch_ranges: Any = None
    crop: Any = 0
    crop_grid: int = 1
    crop_prefix: int = 0
    folds_pitches: bool = False
    rejects_transpositions: bool = False
    # Whether there are `text_of` and `contour`.
    writes_text: ClassVar[bool] = False
    has_contours: ClassVar[bool] = False

    def __init__(self, config: Any):
        self.config = config

    @property
    def event_format(self) -> EventFormat:
        """What the numbers of an example mean."""
        raise NotImplementedError

    @property
    def generate_flags(self) -> tuple[str, ...]:
        """What `generate` must be told of a model of such music, beside its run.

        `EXAMPLE` in it stands for the path of a file of such music.
        """
        needed = {"chords": ("--chords=C Am F G",), "hits": (f"--input={EXAMPLE}",)}
        return needed.get(self.event_format.control, ())

    @property
    def window_steps(self) -> int:
        """Steps T of an example."""
        raise NotImplementedError

    @property
    def pitch_ids(self) -> tuple[tuple[int, int, int], ...]:
        """See the class."""
        return ()

    @property
    def steps_per_bar(self) -> int:
        """Steps of a 4/4 bar."""
        return QUARTERS_PER_BAR * self.config.steps_per_quarter

    def encode(self, sequence: NoteSequence) -> EncodeResult:
        """Returns the examples of a NoteSequence that is not quantised, and a report."""
        raise NotImplementedError

    def decode(
        self, events: Events, qpm: float = 120.0, programs: tuple[int, ...] | None = None
    ) -> NoteSequence:
        """Returns the NoteSequence that `events` describe.

        Args:
            events: (T, *event_shape), values as `event_format` says.
            qpm: Quarter notes a minute.
            programs: General MIDI programs of the melodic parts; None for `default_programs`.
        """
        raise NotImplementedError

    def for_inference(self, unmarked_drums: bool = True) -> Converter:
        """Returns the converter for music of a user, of which more is read than in training.

        Args:
            unmarked_drums: Read the notes of a file that marks none as drums as drums.
        """
        del unmarked_drums
        return self

    def text_of(self, sequence: NoteSequence) -> str:
        """Returns the ids of a NoteSequence as text, where `writes_text`."""
        raise NotImplementedError

    def contour(self, events: Any) -> Any:
        """Returns what is alike in examples, or NoteSequences, that are, where `has_contours`."""
        raise NotImplementedError

    def check_programs(self, programs: tuple[int, ...]) -> None:
        """Raises: UserError if these are no General MIDI programs for `decode`; none are always."""
        self._programs(programs or None)

    def _programs(self, programs: tuple[int, ...] | None) -> tuple[int, ...]:
        """Returns `programs` checked, or the defaults."""
        if programs is None:
            return self.default_programs
        if len(programs) != len(self.default_programs):
            raise UserError(
                f"programs {list(programs)} must be {len(self.default_programs)}, one for each "
                f"melodic part; the defaults are {list(self.default_programs)}"
            )
        if not all(0 <= program <= 127 for program in programs):
            raise UserError(f"programs {list(programs)} must be General MIDI programs, 0 to 127")
        return tuple(programs)

    # Transposition -------------------------------------------------------------------------

    def possible_shift(self, events: Events, semitones: int) -> int:
        """Returns `semitones`, reduced until all notes of `events` fit; 0 without notes."""
        lowest, highest = None, None
        for ids, (_, low, high), moves in self._pitch_columns(np.asarray(events)):
            if moves.any():
                down, up = low - int(ids[moves].min()), high - int(ids[moves].max())
                lowest = down if lowest is None else max(lowest, down)
                highest = up if highest is None else min(highest, up)
        return 0 if lowest is None else int(np.clip(semitones, lowest, highest))

    def transpose(self, events: Events, semitones: int) -> np.ndarray:
        """Returns `events` with every note moved by `possible_shift` semitones.

        The shift is reduced until all notes fit, so that the rhythm stays whole. (The original
        drops the notes that leave the range.)
        """
        events = np.asarray(events)
        moved = events.copy()
        shift = self.possible_shift(events, semitones)
        # Read from `events`, written to `moved`: ids that moved from one range into the next
        # must not move twice.
        targets = (ids for ids, _, _ in self._pitch_columns(moved))
        for target, (ids, _, moves) in zip(targets, self._pitch_columns(events), strict=True):
            target[moves] = ids[moves].astype(int) + shift
        return moved

    def transposition_key(self, events: Events, controls: Events | None = None) -> bytes:
        """Returns what an example and all its transpositions have in common.

        Args:
            events: (T, *event_shape).
            controls: Chord classes uint8 (T,), which move with the notes; None without.
        """
        key = self.transpose(events, LOWEST).tobytes()
        if controls is None:
            return key
        return key + transpose_chords(controls, self.possible_shift(events, LOWEST)).tobytes()

    def _pitch_columns(self, events: np.ndarray):
        """Yields (ids of the part, entry of `pitch_ids`, which ids move) for each entry."""
        parts = events if events.ndim == 2 else events[:, None]  # a view (T, P)
        movable = self._movable(events)
        for part, low, high in self.pitch_ids:
            ids = parts[:, part]
            yield ids, (part, low, high), movable & (ids >= low) & (ids <= high)

    def _movable(self, events: np.ndarray) -> np.ndarray:
        """Returns at which steps ids of a pitch's range are pitches, bool (T,)."""
        return np.ones(len(events), bool)

    # As text -------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Returns the converter's settings as plain values."""
        return {"kind": self.config.kind, **dataclasses.asdict(self.config)}

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Converter:
        """Returns the converter that `to_json` described."""
        values = {key: value for key, value in tree.items() if key != "kind"}
        return cls(cls.config_class(**values))


def check_at_least(config: Any, lowest: float, *names: str) -> None:
    """Raises: UserError if one of the fields `names` of a converter section is below `lowest`."""
    for name in names:
        value = getattr(config, name)
        if not value >= lowest:
            raise UserError(f"converter.{name}={value} must be at least {lowest}")

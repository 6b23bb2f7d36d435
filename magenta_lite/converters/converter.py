"""The base class of converters: interface, transposition and serialization."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from magenta_lite.converters.base import EncodeResult, EventFormat, Reason
from magenta_lite.converters.chords import transpose_chords
from magenta_lite.converters.contours import contour
from magenta_lite.converters.grid import QUARTERS_PER_BAR
from magenta_lite.errors import UserError
from magenta_lite.typing import Events, Music, NoteSequence

EXAMPLE = "{example}"
FAR = 2**31  # beyond every id
LOWEST = -127  # semitones; moves every example to the bottom of its range


class Converter:
    """Converts music to arrays and back.

    Subclasses define `event_format`, `encode` and `decode`, and those without bars `window_steps`.

    Attributes:
        config: The converter section.
        default_programs: Default General MIDI programs of the melodic parts, for `decode`.
        pitch_ids: (part, lowest id, highest id) of the ids that are pitches, which are transposed.
        fixed_segment_id: First id of segments that are not transposed (drum tracks); None without.
        pitch_ranges: Lowest and highest playable id of each of `pitch_ids`; None for all.
        crop: Length of a training example that is cropped from a stored row, in steps; 0 for whole
            rows.
        crop_grid: Crops begin at multiples of this number of steps.
        crop_prefix: Number of steps at the beginning of a stored row that precede each crop.
        folds_pitches: Whether pitches out of range after transposition are folded by octaves.
        rearranges: Whether `rearranged` changes examples.
        rejects_transpositions: Whether transpositions that leave the range are rejected instead of
            reduced.
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
    rearranges: Any = False
    # Whether `text_of` is implemented.
    writes_text: ClassVar[bool] = False

    def __init__(self, config: Any):
        self.config = config

    @property
    def event_format(self) -> EventFormat:
        """Format of the examples."""
        raise NotImplementedError

    @property
    def generate_flags(self) -> tuple[str, ...]:
        """Flags that `generate` requires for a model of this music, in addition to its run.

        `EXAMPLE` is a placeholder for the path of a music file.
        """
        return ("--chords=C Am F G",) if self.event_format.control == "chords" else ()

    @property
    def window_steps(self) -> int:
        """Length T of an example in steps; by default that of the config's bars."""
        return self.config.bars * self.steps_per_bar

    @property
    def pitch_ids(self) -> tuple[tuple[int, int, int], ...]:
        """(part, lowest id, highest id) of the ids that are pitches."""
        return ()

    @property
    def steps_per_bar(self) -> int:
        """Length of a 4/4 bar in steps."""
        return QUARTERS_PER_BAR * self.config.steps_per_quarter

    def encode(self, music: Music) -> EncodeResult:
        """Returns the examples of an unquantized piece, and a report of dropped items."""
        raise NotImplementedError

    def decode(
        self, events: Events, qpm: float = 120.0, programs: tuple[int, ...] | None = None
    ) -> NoteSequence:
        """Returns the NoteSequence of `events`.

        Args:
            events: Array (T, *event_shape) of `event_format`.
            qpm: Quarter notes a minute; the times of performances do not depend on it.
            programs: General MIDI programs of the melodic parts; None for `default_programs`.

        Raises:
            ValueError: If an id is out of range.
        """
        raise NotImplementedError

    def for_inference(self, pitch_map: str = "reduced", unmarked_drums: bool = True) -> Converter:
        """Returns the converter for input of generation, which accepts more than that of training.

        For grooves, `pitch_map` is that of inputs, and `unmarked_drums` reads all notes of a file
        without drum notes as drums.
        """
        del pitch_map, unmarked_drums
        return self

    def text_of(self, sequence: NoteSequence) -> str:
        """Returns the ids of a NoteSequence as text, if `writes_text`."""
        raise NotImplementedError

    def contour(self, music: Any) -> np.ndarray:
        """Returns the contour, int (N,), of an example (T, ...) or of a NoteSequence."""
        return contour(music if hasattr(music, "notes") else self.decode(music))

    def check_programs(self, programs: tuple[int, ...]) -> None:
        """Raises: UserError if `programs` are not valid for `decode`; an empty tuple is valid."""
        self._programs(programs or None)

    def _programs(self, programs: tuple[int, ...] | None) -> tuple[int, ...]:
        """Returns the validated `programs`, or the defaults."""
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
        """Returns `semitones` reduced so that all notes of `events` fit; 0 without notes."""
        return int(self._transposed(np.asarray(events)[None], semitones)[1][0])

    def transpose(self, events: Events, semitones: int) -> np.ndarray:
        """Returns `events` transposed by `possible_shift` semitones.

        The shift is reduced so that all notes fit and the rhythm is preserved. (The original drops
        notes that leave the range.)
        """
        return self._transposed(np.asarray(events)[None], semitones)[0][0]

    def transposition_key(self, events: Events, controls: Events | None = None) -> bytes:
        """Returns a key that an example shares with all its transpositions.

        Args:
            events: (T, *event_shape).
            controls: Chord classes uint8 (T,), transposed with the notes; None without chords.
        """
        chords = None if controls is None else [np.asarray(controls)]
        return self.transposition_keys([np.asarray(events)], chords)[0]

    def transposition_keys(
        self, examples: Sequence[np.ndarray], controls: Sequence[np.ndarray] | None = None
    ) -> list[bytes]:
        """Returns the `transposition_key` of each example of a piece."""
        keys, dtype = [b""] * len(examples), self.event_format.event_dtype
        lengths = np.array([len(events) for events in examples])
        for length in set(lengths.tolist()):
            index = np.flatnonzero(lengths == length).tolist()
            events = np.stack([examples[i] for i in index])
            moved, shifts = self._transposed(events.astype(dtype, copy=False), LOWEST)
            for i, own in zip(index, moved, strict=True):
                keys[i] = own.tobytes()
            if controls is None:
                continue
            chords = transpose_chords(np.stack([controls[i] for i in index]), shifts[:, None])
            for i, own in zip(index, chords, strict=True):
                keys[i] += own.tobytes()
        return keys

    def _transposed(self, examples: np.ndarray, semitones: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns examples (N, T, *event_shape) transposed, and the shift of each, int (N,)."""
        if not self.pitch_ids:
            return examples, np.zeros(len(examples), int)
        # Reads `parts` and writes `moved`, so that ids that enter another range do not move twice.
        parts = examples.astype(int).reshape(*examples.shape[:2], -1)  # (N, T, P)
        movable = self._movable(examples)
        moves = [
            movable & (parts[..., part] >= low) & (parts[..., part] <= high)
            for part, low, high in self.pitch_ids
        ]
        columns = list(zip(self.pitch_ids, moves, strict=True))
        shifts = np.full(len(examples), semitones)
        for (part, low, _), mask in columns:
            lowest = parts[..., part].min(axis=1, initial=FAR, where=mask)
            shifts = np.maximum(shifts, low - lowest)
        for (part, _, high), mask in columns:
            highest = parts[..., part].max(axis=1, initial=-FAR, where=mask)
            shifts = np.minimum(shifts, high - highest)
        shifts[~np.any(moves, axis=(0, 2))] = 0  # without notes
        moved = parts.copy()
        for (part, _, _), mask in columns:
            moved[..., part] = np.where(mask, parts[..., part] + shifts[:, None], moved[..., part])
        return moved.astype(examples.dtype).reshape(examples.shape), shifts

    def _movable(self, examples: np.ndarray) -> np.ndarray:
        """Returns the mask bool (N, T) of the steps of examples that can be transposed."""
        return np.ones(examples.shape[:2], bool)

    def rearranged(self, events: Events, rng: np.random.Generator) -> Events:
        """Returns a crop (T, *event_shape) as training reads it, of at most `crop` steps.

        `rng` makes random choices.
        """
        del rng
        return events

    # Serialization -------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Returns the converter's settings as plain values."""
        return {"kind": self.config.kind, **dataclasses.asdict(self.config)}

    @classmethod
    def from_json(cls, tree: dict[str, Any]) -> Converter:
        """Returns the converter of the result of `to_json`."""
        values = {key: value for key, value in tree.items() if key != "kind"}
        return cls(cls.config_class(**values))


class SoundConverter(Converter):
    """Converts audio, or the codes of audio."""

    @property
    def sample_rate(self) -> int:
        """Sample rate of the audio in Hz."""
        return self.config.sample_rate

    @property
    def channels(self) -> int:
        """Channels of the audio; 1 for mono."""
        return self.config.channels


def too_short(text: str) -> Reason:
    """Returns the reason to drop music that `converter.pad_edges` keeps."""
    return Reason.with_setting(text, "--set converter.pad_edges=true pads short music with silence")


def checked_ids(ids: Iterable[Any], size: int) -> list[int]:
    """Returns `ids` as a list. Raises: ValueError if an id is out of range."""
    ids = [int(id) for id in ids]
    if ids and not 0 <= min(ids) <= max(ids) < size:
        raise ValueError(f"Event ids must lie in [0, {size}): {ids}")
    return ids


def check_pitch_range(config: Any) -> None:
    """Raises: UserError if `min_pitch` and `max_pitch` of a converter section are no range."""
    if not 0 <= config.min_pitch <= config.max_pitch <= 127:
        raise UserError(
            f"converter.min_pitch={config.min_pitch} and max_pitch={config.max_pitch} must be MIDI "
            "pitches, 0 to 127, the lower first"
        )


def check_at_least(config: Any, lowest: float, *names: str) -> None:
    """Raises: UserError if a field in `names` of a converter section is below `lowest`."""
    for name in names:
        value = getattr(config, name)
        if not value >= lowest:
            raise UserError(f"converter.{name}={value} must be at least {lowest}")

"""Chords as 49 classes: no chord, or a root with one of four triads."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from magenta_lite.converters.base import EncodeResult, Report
from magenta_lite.converters.chord_inference import infer
from magenta_lite.converters.chord_symbols import NO_CHORD_SYMBOL, canonical_text
from magenta_lite.converters.grid import QUARTERS_PER_BAR, Stretch, to_step
from magenta_lite.errors import UserError
from magenta_lite.typing import Music

NO_CHORD = 0
ROOTS = 12
TRIADS = ("major", "minor", "augmented", "diminished")  # 12 classes each, C to B, from 1 up
CHORDS_PER_BAR = 2  # for chords that are inferred from the notes
CHORDS_PER_2_2_BAR = 1
TRIAD_PITCHES = ({0, 4, 7}, {0, 3, 7}, {0, 4, 8}, {0, 3, 6})  # semitones above the root
EXAMPLES = "C, Am, F#m7, Bb/D, Gsus4, Bdim, or N.C. for none"
SEPARATORS = re.compile(r"[|\s]+|,(?![^()]*\))")  # no commas within parentheses


class UnusableChords(Exception):
    """Raised for chords that are not among the 49 classes.

    Attributes:
        reason: Reason for a report.
        symbol: The chord symbol, if there is one.
    """

    def __init__(self, reason: str, symbol: str = ""):
        super().__init__(f"{symbol!r} is a {reason}" if symbol else reason)
        self.reason = reason
        self.symbol = symbol

    def as_result(self) -> EncodeResult:
        """Returns an `EncodeResult` without examples, with the reason in its report."""
        report = Report()
        report.drop(self.reason, self.symbol)
        return EncodeResult([], report)


@functools.lru_cache(maxsize=4096)
def canonical(symbol: str) -> str:
    """Returns a chord symbol in the spelling of note_seq: `Cmaj7` for `CΔ7`.

    Symbols that note_seq can read stay unchanged.

    Raises:
        UnusableChords: If it cannot be read.
    """
    from note_seq import chord_symbols_lib

    if symbol == NO_CHORD_SYMBOL:
        return symbol
    for text in (symbol, canonical_text(symbol)):
        if text == NO_CHORD_SYMBOL:
            return text
        try:
            chord_symbols_lib.chord_symbol_pitches(text)
            return text
        except chord_symbols_lib.ChordSymbolError as error:
            cause = error
    raise UnusableChords("chord symbol that cannot be read", symbol) from cause


def chord_class(symbol: str) -> int:
    """Returns the class of a chord symbol such as `Am7`, `F#dim`, `Bb/D` or `N.C.`.

    Only root and triad count; bass, sevenths and extensions are ignored.

    Raises:
        UnusableChords: If it cannot be read, or has none of the four triads, like `Csus4`.
    """
    root_and_triad = _root_and_triad(symbol)
    if root_and_triad is None:
        return NO_CHORD
    root, triad = root_and_triad
    return 1 + triad * ROOTS + root


@functools.lru_cache(maxsize=4096)
def _root_and_triad(symbol: str) -> tuple[int, int] | None:
    from note_seq import chord_symbols_lib

    if (symbol := canonical(symbol)) == NO_CHORD_SYMBOL:
        return None
    triads = {
        chord_symbols_lib.CHORD_QUALITY_MAJOR: 0,
        chord_symbols_lib.CHORD_QUALITY_MINOR: 1,
        chord_symbols_lib.CHORD_QUALITY_AUGMENTED: 2,
        chord_symbols_lib.CHORD_QUALITY_DIMINISHED: 3,
    }
    root = chord_symbols_lib.chord_symbol_root(symbol)
    triad = triads.get(chord_symbols_lib.chord_symbol_quality(symbol))
    if triad is None:
        raise UnusableChords(f"chord that is not {', '.join(TRIADS[:-1])} or {TRIADS[-1]}", symbol)
    return root, triad


def nearest_class(symbol: str) -> int:
    """Returns the class of a chord symbol, or that of the triad with the most common pitches.

    Ties go to major: `Csus4` and `C5` are C.

    Raises:
        UnusableChords: If it cannot be read.
    """
    try:
        return chord_class(symbol)
    except UnusableChords:
        from note_seq import chord_symbols_lib

        symbol = canonical(symbol)
        root = chord_symbols_lib.chord_symbol_root(symbol)
        pitches = {(p - root) % ROOTS for p in chord_symbols_lib.chord_symbol_pitches(symbol)}
        shared = [len(pitches & triad) - len(pitches ^ triad) for triad in TRIAD_PITCHES]
        return 1 + shared.index(max(shared)) * ROOTS + root


def typed_symbols(text: str, flag: str = "chords") -> list[str]:
    """Returns the chord symbols that a user typed, in the spelling of `canonical`.

    Roots may be lower-case letters: `am` is A minor, `b` is B, `bb` is B flat.

    Args:
        text: Symbols separated by spaces, commas or bar lines, e.g. "C g7 | Am, F♯m".
        flag: Name of the flag, for error messages.

    Raises:
        UserError: If a symbol cannot be read, or there are none; names the symbol and the flag.
    """
    symbols = []
    for number, word in enumerate(SEPARATORS.sub(" ", text).split(), start=1):
        try:
            symbols.append(canonical(word[0].upper() + word[1:]))
        except UnusableChords as error:
            raise UserError(
                f"--{flag}: chord {number}, '{word}', cannot be read; write chords like {EXAMPLES}"
            ) from error
    if not symbols:
        raise UserError(f"--{flag}='{text}' has no chords; write some, e.g. --{flag}='C G Am F'")
    return symbols


def parse_chords(text: str, steps: int) -> np.ndarray:
    """Returns the chords that a user typed, spread evenly over `steps`: uint8 (steps,).

    Raises:
        UserError: If a symbol is unknown, or there are no symbols, or more symbols than steps.
    """
    classes = [nearest_class(symbol) for symbol in typed_symbols(text)]
    if len(classes) > steps:
        raise UserError(f"--chords='{text}' has {len(classes)} chords for {steps} steps of music")
    return np.array(classes, np.uint8)[np.arange(steps) * len(classes) // steps]


def transpose_chords(controls: Any, semitones: Any) -> np.ndarray:
    """Returns chord classes (..., T) transposed by `semitones` (broadcast); `NO_CHORD` stays."""
    classes = np.asarray(controls)
    triads, roots = np.divmod(classes.astype(int) - 1, ROOTS)
    moved = 1 + triads * ROOTS + (roots + semitones) % ROOTS
    return np.where(classes == NO_CHORD, NO_CHORD, moved).astype(classes.dtype)


class ChordLine:
    """The chords of a stretch, by the steps at which they begin; each lasts until the next one."""

    def __init__(self, chords: dict[int, int]):
        self._starts = np.array(sorted(chords), int)
        # The first entry is for the steps before the first chord.
        self._classes = np.array([NO_CHORD, *(chords[s] for s in sorted(chords))], np.uint8)

    def at(self, steps: Any) -> np.ndarray:
        """Returns the chord class uint8 (N,) at each of `steps` (N,)."""
        return self._classes[np.searchsorted(self._starts, np.asarray(steps), side="right")]


def chord_line(
    stretch: Stretch, steps_per_quarter: int, classify: Callable[[str], int] = chord_class
) -> ChordLine:
    """Returns the chords of a stretch, inferred from the notes if it has no chord symbols.

    `classify` maps a chord symbol to its class, 0 to 255.

    Raises:
        UnusableChords: If a chord has no class, or chords cannot be inferred.
    """
    symbols = chord_symbols(stretch.score) or _inferred_symbols(stretch, steps_per_quarter)
    steps_per_second = stretch.steps_per_second(steps_per_quarter)
    return ChordLine({to_step(time, steps_per_second): classify(text) for time, text in symbols})


def chord_symbols(music: Music) -> list[tuple[float, str]]:
    """Returns pairs of a time in seconds and a chord symbol, in order of time.

    Raises:
        UnusableChords: If a time is not a number from 0 up.
    """
    from note_seq.protobuf import music_pb2

    symbol = music_pb2.NoteSequence.TextAnnotation.CHORD_SYMBOL
    annotations = [a for a in music.text_annotations if a.annotation_type == symbol]
    if not all(0 <= a.time < np.inf for a in annotations):
        raise UnusableChords("chord symbol at an impossible time")
    return sorted(((a.time, a.text) for a in annotations), key=lambda pair: pair[0])


def _inferred_symbols(stretch: Stretch, steps_per_quarter: int) -> list[tuple[float, str]]:
    if stretch.steps_per_bar(1) != QUARTERS_PER_BAR:
        raise UnusableChords("music without chord symbols that is not in 4/4")
    per_bar = CHORDS_PER_2_2_BAR if stretch.denominator == 2 else CHORDS_PER_BAR
    steps = QUARTERS_PER_BAR * steps_per_quarter // per_bar
    seconds = steps / stretch.steps_per_second(steps_per_quarter)
    try:
        symbols = infer(stretch.notes, seconds)
    except ValueError as error:
        raise UnusableChords(str(error)) from error
    step = 60 / (stretch.qpm * steps_per_quarter)
    return [
        (frame * steps * step, symbol)
        for frame, (before, symbol) in enumerate(itertools.pairwise(["", *symbols]))
        if symbol != before
    ]

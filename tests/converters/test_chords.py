"""Chord classes, their names and their transposition."""

import numpy as np
import pytest

from magenta_lite.converters.base import CHORD_CLASSES
from magenta_lite.converters.chords import (
    TRIADS,
    ChordLine,
    UnusableChords,
    chord_class,
    nearest_class,
    parse_chords,
    transpose_chords,
    typed_symbols,
)
from magenta_lite.errors import UserError


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("N.C.", 0),
        ("C", 1),
        ("C#", 2),
        ("Db", 2),
        ("B", 12),
        ("Cm", 13),
        ("Bm", 24),
        ("Caug", 25),
        ("Baug", 36),
        ("Cdim", 37),
        ("Bdim", 48),
        ("Am7", 22),
        ("G7", 8),
        ("Bb/D", 11),
        ("F#m7b5", 43),
        ("NC", 0),
        ("F♯m", 19),
        ("B♭", 11),
        ("CΔ7", 1),
        ("C-7", 13),
        ("C°", 37),
        ("Cø", 37),
        ("C+", 25),
        ("C6/9", 1),
        ("C7(b9,#11)", 1),
        ("CMI7/G", 13),
    ],
)
def test_class_of_a_symbol(symbol, expected):
    assert chord_class(symbol) == expected


@pytest.mark.parametrize("symbol", ["Csus4", "C5", "what", "''", "f", "H", "D.C."])
def test_a_symbol_without_a_class_is_named(symbol):
    with pytest.raises(UnusableChords, match=symbol):
        chord_class(symbol)


def test_the_classes_are_none_and_twelve_of_each_triad():
    assert 1 + 12 * len(TRIADS) == CHORD_CLASSES


def test_text_is_spread_evenly():
    chords = parse_chords("C G | Am, F", 32)
    assert chords.dtype == np.uint8
    assert chords.tolist() == [1] * 8 + [8] * 8 + [22] * 8 + [6] * 8
    assert parse_chords("C G Am", 4).tolist() == [1, 1, 8, 22]
    assert parse_chords("N.C.", 2).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("C Xy F", "--chords: chord 2, 'Xy', cannot be read; write chords like C, Am"),
        ("C | sus4", "chord 2, 'sus4'"),
        (" | ", "has no chords; write some"),
        ("C F G", "has 3 chords for 2 steps"),
    ],
)
def test_text_that_is_no_chords_is_refused_by_name(text, named):
    with pytest.raises(UserError, match=named):
        parse_chords(text, 2)


@pytest.mark.parametrize(
    ("typed", "symbol", "expected"),
    [
        ("am", "Am", 22),
        ("c", "C", 1),
        ("b", "B", 12),
        ("bb", "Bb", 11),
        ("bb7", "Bb7", 11),
        ("dm", "Dm", 15),
        ("f#m/c#", "F#m/C#", 19),
        ("nc", "N.C.", 0),
        ("csus4", "Csus4", 1),
        ("Am7sus4", "A", None),
        ("Gsus2", "Gsus2", 8),
        ("A5", "A5", 10),
        ("D7sus4", "D7sus", 3),
        ("C(add9)", "C(add9)", 1),
        ("Emi7", "Em7", 17),
        ("C^7", "Cmaj7", 1),
        ("CM7", "CM7", 1),
        ("C7alt", "C7#5#9", 25),
    ],
)
def test_typed_chords_are_read_as_musicians_write_them(typed, symbol, expected):
    if expected is None:
        with pytest.raises(UserError, match=typed):
            typed_symbols(typed)
        return
    assert typed_symbols(f"{typed},{typed} | N.C.") == [symbol, symbol, "N.C."]
    assert nearest_class(symbol) == expected


def test_commas_within_parentheses_part_no_chords():
    assert typed_symbols("C7(b9,#11), F") == ["C7(b9)(#11)", "F"]


def test_transposition_keeps_the_triad_and_no_chord():
    every = np.arange(CHORD_CLASSES, dtype=np.uint8)
    moved = transpose_chords(every, 5)
    assert moved.dtype == np.uint8
    assert moved[[0, 1, 8, 12, 13, 24, 48]].tolist() == [0, 6, 1, 5, 18, 17, 41]
    np.testing.assert_array_equal(transpose_chords(moved, -5), every)
    np.testing.assert_array_equal(transpose_chords(every, -12), every)


def test_a_chord_holds_until_the_next():
    line = ChordLine({8: 3, 4: 22})
    assert line.at(range(10)).tolist() == [0] * 4 + [22] * 4 + [3] * 2
    assert ChordLine({}).at([0, 99]).tolist() == [0, 0]

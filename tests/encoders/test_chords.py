"""Chord classes, their names and their transposition."""

import numpy as np
import pytest

from magenta_lite.encoders.base import CHORD_CLASSES
from magenta_lite.encoders.chords import (
    TRIADS,
    ChordLine,
    UnusableChords,
    chord_class,
    parse_chords,
    transpose_chords,
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
    ],
)
def test_class_of_a_symbol(symbol, expected):
    assert chord_class(symbol) == expected


@pytest.mark.parametrize("symbol", ["Csus4", "C5", "what", "''"])
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
    ("text", "named"), [("C Xy F", "Xy"), ("C Gsus4", "Gsus4"), (" | ", "0 chords"), ("C F G", "3")]
)
def test_text_that_is_no_chords_is_refused_by_name(text, named):
    with pytest.raises(UserError, match=named):
        parse_chords(text, 2)


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

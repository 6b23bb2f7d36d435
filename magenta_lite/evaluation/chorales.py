"""Rules of four-part writing that chorales keep or break, in samples beside held-out chorales."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np

from magenta_lite.converters.chorale import FIRST_PITCH, REST, VOICES
from magenta_lite.modeling.examples import Examples, spread

COUNTED = 64  # held-out rows
SAMPLES, TOKENS = 16, 512
# Lowest and highest MIDI pitches of soprano, alto, tenor and bass in a choir.
RANGES = ((60, 81), (53, 76), (46, 69), (38, 64))
UNISON, FIFTH = 0, 7  # semitones, octaves aside

_OF = {
    "parallel_fifths": "share of two voices' common moves that are parallel fifths",
    "parallel_octaves": "the same for octaves and unisons",
    "crossings": "share of steps and neighbouring voices at which the lower one is above",
    "out_of_range": "share of sounding steps outside the range of a choir's voice",
}
MEANINGS = {f"{name}_of_samples": f"{text}, in samples" for name, text in _OF.items()}
MEANINGS |= {f"{name}_of_music": "the same in the held-out music" for name in _OF}


def compared(run: Any, held_out: Examples, seed: int) -> dict[str, float]:
    """Returns the numbers that `MEANINGS` explains, for a model of chorales."""
    converter = run.converter
    drawn = run.generate(num_outputs=SAMPLES, num_tokens=TOKENS, seed=seed)
    rows = spread(len(held_out), COUNTED)
    ids = {
        "samples": [np.array(converter.ids_of(piece)) for piece in drawn],
        "music": [held_out.events[row][: held_out.lengths[row]] for row in rows],
    }
    lowest = converter.config.min_pitch
    found = {name: counted(grid(row, lowest) for row in all_rows) for name, all_rows in ids.items()}
    return {f"{rule}_of_{name}": found[name][rule] for rule in _OF for name in found}


def grid(ids: np.ndarray, lowest: int) -> np.ndarray:
    """Returns the pitches int (T, 4) of ids (4 T,), `REST` for rests."""
    whole = np.asarray(ids, int)[: len(ids) // VOICES * VOICES].reshape(-1, VOICES)
    return np.where(whole >= FIRST_PITCH, whole - FIRST_PITCH + lowest, REST)


def counted(grids: Iterable[np.ndarray]) -> dict[str, float]:
    """Returns the share of each kind of broken rule in pieces of pitches (T, 4)."""
    broken, chances = dict.fromkeys(_OF, 0), dict.fromkeys(_OF, 0)

    def add(rule: str, where: np.ndarray, among: np.ndarray) -> None:
        broken[rule] += int((where & among).sum())
        chances[rule] += int(among.sum())

    for piece in grids:
        sounds = piece != REST
        for upper, lower in itertools.combinations(range(VOICES), 2):
            both = sounds[:, upper] & sounds[:, lower]
            interval = (piece[:, upper] - piece[:, lower]) % 12
            moves = np.diff(piece[:, [upper, lower]], axis=0)
            move = both[1:] & both[:-1] & (moves != 0).all(axis=1)
            parallel = (interval[1:] == interval[:-1]) & (moves[:, 0] * moves[:, 1] > 0)
            add("parallel_fifths", parallel & (interval[1:] == FIFTH), move)
            add("parallel_octaves", parallel & (interval[1:] == UNISON), move)
            if lower == upper + 1:
                add("crossings", piece[:, lower] > piece[:, upper], both)
        for voice, (low, high) in enumerate(RANGES):
            outside = (piece[:, voice] < low) | (piece[:, voice] > high)
            add("out_of_range", outside, sounds[:, voice])
    return {rule: broken[rule] / max(chances[rule], 1) for rule in _OF}

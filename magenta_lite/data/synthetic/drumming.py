"""Generates drum parts in several styles, with fills, ornaments, accents and human timing.

All random choices are drawn from one `random.Random`, so that a seed determines the performance.
"""

from __future__ import annotations

import dataclasses
import random
from typing import NamedTuple

BAR = 16  # steps of a 4/4 bar; a step is a 16th note

KICK, SNARE, STICK = 36, 38, 37
CLOSED, PEDAL, OPEN = 42, 44, 46
LOW, MID, HIGH = 43, 47, 50
CRASH, RIDE, BELL = 49, 51, 53

HATS = (CLOSED, PEDAL, OPEN, RIDE, BELL)

# MIDI velocities of the characters in patterns; a dot means no hit.
VELOCITIES = {"-": 36, "o": 66, "x": 88, "X": 108}

SECTION = 8  # bars with the same groove

# Human deviations: standard deviation and bound of the timing in steps, standard deviation of the
# velocity.
TIMING = 0.07
TIMING_BOUND = 0.28
VELOCITY_SPREAD = 5.0


class Hit(NamedTuple):
    """A stroke: time in steps (including the deviation from the grid), MIDI pitch and velocity."""

    time: float
    pitch: int
    velocity: int


@dataclasses.dataclass(frozen=True)
class Style:
    """A style of a band. Patterns have one character per step, for one or two bars.

    Attributes:
        qpm: Lowest and highest tempo in quarter notes per minute.
        swing: Delay of every second 16th note in steps.
        kicks: Patterns of the bass drum, one of which is in a groove.
        snares: Pitches and patterns of the snare or stick.
        cymbals: Groups of pitches and patterns of hi-hat or ride, played together.
        ornaments: Pitches and patterns that may be added to a groove.
        basses: Patterns of the bass: R root, 5 fifth, 8 octave, 3 third, A approach to the next
            root, - sustained note, a dot is a rest.
    """

    qpm: tuple[int, int]
    swing: float
    kicks: tuple[str, ...]
    snares: tuple[tuple[int, str], ...]
    cymbals: tuple[tuple[tuple[int, str], ...], ...]
    ornaments: tuple[tuple[int, str], ...]
    basses: tuple[str, ...]


ROCK = Style(
    qpm=(104, 138),
    swing=0.0,
    kicks=(
        "X.......X.......",
        "X.......X.x.....",
        "X.....x.X.......",
        "X.....x.X.x.....",
        "X..x....X..x....",
        "X.x.....X.......X.......X.x.....",
        "X.....x...x.....X.....x.X.......",
    ),
    snares=((SNARE, "....X.......X..."), (SNARE, "....X.......X.......X.......X.x.")),
    cymbals=(
        ((CLOSED, "x.o.x.o.x.o.x.o."),),
        ((CLOSED, "x.o.x.o.x.o.x..."), (OPEN, "..............x.")),
        ((OPEN, "x...x...x...x..."),),
        ((RIDE, "x.o.x.o.x.o.x.o."), (PEDAL, "....o.......o...")),
        ((RIDE, "x...x...x...x..."), (BELL, "..x...x...x...x.")),
        ((CLOSED, "xooox.ooxooox.oo"),),
    ),
    ornaments=(
        (SNARE, ".......-........"),
        (SNARE, ".........-......"),
        (SNARE, "..........-....-"),
        (KICK, "..............x."),
        (KICK, ".......x........"),
        (OPEN, "......x........."),
        (KICK, "...............o"),
    ),
    basses=(
        "R-R-R-R-R-R-R-A-",
        "R---R-R-R---R-A-",
        "R-----R-R-----A-",
        "R---R---5---A---",
        "R--R--R-R--R--A-",
        "R-R-8-R-R-R-8-A-",
    ),
)

BOSSA = Style(
    qpm=(116, 148),
    swing=0.0,
    kicks=("X.....o.X.....o.", "x.....X.x.....X.", "X.....o.X.......X.....o.X.....o."),
    snares=(
        (STICK, "x.....x.....x.......x.....x....."),
        (STICK, "....x.....x.....x.....x.....x..."),
        (STICK, "x.....x.....x.......x.......x..."),
        (STICK, "....x.......x..."),
    ),
    cymbals=(
        ((CLOSED, "x.o.x.o.x.o.x.o."),),
        ((RIDE, "x.o.x.o.x.o.x.o."), (PEDAL, "....x.......x...")),
        ((CLOSED, "o.x.o.x.o.x.o.x."),),
    ),
    ornaments=(
        (HIGH, "............-.-."),
        (LOW, "..............o."),
        (OPEN, "..............o."),
        (STICK, "..............-."),
    ),
    basses=("R-----5-5-----R-", "R-----5-R-----A-", "R-----R-5-----5-", "R---R-5-----5-A-"),
)

SHUFFLE = Style(
    qpm=(84, 106),
    swing=0.3,
    kicks=(
        "X.....x..x......",
        "X..x......x.....",
        "X......x..x.....",
        "X.x....x.xx.....",
        "X......x..x.....X..x...x..x.....",
    ),
    snares=(
        (SNARE, "....X.......X..."),
        (SNARE, "....X..-....X..-"),
        (SNARE, "....X..-.-..X..."),
        (SNARE, "....X....-..X.-."),
    ),
    cymbals=(
        ((CLOSED, "x.o.x.oox.o.x.o."),),
        ((CLOSED, "x.oox.o.x.oox.o."),),
        ((CLOSED, "x.o.x.o.x.o.x..."), (OPEN, "..............x.")),
        ((RIDE, "x..ox..ox..ox..o"), (PEDAL, "....o.......o...")),
    ),
    ornaments=(
        (SNARE, ".-.............."),
        (SNARE, "...........-...."),
        (KICK, ".............x.."),
        (OPEN, "..........x....."),
        (CLOSED, ".....-.......-.."),
    ),
    basses=(
        "R--R..8.R--5..A-",
        "R-.R--5-R..R--A-",
        "R--.R-8-..R-5-A-",
        "R-----.R8-R-..A-",
    ),
)

MARCH = Style(
    qpm=(100, 124),
    swing=0.0,
    kicks=("X.......X.......", "X...o...X...o...", "X.......X.......X...o...X...x..."),
    snares=(
        (SNARE, "..x...x...x...x."),
        (SNARE, "..x...x...x.x.x."),
        (SNARE, "x.--x...x.--x..."),
        (SNARE, "..x...x...x...xx..x...x.x.x.x..."),
        (SNARE, "x...x.--x...x.x."),
    ),
    cymbals=(
        ((PEDAL, "....x.......x..."),),
        ((CLOSED, "x...x...x...x..."),),
        ((CLOSED, "..x...x...x...x."), (PEDAL, "....o.......o...")),
        ((RIDE, "x...x.o.x...x.o."),),
    ),
    ornaments=(
        (SNARE, ".............--."),
        (CRASH, "........o......."),
        (KICK, "............o..."),
        (SNARE, ".....-.........."),
    ),
    basses=("R---5---R---5---", "R---5---R---A---", "R.......5.......", "R---5---R-3-5-A-"),
)

HALF_TIME = Style(
    qpm=(120, 152),
    swing=0.0,
    kicks=(
        "X.............x.",
        "X.....x.........",
        "X..x..........x.",
        "X.....x......x..",
        "X.........x.....X.....x.......x.",
    ),
    snares=((SNARE, "........X......."), (SNARE, "........X....-..")),
    cymbals=(
        ((CLOSED, "x...o...x...o..."),),
        ((CLOSED, "x.o.x.o.x.o.x.o."),),
        ((RIDE, "x...x...x...x..."), (PEDAL, "........o.......")),
        ((OPEN, "x...x...x...x..."),),
        ((RIDE, "x.o.x.o.x.o.x.o."),),
    ),
    ornaments=(
        (SNARE, "......-........."),
        (SNARE, "...............-"),
        (KICK, "..........x....."),
        (OPEN, "............x..."),
        (LOW, "..............o."),
    ),
    basses=(
        "R---------R-5-A-",
        "R-------R-----A-",
        "R-----R-----5-A-",
        "R-------5-------",
    ),
)

STYLES = {
    "rock": ROCK,
    "bossa": BOSSA,
    "shuffle": SHUFFLE,
    "march": MARCH,
    "half-time": HALF_TIME,
}

# Rhythms of a fill, a quarter note each, and sequences of drums, one per quarter note.
FILL_CELLS = ("xxxx", "x.xx", "xx.x", "x.x.", "x..x", "xxx.", "x.xx")
FILL_PATHS = (
    (SNARE, HIGH, MID, LOW),
    (SNARE, SNARE, HIGH, LOW),
    (HIGH, HIGH, MID, LOW),
    (SNARE, MID, LOW, LOW),
    (SNARE, SNARE, SNARE, SNARE),
    (SNARE, HIGH, SNARE, LOW),
)


class Drummer:
    """Generates the drum part of one piece.

    Args:
        style: Style of the piece.
        rng: Random generator for the grooves, the fills and the timing.
    """

    def __init__(self, style: Style, rng: random.Random):
        self._style = style
        self._rng = rng
        self._grooves = [self._groove() for _ in range(2)]
        self._fill_every = rng.choice((4, 8))
        # Systematic delays in steps: e.g. a late snare and an early hi-hat.
        self._lags = {KICK: 0.0, SNARE: rng.gauss(0.03, 0.03), CLOSED: rng.gauss(-0.02, 0.03)}
        self._drift = 0.0

    def play(self, bars: int, last_step: int) -> list[Hit]:
        """Returns the strokes of a piece, sorted by time.

        Grooves change every two sections (most tunes are AABB), the last bars of phrases have
        fills, and the bar after a fill starts with a crash.

        Args:
            bars: Length of the piece in bars.
            last_step: Step at which the melody's last note starts; the drums end there.
        """
        hits: list[tuple[int, int, int]] = []
        after_fill = True
        for bar in range(bars):
            groove = self._grooves[bar // (2 * SECTION) % 2]
            strokes = {
                (step, pitch): VELOCITIES[character]
                for pitch, pattern in groove
                for step, character in enumerate(_bar_of(pattern, bar))
                if character != "."
            }
            opened = {step for step, pitch in strokes if pitch == OPEN}
            strokes = {k: v for k, v in strokes.items() if k[1] != CLOSED or k[0] not in opened}
            if after_fill:
                strokes = {key: v for key, v in strokes.items() if key[0] or key[1] not in HATS}
                strokes |= {(0, CRASH): 100, (0, KICK): 108}
            after_fill = (bar + 1) % self._fill_every == 0
            if after_fill and bar + 1 < bars:
                start, fill = self._fill(long=(bar + 1) % SECTION == 0)
                strokes = {key: v for key, v in strokes.items() if key[0] < start} | fill
            hits += [(bar * BAR + step, pitch, v) for (step, pitch), v in strokes.items()]
        hits = [hit for hit in hits if hit[0] < last_step]
        hits += [(last_step, CRASH, 100), (last_step, KICK, 108)]
        return sorted(self._perform(*hit) for hit in sorted(hits))

    def _groove(self) -> list[tuple[int, str]]:
        style, rng = self._style, self._rng
        groove = [(KICK, rng.choice(style.kicks)), rng.choice(style.snares)]
        groove += rng.choice(style.cymbals)
        for pitch, pattern in style.ornaments:
            if rng.random() < 0.3:
                empty = "." * BAR
                turns = rng.choice((pattern, pattern + empty, empty + pattern))
                groove.append((pitch, turns))
        return groove

    def _fill(self, long: bool) -> tuple[int, dict[tuple[int, int], int]]:
        """Returns the first step of a fill, and its velocities by step and pitch."""
        rng = self._rng
        beats = rng.choice((2, 3, 4) if long else (1, 2))
        path = rng.choice(FILL_PATHS)[4 - beats :] if beats < 4 else rng.choice(FILL_PATHS)
        start = BAR - 4 * beats
        strokes = {}
        for beat, pitch in enumerate(path):
            for step, character in enumerate(rng.choice(FILL_CELLS)):
                at = start + 4 * beat + step
                if character == "x":
                    strokes[at, pitch] = 72 + 2 * (at - start) + (14 if step == 0 else 0)
            if rng.random() < 0.6:
                strokes[start + 4 * beat, KICK] = 88
        return start, strokes

    def _perform(self, step: int, pitch: int, velocity: int) -> Hit:
        """Returns a stroke with swing, delay, drift and random deviation."""
        rng = self._rng
        self._drift = 0.8 * self._drift + rng.gauss(0, TIMING / 2)
        limb = CLOSED if pitch in HATS else SNARE if pitch in (SNARE, STICK) else KICK
        late = self._lags[limb] + self._drift + rng.gauss(0, TIMING)
        late = min(max(late, -TIMING_BOUND), TIMING_BOUND)
        if step % BAR == 0:
            late = abs(late)  # the first beat of a bar is never early
        if step % 2:
            late = min(late + self._style.swing, 0.46)
        velocity = round(rng.gauss(velocity, VELOCITY_SPREAD))
        return Hit(step + late, pitch, min(max(velocity, 12), 127))


def _bar_of(pattern: str, bar: int) -> str:
    """Returns the steps of a one-bar or two-bar pattern for bar number `bar`."""
    start = bar * BAR % len(pattern)
    return pattern[start : start + BAR]

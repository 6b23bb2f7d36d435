"""What a run says: on terminals of any width, and in a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios

import pytest
from small_run import MadeUpCollection, small_config

from magenta_lite.config import TrainConfig, get_config
from magenta_lite.converters import build_converter
from magenta_lite.families.building import build_model
from magenta_lite.training import progress as module
from magenta_lite.training.progress import Progress, duration, fitted

WORDS = ["57% right (knowing nothing: 55%)", "loss 2.05", "something that hardly matters"]


class Terminal:
    """A pseudo-terminal."""

    def __init__(self, columns: int):
        self._ours, theirs = pty.openpty()
        self.stream = os.fdopen(theirs, "w")
        self.resize(columns)

    def resize(self, columns: int) -> None:
        size = struct.pack("HHHH", 24, columns, 0, 0)
        fcntl.ioctl(self.stream.fileno(), termios.TIOCSWINSZ, size)

    def lines(self) -> list[str]:
        """Returns what was drawn since the last call, each drawing of the bar as a line."""
        self.stream.flush()
        text = os.read(self._ours, 1 << 16).decode().replace("\x1b[K", "")
        return [line for line in re.split(r"[\r\n]+", text) if line]


class Clock:
    """Time that passes when a test says so."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def progress_of(steps: int, stream, start: int = 0, **settings) -> Progress:
    train = TrainConfig(steps=steps, batch_size=8, **settings)
    return Progress(train, start, stream, lambda measured: WORDS)


@pytest.mark.parametrize("columns", [80, 40, 25, 200])
def test_no_line_is_wider_than_the_terminal(columns, clock, monkeypatch):
    monkeypatch.setattr(module, "BAR_EVERY", 0.01)
    terminal = Terminal(columns)
    progress = progress_of(1000, terminal.stream)
    with progress:
        drawn = _drawn_at(progress, terminal, clock)
    assert max(len(line) for line in drawn) < columns
    if columns < 40:
        return
    assert any("left" in line for line in drawn)
    assert any("building the graph" in line for line in drawn)
    assert any("validation… 7 s" in line for line in drawn)
    if columns < 80:
        return
    assert any("[====" in line and "57% right" in line for line in drawn)


def _drawn_at(progress, terminal, clock) -> list[str]:
    """Returns what a bar looks like at the stages of a run."""
    drawn = []

    def look():
        terminal.stream.write(f"\r\033[K{progress._line(progress._width())}")
        drawn.extend(terminal.lines())

    look()
    clock.now = 12.0
    progress.step(1, {"loss": 3.0})
    look()
    clock.now = 13.0
    progress.step(500, {"loss": 2.0})
    look()
    progress.doing("validation")
    clock.now = 20.0
    look()
    progress.say_parts(["step 500: held-out music: 57% right (knowing nothing: 55%)", *WORDS])
    look()
    return drawn


def test_a_terminal_may_be_resized(clock):
    terminal = Terminal(120)
    progress = progress_of(1000, terminal.stream)
    progress.step(1, {"loss": 3.0})
    clock.now = 1.0
    progress.step(500, {"loss": 3.0})
    assert len(progress._line(progress._width())) > 80
    terminal.resize(60)
    assert len(progress._line(progress._width())) < 60


def test_a_pipe_gets_whole_lines_of_a_few_words(clock, tmp_path):
    with (tmp_path / "out").open("w+") as stream:
        progress = progress_of(1000, stream)
        progress.step(1, {"loss": 3.0})
        clock.now = 10.0
        progress.step(500, {"loss": 3.0})
        assert progress._line() == f"step 500/1,000  0:10 left  {'  '.join(WORDS)}"


@pytest.mark.parametrize(
    ("width", "expected"), [(None, "one, two, three"), (10, "one, two"), (7, "one"), (2, "on")]
)
def test_parts_that_do_not_fit_are_left_out(width, expected):
    assert fitted(["one", "two", "three"], width, ", ") == expected


def said_of(clock, tmp_path, steps: int, seconds: float, start: int = 0, **settings) -> list[str]:
    """Returns what was said when each of six steps took so many seconds."""
    with (tmp_path / "out").open("w+") as stream:
        progress = progress_of(steps, stream, start, **settings)
        for step in range(start + 1, start + 8):
            clock.now += seconds
            progress.step(step, {"loss": 1.0})
        stream.seek(0)
        return [line for line in stream.read().splitlines() if "At this speed" in line]


def test_a_run_of_many_hours_says_so_once_with_the_way_out(clock, tmp_path):
    (line,) = said_of(clock, tmp_path, steps=200_000, seconds=9.0)
    assert line.startswith("At this speed 200,000 steps take 21 days. ")
    assert "--minutes=30" in line
    assert "--set train.steps=" in line


def test_a_run_that_goes_on_is_not_told_of_minutes(clock, tmp_path):
    (line,) = said_of(clock, tmp_path, steps=200_000, seconds=9.0, start=100_000)
    assert "the 99,994 steps that are left take 10 days" in line
    assert "--minutes" not in line


@pytest.mark.parametrize("settings", [{"steps": 700}, {"steps": 200_000, "minutes": 300.0}])
def test_a_run_that_is_short_or_meant_to_be_long_says_nothing(clock, tmp_path, settings):
    assert not said_of(clock, tmp_path, seconds=9.0, **settings)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "1 second"), (89, "89 seconds"), (200, "3 minutes"), (7300, "2 hours"), (2e6, "23 days")],
)
def test_durations_are_told_in_words(seconds, words):
    assert duration(seconds) == words


# What knowing nothing gets -----------------------------------------------------------------


def words_of(name: str, measured: dict, *overrides: str) -> list[str]:
    config = get_config(name, overrides)
    return build_model(config, build_converter(config.converter)).in_words(measured)


def test_a_line_has_the_accuracy_beside_that_of_the_most_frequent_event():
    config = small_config()
    model = build_model(config, build_converter(config.converter))
    examples = MadeUpCollection().split("train")
    share = (examples.events == 0).mean()  # the most frequent of them, 3 of 92
    assert model.majority_accuracy(examples) == pytest.approx(share)
    words = model.in_words({"accuracy": 0.5, "loss": 99.0, "nll_per_step": 1.234}, share)
    assert words == [f"50% right (knowing nothing: {share:.0%})", "loss 1.23"]


def test_a_vqvae_is_told_in_decibels_beside_silence():
    measured = {"spectral_convergence": 0.1, "loss": 1.5, "alive_0": 0.75}
    assert words_of("vqvae_tiny", measured) == [
        "error -20.0 dB (silence: 0 dB)",
        "loss 1.5",
        "75% of codes in use",
    ]

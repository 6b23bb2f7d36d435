"""Levels of written sound, instruments by name, and the player of the system."""

import numpy as np
import pytest

from magenta_lite import playing
from magenta_lite.converters.audio import Audio
from magenta_lite.errors import UserError
from magenta_lite.instruments import program_names, program_of
from magenta_lite.loudness import CEILING, LOUDNESS, levelled, loudness

RATE = 16_000
TIME = np.arange(4 * RATE) / RATE


def stereo(samples):
    return Audio(np.repeat(samples[:, None], 2, axis=1).astype(np.float32), RATE)


SOUNDS = {
    "soft tone": 0.01 * np.sin(2 * np.pi * 440 * TIME),
    "clipped tone": 3.0 * np.sin(2 * np.pi * 440 * TIME),
    "strokes": np.exp(-40 * (TIME % 0.5)) * np.sin(2 * np.pi * 300 * TIME),
    "noise": np.random.default_rng(0).normal(0, 0.1, len(TIME)),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_sound_of_any_kind_has_one_loudness_and_does_not_clip(name):
    result = levelled(stereo(SOUNDS[name]))
    assert np.abs(result.samples).max() <= CEILING + 1e-6
    assert abs(loudness(result) - LOUDNESS) < 1.5


def test_the_limiter_keeps_a_tone_a_tone():
    samples = levelled(stereo(SOUNDS["strokes"])).samples[:, 0]
    magnitude = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    high = np.fft.rfftfreq(len(samples), 1 / RATE) > 1500
    assert (magnitude[high] ** 2).sum() < 1e-3 * (magnitude**2).sum()


def test_silence_and_moments_stay_what_they_are():
    assert not levelled(stereo(np.zeros(100))).samples.any()
    assert len(levelled(stereo(SOUNDS["noise"][:50])).samples) == 50
    assert levelled(Audio(np.zeros((0, 2), np.float32), RATE)).samples.shape == (0, 2)


@pytest.mark.parametrize(
    ("given", "program"),
    [("0", 0), ("127", 127), ("Violin", 40), ("choir", 52), ("church organ", 19), ("bagpipe", 109)],
)
def test_instruments_have_names_and_numbers(given, program):
    assert program_of(given, "--program") == program


def test_every_name_is_that_of_its_own_program():
    assert [program_of(name, "--program") for name in program_names()] == list(range(128))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("128", "0 to 127"),
        ("-1", "0 to 127"),
        ("organ", "several instruments"),
        ("violn", "Did you mean"),
        ("", "Unknown instrument"),
        ("kazoo", "Unknown instrument"),
    ],
)
def test_unknown_instruments_are_told_in_one_line(given, words):
    with pytest.raises(UserError, match=words) as caught:
        program_of(given, "--program")
    assert "\n" not in str(caught.value)


def test_files_are_played_one_after_the_other(tmp_path, monkeypatch):
    player = tmp_path / "aplay"
    player.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/heard\n[ "$2" != bad.wav ]\n')
    player.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(playing, "PLAYERS", (("no_such_player",), ("aplay", "-q")))
    assert playing.play(["a.wav", "b.wav"]) == ""
    assert (tmp_path / "heard").read_text() == "-q a.wav\n-q b.wav\n"
    assert "aplay does not play bad.wav" in playing.play(["bad.wav"])
    monkeypatch.setattr(playing, "PLAYERS", (("no_such_player",),))
    assert "open the WAV files" in playing.play(["a.wav"])

"""Windows of a long piece side by side, and what of made-up windows encodes again."""

import numpy as np
import pytest
from test_music_vae_generation import (
    BAND,
    BAR,
    DRUMS,
    GROOVE,
    MELODY,
    beat,
    scale,
    tune,
)

from magenta_lite.config import config_names, get_config
from magenta_lite.converters import build_converter
from magenta_lite.converters.base import Report
from magenta_lite.families.music_vae import generation
from magenta_lite.families.music_vae.generation import windows_side_by_side
from magenta_lite.testing.events import made_up_events


def converter_of(name):
    return build_converter(get_config(f"{name}_tiny").converter)


def test_silence_in_the_middle_stays_silence_and_what_follows_stays_in_its_place():
    converter = converter_of(MELODY)
    whole = scale(8, rest=(2, 3, 5))
    report = Report()
    windows = windows_side_by_side(converter, whole, 5, report)
    assert [window is None for window in windows] == [False, True, False, False, True]
    onsets = [np.flatnonzero(w[0] > 1).tolist() for w in windows if w]
    assert onsets == [[*range(0, 32, 4)], [*range(0, 16, 4)], [*range(0, 32, 4)]]
    assert report.dropped["no notes"] == 1
    first_silent = windows_side_by_side(converter, scale(4, rest=(0, 1, 2)), 2, report)
    assert first_silent[0] is None
    assert np.flatnonzero(first_silent[1][0] > 1).tolist() == [16, 20, 24, 28]


@pytest.mark.parametrize("name", [MELODY, DRUMS, GROOVE, BAND])
def test_a_note_a_little_before_the_bar_line_belongs_to_the_window_behind_it(name):
    converter = converter_of(name)
    music = scale(4) if name == MELODY else beat(4)
    music = tune((40, 0, 64), program=33, to=music) if name == BAND else music
    bars = generation.bars_of(converter)
    on_time = windows_side_by_side(converter, music, 4 // bars, Report())
    for note in music.notes:
        if note.start_time > 0:
            note.start_time -= 0.01
    early = windows_side_by_side(converter, music, 4 // bars, Report())
    for (expected, _), (actual, _) in zip(on_time, early, strict=True):
        if name == GROOVE:
            expected, actual = expected[:, :9], actual[:, :9]
        np.testing.assert_array_equal(actual, expected)


def test_windows_follow_the_tempo_and_pass_over_other_meters():
    converter = converter_of(MELODY)
    music = scale(4)
    music.tempos[0].qpm = 60  # what follows is 2 bars long
    music.time_signatures.add(time=0, numerator=4, denominator=4)
    music.time_signatures.add(time=4 * BAR, numerator=3, denominator=4)
    for step in range(64, 124, 4):
        tune((72, step, step + 4), to=music)
    report = Report()
    windows = windows_side_by_side(converter, music, 2, report)
    assert np.flatnonzero(windows[0][0] > 1).tolist() == [*range(0, 32, 2)]
    assert windows[1] is None
    assert report.dropped["time signature 3/4 is not 4/4"] == 1


def converters():
    """Returns the different converters of the family, by the name of a configuration."""
    found = {}
    for name in config_names():
        config = get_config(name)
        if config.family == "music_vae":
            found.setdefault(config.converter, name)
    return {name: build_converter(config) for config, name in found.items()}


CONVERTERS = converters()


@pytest.mark.parametrize("name", CONVERTERS)
def test_whatever_a_model_gives_encodes_again_if_it_has_a_note(name):
    converter = CONVERTERS[name]
    form, steps = converter.event_format, converter.window_steps
    padded = generation.with_silence(converter)
    rng = np.random.default_rng(1)
    with_notes = 0
    for events in made_up_events(form, 12, steps, seed=2):
        sparse = np.where(rng.random((steps, *[1] * (events.ndim - 1))) < 0.03, events, 0)
        for some in (events, sparse.astype(events.dtype)):
            piece = converter.decode(some)
            with_notes += bool(piece.notes)
            assert bool(padded.encode(piece).examples) == bool(piece.notes)
    assert with_notes > 12

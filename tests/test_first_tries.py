"""scripts/benchmarks/first_tries.py: how it scores what a model writes."""

import sys
from pathlib import Path

import pytest

from magenta_lite.config import config_names, get_config


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[1] / "scripts" / "benchmarks"))
        import first_tries

        yield first_tries
        sys.modules.pop("first_tries")


def test_every_small_configuration_is_there_once_with_its_other_names(script):
    known = script.tiny_configs()
    names = [*known, *(name for others in known.values() for name in others)]
    wanted = [
        name
        for name in config_names()
        if name.endswith("_tiny") and get_config(name).family in ("music_vae", "melody_rnn")
    ]
    assert sorted(names) == wanted
    assert known["cat-mel_2bar_tiny"] == ["cat-mel_2bar_small_tiny"]


def test_drones_are_no_music(script):
    assert script.Measured(1.4, 1.0, 3.0, 4.0).is_music
    assert not script.Measured(1.6, 1.0, 4.0, 4.0).is_music
    assert not script.Measured(0.5, 1.0, 1.0, 4.0).is_music

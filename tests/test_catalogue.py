"""Families in words: their names, where to begin, and the configurations of each."""

from __future__ import annotations

import subprocess
import sys

import pytest

from magenta_lite import catalogue
from magenta_lite.catalogue import PRESENTED
from magenta_lite.config import config_names, get_config
from magenta_lite.families import FAMILIES


def presented_with(family) -> set[str]:
    return {f.name for f in FAMILIES.values() if family.name in (f.name, f.belongs_to)}


def test_every_configuration_is_of_one_family_and_has_words():
    for name in config_names():
        config = get_config(name)
        assert config.family in FAMILIES, name
        assert catalogue.about(config)


def test_a_listing_names_every_configuration_of_its_family_but_for_small_twins():
    for family in PRESENTED:
        text = catalogue.listing(family)
        assert max(map(len, text.splitlines())) <= 80
        words = text.replace(",", " ").split()
        for name in config_names():
            twin = name.endswith("_tiny") and name.removesuffix("_tiny") in config_names()
            listed = get_config(name).family in presented_with(family) and not twin
            assert (name in words) == listed or f"--config={name}" in words, name


def test_the_first_configuration_of_a_family_and_those_shown_are_its_own():
    for family in PRESENTED:
        for name in (family.first_config, *family.shown_configs):
            assert get_config(name).family in presented_with(family)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("music_vae", "music_vae"),
        ("MusicVAE", "music_vae"),
        ("musicvae", "music_vae"),
        ("groovae", "music_vae"),
        ("melody-rnn", "melody_rnn"),
        ("drums_rnn", "melody_rnn"),
        ("Music Transformer", "music_transformer"),
        ("MuseNet", "musenet"),
        ("jukebox", "jukebox"),
        ("vq-vae", "jukebox"),
    ],
)
def test_families_are_found_however_they_are_written(name, family):
    assert catalogue.family_called(name).name == family
    assert catalogue.family_called(name + "x") is None


@pytest.mark.parametrize(
    ("command", "arguments", "lines", "has"),
    [
        ("train", [], 7, "cat-mel_2bar_tiny       music_vae: short pieces"),
        ("train", ["--config=music_vae"], 34, "cat-trio_16bar"),
        (
            "import_checkpoint",
            ["--checkpoint=a", "--run_dir=b", "--config=musenet"],
            7,
            "musenet_72",
        ),
        ("train", ["--config=qqqqqq"], 1, "Leave --config out"),
        ("train", ["--config=cat-mel_2bra"], 1, "Did you mean cat-mel_2bar"),
    ],
)
def test_commands_name_families_not_all_configurations(command, arguments, lines, has):
    done = subprocess.run(
        [sys.executable, "-m", f"magenta_lite.{command}", *arguments],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert has in done.stderr
    told = done.stderr.splitlines()
    assert len(told) <= lines
    assert lines == 1 or max(map(len, told)) <= 80

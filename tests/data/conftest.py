"""Dummy collections for the tests of this folder."""

from __future__ import annotations

import random
from pathlib import Path

import note_seq
import pytest
from bands import band

from magenta_lite.data import folk

DUMMY = Path(__file__).parents[2] / "tfds_datasets"


@pytest.fixture
def folk_dummy(monkeypatch):
    """Sources and listing of the dummy fiddle books, which stand in for music21's."""
    monkeypatch.setattr(folk, "corpus_folder", lambda: DUMMY / "folk" / "dummy_data")
    return folk.list_books("")


@pytest.fixture(scope="session")
def grooves():
    """The folder of dummy takes, laid out as the Groove MIDI Dataset."""
    return DUMMY / "groove_midi" / "dummy_data" / "groove"


@pytest.fixture(scope="session")
def bands(tmp_path_factory):
    """A folder of six files with a melody, a bass and drums, 18 bars each."""
    folder = tmp_path_factory.mktemp("bands")
    for i in range(6):
        note_seq.sequence_proto_to_midi_file(band(random.Random(i)), folder / f"{i}.mid")
    return folder

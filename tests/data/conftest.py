"""Dummy collections for the tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from magenta_lite.data import folk

DUMMY = Path(__file__).parents[2] / "tfds_datasets"


@pytest.fixture
def folk_dummy(monkeypatch):
    """Sources and listing of the dummy fiddle books, which stand in for music21's."""
    monkeypatch.setattr(folk, "corpus_folder", lambda: DUMMY / "folk" / "dummy_data")
    return folk.list_books("")

"""The Groove MIDI Dataset (Gillick et al. 2019): recordings of drummers.

`info.csv` lists every recording with its official split.
"""

from __future__ import annotations

from pathlib import Path

from magenta_lite.converters.base import Report
from magenta_lite.data.reading import Source
from magenta_lite.data.tables import TabledDataset

URL = "https://storage.googleapis.com/magentadata/datasets/groove/groove-v1.0.0-midionly.zip"
GROOVE = TabledDataset("groove_midi", "Groove MIDI Dataset", URL, "info.csv")


def list_grooves(path: str | Path) -> tuple[list[Source], Report]:
    """Lists the recordings in a copy of the data set; see `TabledDataset.sources`."""
    return GROOVE.sources(path)

"""MAESTRO 3.0.0 (Hawthorne et al. 2019): performances from a piano competition.

`maestro-v3.0.0.csv` lists every performance with its split; no composition is in two splits.
"""

from __future__ import annotations

from pathlib import Path

from magenta_lite.converters.base import Report
from magenta_lite.data.reading import Source
from magenta_lite.data.tables import TabledDataset

URL = "https://storage.googleapis.com/magentadata/datasets/maestro/v3.0.0/maestro-v3.0.0-midi.zip"
MAESTRO = TabledDataset("maestro_midi", "MAESTRO data set 3.0.0", URL, "maestro-v3.0.0.csv")


def list_performances(path: str | Path) -> tuple[list[Source], Report]:
    """Lists the performances in a copy of the data set; see `TabledDataset.sources`."""
    return MAESTRO.sources(path)

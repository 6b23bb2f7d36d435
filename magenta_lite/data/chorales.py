"""The chorales of J. S. Bach in the corpus of music21, one instrument per voice."""

from __future__ import annotations

from magenta_lite.converters.base import Report
from magenta_lite.data import folk, reading
from magenta_lite.data.listing import list_sources
from magenta_lite.errors import UserError

FOLDER = "bach"


def list_chorales(more: str = "") -> tuple[list[reading.Source], Report]:
    """Returns the files of the chorales, and a report of the dropped files.

    Raises:
        UserError: If there is an argument after `bach_chorales:`, or music21 is not installed.
    """
    if more:
        raise UserError(
            f"bach_chorales:{more}: bach_chorales has no parts; write --data=bach_chorales, or "
            f"--data={more} for a folder"
        )
    return list_sources(str(folk.corpus_folder() / FOLDER))

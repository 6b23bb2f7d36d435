"""The tune books in the corpus of music21, read as text without importing music21."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path

from magenta_lite.converters.base import Report
from magenta_lite.data import reading
from magenta_lite.data.listing import list_sources
from magenta_lite.errors import UserError, unknown_name

# Folders or files of music21's corpus, by the argument after `folk:`. Essen, which contains the
# children's songs, is for non-commercial use only and therefore not part of the default.
BOOKS = {
    "": ("airdsAirs", "oneills1850", "ryansMammoth"),
    "essen": ("essenFolksong",),
    "kids": ("essenFolksong/kinder0.abc",),
}


def corpus_folder() -> Path:
    """Returns the folder of music21's corpus.

    Raises:
        UserError: If music21 is not installed.
    """
    spec = importlib.util.find_spec("music21")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("The folk tunes come with music21, which is missing: pip install music21")
    return Path(spec.submodule_search_locations[0]) / "corpus"


def list_books(books: str) -> tuple[list[reading.Source], Report]:
    """Returns the sources of `books`, a key of `BOOKS`, and a report of the dropped files.

    Raises:
        UserError: If there are no such books, or music21 is not installed.
    """
    if books not in BOOKS:
        raise unknown_name("folk collection", books, filter(None, BOOKS))
    return list_corpus(BOOKS[books])


def list_corpus(places: Iterable[str]) -> tuple[list[reading.Source], Report]:
    """Returns the sources in folders or files of music21's corpus, and a report of dropped files.

    Raises:
        UserError: If music21 is not installed.
    """
    corpus, sources, report = corpus_folder(), [], Report()
    for place in places:
        found, listing = list_sources(corpus / place)
        sources += found
        report.merge(listing, place)
    return sources, report

"""Reads MusicXML as it sounds, with its repeats played.

The standard library parses the XML. `scripts/compare_scores.py` compares the notes with music21's.
"""

from magenta_lite.data.musicxml.document import MusicXMLError
from magenta_lite.data.musicxml.score import Note, Score, read_score
from magenta_lite.data.musicxml.sequence import Played, played, read_sequence, sounding

__all__ = [
    "MusicXMLError",
    "Note",
    "Played",
    "Score",
    "played",
    "read_score",
    "read_sequence",
    "sounding",
]

"""Reads four-part chorales in MusicXML with their lyrics."""

from __future__ import annotations

import collections
import re
from typing import NamedTuple

from magenta_lite.data import musicxml
from magenta_lite.data.formats import UnreadableError
from magenta_lite.data.synthetic.arranging import VOICES


class Syllable(NamedTuple):
    """A syllable: start in quarter notes, text, whether its word continues or it ends a line."""

    start: float
    text: str
    goes_on: bool
    ends_line: bool


class Note(NamedTuple):
    """A note: times in quarter notes; `voice` is an index into `VOICES`."""

    start: float
    end: float
    pitch: int
    voice: int


class Chorale(NamedTuple):
    """The notes of all voices, sorted by time, and the lyrics."""

    notes: list[Note]
    syllables: list[Syllable]


def read_chorale(data: bytes) -> Chorale:
    """Reads the notes and the first verse of a chorale in MusicXML, without repeats.

    Raises:
        UnreadableError: If it is not MusicXML, or not for soprano, alto, tenor and bass.
    """
    try:
        score = musicxml.read_score(data)
    except musicxml.MusicXMLError as error:
        raise UnreadableError(f"MusicXML: {error}") from error
    if tuple(score.parts) != VOICES:
        raise UnreadableError("score that is not for soprano, alto, tenor and bass alone")
    measures = musicxml.played(score.measures, range(len(score.measures)))
    notes = [
        Note(each.start, each.end, each.note.pitch, each.note.part)
        for each in musicxml.sounding(measures)
    ]
    if {note.voice for note in notes} != set(range(len(VOICES))):
        raise UnreadableError("chorale with an empty voice")
    # Most editions have the lyrics below the soprano, some below another voice.
    words = next((words for voice in range(len(VOICES)) if (words := _words(measures, voice))), [])
    return Chorale(sorted(notes), words)


def text_of(syllables: list[Syllable]) -> tuple[str, list[tuple[int, float]]]:
    """Returns the text of syllables, and the index and time (quarter notes) of each syllable."""
    text, places = "", []
    for syllable in syllables:
        places.append((len(text), syllable.start))
        text += syllable.text
        if not syllable.goes_on:
            text += "\n" if syllable.ends_line else " "
    return text.rstrip(), places


def _words(measures: list[musicxml.Played], part: int) -> list[Syllable]:
    """Returns the syllables of the first verse of a part.

    After a repeated section with two verses, the lyrics have the number of the second verse only.
    Each verse is therefore appended where the earlier ones end.
    """
    verses = collections.defaultdict(list)
    notes = (
        (each.start + note.start, note.element)
        for each in measures
        for note in each.measure.notes
        if note.part == part
    )
    for start, note in notes:
        holds = note.find("notations/fermata") is not None  # the end of a line
        for lyric in note.iter("lyric"):
            # The first word of a verse may be preceded by its number.
            text = re.sub(r"^\d+\.?\s*", "", (lyric.findtext("text") or "").strip())
            goes_on = lyric.findtext("syllabic") in ("begin", "middle")
            if text:
                verses[lyric.get("number", "1")].append(Syllable(start, text, goes_on, holds))
    words: list[Syllable] = []
    for number in sorted(verses):
        words += [word for word in verses[number] if not words or word.start > words[-1].start]
    return words

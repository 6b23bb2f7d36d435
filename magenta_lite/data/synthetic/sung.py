"""Reads four-part chorales in MusicXML with their lyrics, which note_seq ignores."""

from __future__ import annotations

import collections
import io
import re
import zipfile
from collections.abc import Iterator
from typing import NamedTuple
from xml.etree import ElementTree

from magenta_lite.data.formats import UnreadableError
from magenta_lite.data.synthetic.arranging import VOICES
from magenta_lite.errors import first_line

STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


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
        root = ElementTree.fromstring(_unpacked(data))
    except (ElementTree.ParseError, zipfile.BadZipFile, KeyError) as error:
        raise UnreadableError(f"MusicXML: {first_line(error)}") from error
    names = [part.findtext("part-name") for part in root.iter("score-part")]
    if tuple(names) != VOICES:
        raise UnreadableError("score that is not for soprano, alto, tenor and bass alone")
    parts = root.findall("part")
    notes = [Note(*span, voice) for voice, part in enumerate(parts) for span in _spans(part)]
    if {note.voice for note in notes} != set(range(len(VOICES))):
        raise UnreadableError("chorale with an empty voice")
    # Most editions have the lyrics below the soprano, some below another voice.
    words = next((words for part in parts if (words := _words(part))), [])
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


def _unpacked(data: bytes) -> bytes:
    if not data.startswith(b"PK"):
        return data
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        inside = [name for name in archive.namelist() if not name.startswith("META-INF")]
        return archive.read(next((n for n in inside if n.endswith(("xml", "musicxml"))), ""))


def _timed(part: ElementTree.Element) -> Iterator[tuple[float, float, ElementTree.Element]]:
    """Yields the start and the length in quarter notes of each note or rest of a part."""
    divisions, now, last = 1.0, 0.0, 0.0
    for measure in part.iter("measure"):
        for element in measure:
            if (changed := element.findtext("divisions")) is not None:
                divisions = float(changed)
            length = float(element.findtext("duration") or 0) / divisions
            if element.tag == "backup":
                now -= length
            elif element.tag == "forward":
                now += length
            elif element.tag == "note" and element.find("chord") is not None:
                yield last, length, element
            elif element.tag == "note":
                yield now, length, element
                last, now = now, now + length


def _spans(part: ElementTree.Element) -> Iterator[tuple[float, float, int]]:
    """Yields start, end and pitch of the notes of a part, with tied notes joined."""
    held: dict[int, float] = {}  # starts of tied notes by pitch
    for start, length, note in _timed(part):
        pitch = _pitch(note)
        if pitch is None or not length:
            continue
        ties = {tie.get("type") for tie in note.iter("tie")}
        start, end = held.pop(pitch, start) if "stop" in ties else start, start + length
        if "start" in ties:
            held[pitch] = start
        else:
            yield start, end, pitch


def _pitch(note: ElementTree.Element) -> int | None:
    """Returns the MIDI pitch of a note; None for a rest."""
    place = note.find("pitch")
    if place is None:
        return None
    octave = 12 * (int(place.findtext("octave", "")) + 1)
    return octave + STEPS[place.findtext("step", "")] + round(float(place.findtext("alter") or 0))


def _words(part: ElementTree.Element) -> list[Syllable]:
    """Returns the syllables of the first verse of a part.

    After a repeated section with two verses, the lyrics have the number of the second verse only.
    Each verse is therefore appended where the earlier ones end.
    """
    verses = collections.defaultdict(list)
    for start, _, note in _timed(part):
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

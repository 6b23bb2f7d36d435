"""Parses music files.

The formats are MIDI, ABC, MusicXML, TFRecords of NoteSequences, and lists of MuseNet tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np

from magenta_lite.converters.base import Report
from magenta_lite.converters.score import NoteArrays, Score
from magenta_lite.data import abc, musicxml, workers
from magenta_lite.data.midi_files import read_score
from magenta_lite.data.records import records_in
from magenta_lite.errors import UnreadableError, UserError, first_line
from magenta_lite.typing import Music, NoteSequence

_Music = TypeVar("_Music")

MAX_NOTES = 200_000
MAX_NOTE_SECONDS = 600.0
MAX_PIECE_SECONDS = 3 * 3600.0
MAX_RECORD_BYTES = 8 * 2**20  # 200,000 notes; empty ones need 50 times as much memory


def music_in(name: str, data: bytes, report: Report) -> Iterator[tuple[str, Music]]:
    """Yields the name of each piece in a file, and its score or its NoteSequence.

    Args:
        name: Name of the file, whose suffix decides the format.
        data: Content of the file.
        report: Counts notes, and pieces of a file with several pieces, that cannot be used.

    Raises:
        UnreadableError: If the file cannot be used; the message is the reason.
    """
    kind = kind_of(name)
    if kind == "midi":
        yield name, checked(read_score(data), name, report)
    elif kind == "abc":
        yield from _abc_pieces(name, data, report)
    elif kind == "musicxml":
        yield name, checked(_musicxml_to_sequence(data), name, report)
    elif kind == "tokens":
        yield name, checked(_tokens_to_sequence(data), name, report)
    else:
        for i, record in enumerate(records_in(data)):
            try:
                yield f"{name}#{i}", checked(_record_to_sequence(record), f"{name}#{i}", report)
            except UnreadableError as error:
                report.drop(first_line(error), f"{name}#{i}")


_KINDS = {
    ".mid": "midi",
    ".midi": "midi",
    ".kar": "midi",
    ".rmi": "midi",
    ".abc": "abc",
    ".xml": "musicxml",
    ".musicxml": "musicxml",
    ".mxl": "musicxml",
    ".tfrecord": "tfrecord",
    ".txt": "tokens",
}


def kind_of(name: str) -> str | None:
    """Returns the format of a file of this name; None if it is not a format of notes."""
    name = name.lower()
    return next((kind for suffix, kind in _KINDS.items() if name.endswith(suffix)), None)


def is_music(name: str) -> bool:
    """Returns whether a file of this name holds notes; False for text, which may hold tokens."""
    return kind_of(name) not in (None, "tokens")


def checked(music: _Music, name: str, report: Report) -> _Music:
    """Returns a piece without notes that end before they start, which the report counts.

    Raises:
        UnreadableError: If it has no notes, or implausibly many or long ones.
    """
    notes = NoteArrays.of(music)
    forward = notes.start <= notes.end  # not NaN
    if not forward.all():
        report.drop("note that ends before it starts", name, int((~forward).sum()))
        music = _with_notes(music, forward)
    start, end = notes.start[forward], notes.end[forward]
    if not len(start):
        raise UnreadableError("no notes")
    if len(start) > MAX_NOTES:
        raise UnreadableError(f"more than {MAX_NOTES:,} notes")
    if start.min() < 0:
        raise UnreadableError("a note starts before time 0")
    with np.errstate(invalid="ignore"):  # a note from infinity to infinity
        longest = (end - start).max()
    if longest > MAX_NOTE_SECONDS:
        raise UnreadableError(f"a note is held for more than {MAX_NOTE_SECONDS / 60:g} minutes")
    if end.max() > MAX_PIECE_SECONDS:
        raise UnreadableError(f"longer than {MAX_PIECE_SECONDS / 3600:g} hours")
    return music


def _with_notes(music: Any, kept: np.ndarray) -> Any:
    """Returns a piece with the notes of a mask bool (N,) only."""
    if isinstance(music, Score):
        return dataclasses.replace(music, notes=music.notes[kept])
    notes = [note for note, is_kept in zip(music.notes, kept, strict=True) if is_kept]
    del music.notes[:]
    music.notes.extend(notes)
    return music


def _abc_pieces(name: str, data: bytes, report: Report) -> Iterator[tuple[str, Any]]:
    tunes = abc.split_tunes(abc.decode(data))
    if not tunes:
        raise UnreadableError("no tune in the book: no line starts with X:")
    for number, tune in tunes:
        place = f"{name}#X:{number}"
        try:
            yield place, checked(abc.read_tune(tune), place, report)
        except (abc.AbcError, UnreadableError) as error:
            report.drop(f"ABC tune: {error}", place)
        except Exception as error:  # a bug must not cost the other tunes
            report.drop(workers.reason_of(error), place)


def _musicxml_to_sequence(data: bytes) -> NoteSequence:
    try:
        return musicxml.read_sequence(data)
    except musicxml.MusicXMLError as error:
        raise UnreadableError(f"MusicXML: {error}") from error


def _tokens_to_sequence(data: bytes):
    """Parses a list of MuseNet tokens, given as ids or as names."""
    from magenta_lite.converters.musenet import codec, vocabulary
    from magenta_lite.converters.musenet.converter import to_sequence

    try:
        ids = vocabulary.read_ids(data.decode("utf-8-sig"))
    except (UserError, UnicodeDecodeError) as error:
        raise UnreadableError(f"text that is not a list of tokens: {first_line(error)}") from error
    return to_sequence(codec.decode(ids).notes)


def _record_to_sequence(record: bytes) -> NoteSequence:
    from google.protobuf.message import DecodeError
    from note_seq.protobuf import music_pb2

    if len(record) > MAX_RECORD_BYTES:
        raise UnreadableError(f"a record of more than {MAX_RECORD_BYTES // 2**20} MB")
    try:
        return music_pb2.NoteSequence.FromString(record)
    except DecodeError as error:
        raise UnreadableError("a record is not a NoteSequence") from error

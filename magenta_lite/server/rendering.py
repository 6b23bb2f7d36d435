"""The content of answers: music as MIDI, sound, MusicXML, JSON or a picture."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from magenta_lite.api import write
from magenta_lite.errors import UserError
from magenta_lite.midi import midi_bytes

Writer = Callable[[Any, str], bytes]  # from a piece and its title to the content of a file

JSON, ZIP = "application/json", "application/zip"


def written(suffix: str) -> Writer:
    """Returns a function that returns the content of the file that `magenta_lite.write` writes."""

    def content_of(piece: Any, title: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            return write(piece, Path(folder) / f"{title}{suffix}").read_bytes()

    return content_of


def musicxml_bytes(piece: Any, title: str) -> bytes:
    """Returns a MusicXML score of a NoteSequence, as music21 notates it."""
    import music21
    from music21.musicxml.m21ToXml import GeneralObjectExporter

    score = music21.converter.parseData(midi_bytes(piece, title), format="midi")
    score.metadata = music21.metadata.Metadata(title=title)
    return GeneralObjectExporter(score).parse()


def notes_of(piece: Any) -> dict[str, Any]:
    """Returns the notes of a NoteSequence, with times in seconds, for JSON."""
    tempo = piece.tempos[0].qpm if piece.tempos else 120.0
    notes = [
        {
            "pitch": note.pitch,
            "start": round(note.start_time, 6),
            "end": round(note.end_time, 6),
            "velocity": note.velocity,
            "program": note.program,
            "is_drum": note.is_drum,
            "track": note.instrument,
        }
        for note in sorted(piece.notes, key=lambda note: (note.start_time, note.pitch))
    ]
    return {"qpm": tempo, "total_time": round(piece.total_time, 6), "notes": notes}


# Media types by what a model makes; the first is the default. Suffix and writer of each.
OF_SOUND: dict[str, tuple[str, Writer]] = {
    "audio/wav": (".wav", written(".wav")),
    "image/png": (".png", written(".png")),
}
OF_NOTES: dict[str, tuple[str, Writer]] = {
    "audio/midi": (".mid", midi_bytes),
    **OF_SOUND,
    "application/vnd.recordare.musicxml+xml": (".musicxml", musicxml_bytes),
}
# Other names of the same types.
ALIASES = {
    "audio/mid": "audio/midi",
    "audio/x-midi": "audio/midi",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "application/vnd.recordare.musicxml": "application/vnd.recordare.musicxml+xml",
}


def media_types(is_sound: bool) -> list[str]:
    """Returns the media types that a model can answer in; the first is the default."""
    return list(OF_SOUND) if is_sound else [*OF_NOTES, JSON]


def chosen_type(accept: str, is_sound: bool) -> str:
    """Returns the media type that an `Accept` header prefers.

    Raises:
        UserError: If the model can answer in none of them.
    """
    known = media_types(is_sound)
    names = [*known, *(alias for alias, name in ALIASES.items() if name in known)]
    found = parse_accept_header(accept or "*/*", MIMEAccept).best_match(names)
    if found is None:
        types = ", ".join(known)
        raise UserError(f"Accept: {accept[:100]} has none of the types of this model: {types}")
    return ALIASES.get(found, found)


def content(pieces: list[Any], media_type: str, about: dict[str, Any]) -> tuple[str, bytes]:
    """Returns the media type and the content of an answer.

    Several pieces are a ZIP archive of files, or a JSON object with the notes of all.

    Args:
        pieces: NoteSequences, or `Audio`s.
        media_type: One of `media_types`.
        about: Model, mode, seed and temperature.
    """
    if media_type == JSON:
        return JSON, json.dumps(
            {**about, "outputs": [notes_of(piece) for piece in pieces]}
        ).encode()
    suffix, write = OF_NOTES[media_type]
    name = f"{about['model']}-{about['mode']}-seed{about['seed']}"
    if len(pieces) == 1:
        return media_type, write(pieces[0], name)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for i, piece in enumerate(pieces, start=1):
            title = f"{name}-{i:03d}-of-{len(pieces):03d}"
            out.writestr(f"{title}{suffix}", write(piece, title))
    return ZIP, archive.getvalue()

"""The content of answers: music as MIDI, sound, MusicXML, JSON or a picture."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

from magenta_lite.converters.audio import Audio
from magenta_lite.errors import UserError

JSON, ZIP = "application/json", "application/zip"


def wav_bytes(piece: Any, about: str) -> bytes:
    """Returns a WAV file of 16 bits of a NoteSequence or an `Audio`."""
    import soundfile

    from magenta_lite.outputs import played
    from magenta_lite.soundfont import open_soundfont

    del about
    audio = piece if isinstance(piece, Audio) else played(piece, open_soundfont(""))
    file = io.BytesIO()
    soundfile.write(file, audio.samples, audio.sample_rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def png_bytes(piece: Any, about: str) -> bytes:
    """Returns a picture: a piano roll of notes, or the waveform and spectrogram of sound."""
    from magenta_lite import plots

    if isinstance(piece, Audio):
        return plots.png_bytes(plots.sounds([piece], [about]))
    return plots.png_bytes(plots.piano_roll(piece, about))


def midi_bytes(piece: Any, about: str) -> bytes:
    """Returns a MIDI file of a NoteSequence."""
    from magenta_lite.midi import midi_bytes

    return midi_bytes(piece, about.split(",")[0], [about])


def musicxml_bytes(piece: Any, about: str) -> bytes:
    """Returns a MusicXML score of a NoteSequence, as music21 notates it."""
    import music21
    from music21.musicxml.m21ToXml import GeneralObjectExporter

    score = music21.converter.parseData(midi_bytes(piece, about), format="midi")
    score.metadata = music21.metadata.Metadata(title=about.split(",")[0])
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
Writer = Callable[[Any, str], bytes]
OF_NOTES: dict[str, tuple[str, Writer]] = {
    "audio/midi": (".mid", midi_bytes),
    "audio/wav": (".wav", wav_bytes),
    "application/vnd.recordare.musicxml+xml": (".musicxml", musicxml_bytes),
    "image/png": (".png", png_bytes),
}
OF_SOUND: dict[str, tuple[str, Writer]] = {
    "audio/wav": (".wav", wav_bytes),
    "image/png": (".png", png_bytes),
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
    wanted = sorted(map(_with_quality, accept.split(",")), key=lambda pair: -pair[1])
    for name, quality in wanted:
        if not quality:
            continue
        name = ALIASES.get(name, name)
        if name in known:
            return name
        if name in ("*/*", ""):
            return known[0]
        main, _, sub = name.partition("/")
        if sub == "*":
            for each in known:
                if each.startswith(f"{main}/"):
                    return each
    raise UserError(
        f"Accept: {accept[:100]} has none of the types of this model: " + ", ".join(known)
    )


def _with_quality(text: str) -> tuple[str, float]:
    name, *parameters = (part.strip() for part in text.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return name.lower(), float(parameter[2:])
            except ValueError:
                return name.lower(), 0.0
    return name.lower(), 1.0


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
    text = f"magenta_lite {about['model']}, mode {about['mode']}, seed {about['seed']}"
    suffix, write = (OF_NOTES | OF_SOUND)[media_type]
    files = [write(piece, text) for piece in pieces]
    if len(files) == 1:
        return media_type, files[0]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for i, file in enumerate(files, start=1):
            out.writestr(f"{about['model']}-{i:03d}-of-{len(files):03d}{suffix}", file)
    return ZIP, archive.getvalue()

"""Writing generated music: MIDI, sound and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from magenta_lite.files import replaced
from magenta_lite.plots import piano_rolls, png_bytes, sounds
from magenta_lite.request import Reconstruction

SAMPLE_RATE = 44_100  # Hz
OVERVIEW = 16  # pieces in the picture of all


def synthesize(sequence, sample_rate: int = SAMPLE_RATE):
    """Returns the sound of a NoteSequence made of plain sine tones.

    Args:
        sequence: A NoteSequence.
        sample_rate: Hz.

    Returns:
        Float32 (samples,) in [-1, 1], scaled to a peak of 0.9; half a second of silence when
        there is no note.
    """
    import note_seq
    import numpy as np

    if not sequence.notes:
        return np.zeros(sample_rate // 2, np.float32)
    audio = note_seq.midi_synth.synthesize(sequence, float(sample_rate)).astype(np.float32)
    peak = np.abs(audio).max()
    return audio * (0.9 / peak) if peak > 0 else audio


def write_sequences(sequences: Sequence, folder: Path, stem: str) -> list[Path]:
    """Writes each NoteSequence as `.mid`, `.wav` and a piano-roll `.png`.

    Args:
        sequences: What to write; of a `Reconstruction` the input, too, beside the output as
            `STEM-001-of-004-input.mid` and `.wav`, and above it in one picture.
        folder: Created if missing.
        stem: Files are named `STEM-001-of-004.mid` and so on, counting from 1.

    Returns:
        The paths, those of a sequence one after the other, then a picture of all.
    """
    import note_seq
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    count, paths = len(sequences), []
    for i, sequence in enumerate(sequences, start=1):
        name = f"{stem}-{i:03d}-of-{count:03d}"
        parts = _parts(sequence, name)
        for part, notes in parts.items():
            midi, wav = folder / f"{part}.mid", folder / f"{part}.wav"
            with replaced(midi) as partial:
                note_seq.sequence_proto_to_midi_file(notes, str(partial))
            with replaced(wav) as partial:
                soundfile.write(partial, synthesize(notes), SAMPLE_RATE)
            paths += [midi, wav]
        paths.append(_write_picture(folder / f"{name}.png", parts))
    if count > 1:
        shown = {}
        for i, sequence in enumerate(sequences, start=1):
            parts = {title.replace("-", " "): part for title, part in _parts(sequence, i).items()}
            if len(shown) + len(parts) <= OVERVIEW:
                shown |= parts
        paths.append(_write_picture(folder / f"{stem}-overview.png", shown))
    return paths


def _parts(piece, name) -> dict[str, Any]:
    """Returns the NoteSequences that are written of a piece, each with its name."""
    if isinstance(piece, Reconstruction):
        return {f"{name}-input": piece.input, f"{name}": piece.output}
    return {f"{name}": piece}


def _write_picture(path: Path, sequences: dict[str, Any]) -> Path:
    with replaced(path) as partial:
        picture = piano_rolls(list(sequences.values()), list(sequences))
        partial.write_bytes(png_bytes(picture))
    return path


def write_sounds(outputs: Sequence, folder: Path, stem: str) -> list[Path]:
    """Writes sounds as `.wav`, and a `.png` of waveforms and spectrograms.

    Args:
        outputs: Dicts of `encoders.audio.Audio` by name, which belong together.
        folder: Created if missing.
        stem: Files are named `STEM-001-of-004-NAME.wav` and `STEM-001-of-004.png`.

    Returns:
        The paths.
    """
    from magenta_lite.data.audio import write_audio

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i, output in enumerate(outputs, start=1):
        name = f"{stem}-{i:03d}-of-{len(outputs):03d}"
        for part, audio in output.items():
            paths.append(write_audio(folder / f"{name}-{part}.wav", audio))
        picture = folder / f"{name}.png"
        with replaced(picture) as partial:
            partial.write_bytes(png_bytes(sounds(list(output.values()), list(output))))
        paths.append(picture)
    return paths

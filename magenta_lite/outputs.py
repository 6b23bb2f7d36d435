"""Writing generated music: MIDI, sound and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from magenta_lite.plots import piano_roll, piano_rolls, png_bytes, sounds

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
        sequences: What to write.
        folder: Created if missing.
        stem: Files are named `STEM-001-of-004.mid` and so on, counting from 1.

    Returns:
        The paths, the three of a sequence one after the other, then a picture of all.
    """
    import note_seq
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i, sequence in enumerate(sequences, start=1):
        name = f"{stem}-{i:03d}-of-{len(sequences):03d}"
        midi, wav, png = (folder / f"{name}.{suffix}" for suffix in ("mid", "wav", "png"))
        note_seq.sequence_proto_to_midi_file(sequence, str(midi))
        soundfile.write(wav, synthesize(sequence), SAMPLE_RATE)
        png.write_bytes(png_bytes(piano_roll(sequence, title=name)))
        paths += [midi, wav, png]
    if len(sequences) > 1:
        overview = folder / f"{stem}-overview.png"
        first = sequences[:OVERVIEW]
        titles = [str(i) for i in range(1, len(first) + 1)]
        overview.write_bytes(png_bytes(piano_rolls(first, titles)))
        paths.append(overview)
    return paths


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
        picture.write_bytes(png_bytes(sounds(list(output.values()), list(output))))
        paths.append(picture)
    return paths

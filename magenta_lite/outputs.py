"""Writes generated music as MIDI, sound and pictures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magenta_lite.converters.audio import Audio
from magenta_lite.files import replaced
from magenta_lite.loudness import levelled
from magenta_lite.modeling.options import Reconstruction
from magenta_lite.plots import piano_rolls, png_bytes, sounds
from magenta_lite.typing import NoteSequence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OVERVIEW = 16  # largest number of pieces in the overview


def write_sequences(
    sequences: Sequence, folder: Path, stem: str, player: Any = None, about: str = ""
) -> list[Path]:
    """Writes each NoteSequence as `.mid`, `.wav` and a piano-roll `.png`.

    Args:
        sequences: NoteSequences, or `Reconstruction`s, whose inputs are also written, as
            `STEM-001-of-004-input.mid` and `.wav`, and in the same picture as the output.
        folder: Created if missing.
        stem: Files are named `STEM-001-of-004.mid` and so on, counting from 1.
        player: A player from `soundfont.open_soundfont`; None for the default soundfont.
        about: Text about the origin of the music, stored in the MIDI files.

    Returns:
        The paths, sequence by sequence, and the path of an overview picture.
    """
    from magenta_lite.data.audio import write_audio
    from magenta_lite.midi import midi_bytes
    from magenta_lite.soundfont import open_soundfont

    player = player or open_soundfont()
    folder.mkdir(parents=True, exist_ok=True)
    count, paths = len(sequences), []
    numbered = list(enumerate(sequences, start=1))
    pieces = [_parts(sequence, f"{stem}-{i:03d}-of-{count:03d}") for i, sequence in numbered]
    for name, sequence in (pair for parts in pieces for pair in parts.items()):
        with replaced(folder / f"{name}.mid") as partial:  # first, because the rest takes long
            partial.write_bytes(midi_bytes(sequence, name, [about] if about else []))
    for parts in pieces:
        *_, title = parts
        for name, sequence in parts.items():
            midi, wav = folder / f"{name}.mid", folder / f"{name}.wav"
            paths += [midi, write_audio(wav, played(sequence, player, name))]
        paths.append(write_picture(folder / f"{title}.png", _drawn(parts)))
    if count > 1:
        shown = {}
        for i, sequence in numbered:
            parts = {title.replace("-", " "): part for title, part in _parts(sequence, i).items()}
            if len(shown) + len(parts) <= OVERVIEW:
                shown |= parts
        paths.append(write_picture(folder / f"{stem}-overview.png", _drawn(shown)))
    return paths


def played(sequence: NoteSequence, player: Any, name: str = "") -> Audio:
    """Returns the sound of a NoteSequence, `loudness.levelled`; silence without notes.

    The player is one from `soundfont.open_soundfont`. Messages on standard error have the name.
    """
    from magenta_lite.plain_tones import PlainTones
    from magenta_lite.soundfont import RenderError

    try:
        audio = player.play(sequence)
    except RenderError as error:  # keeps the music even if the soundfont fails
        print(f"{name}: {error}. Its sound is made of plain tones", file=sys.stderr)
        audio = PlainTones().play(sequence)
    if sequence.notes and not audio.samples.any():
        print(f"{name}: silent, as the soundfont plays none of its notes", file=sys.stderr)
    return levelled(audio)


def _parts(piece, name) -> dict[str, Any]:
    """Returns the NoteSequences to write for a piece, by name."""
    if isinstance(piece, Reconstruction):
        return {f"{name}-input": piece.input, f"{name}": piece.output}
    return {f"{name}": piece}


def _drawn(sequences: dict[str, Any]) -> Figure:
    return piano_rolls(list(sequences.values()), list(sequences))


def write_picture(path: Path, figure: Figure) -> Path:
    """Writes a matplotlib figure as a PNG file; returns the path."""
    with replaced(path) as partial:
        partial.write_bytes(png_bytes(figure))
    return path


def write_sounds(outputs: Sequence, folder: Path, stem: str) -> list[Path]:
    """Writes sounds as `STEM-001-of-004-NAME.wav`, and returns the paths.

    Each output is a dict of `converters.audio.Audio` by name. `STEM-001-of-004.png` shows their
    waveforms and spectrograms. The folder is created if missing.
    """
    from magenta_lite.data.audio import write_audio

    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i, output in enumerate(outputs, start=1):
        name = f"{stem}-{i:03d}-of-{len(outputs):03d}"
        for part, audio in output.items():
            paths.append(write_audio(folder / f"{name}-{part}.wav", audio))
        figure = sounds(list(output.values()), list(output))
        paths.append(write_picture(folder / f"{name}.png", figure))
    return paths

"""Writing generated music: MIDI, sound and pictures."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from magenta_lite.encoders.audio import Audio
from magenta_lite.files import replaced
from magenta_lite.plots import piano_roll, piano_rolls, png_bytes, sounds

PEAK = 0.9  # of the sound of notes
OVERVIEW = 16  # pieces in the picture of all


def write_sequences(
    sequences: Sequence, folder: Path, stem: str, player=None, about: str = ""
) -> list[Path]:
    """Writes each NoteSequence as `.mid`, `.wav` and a piano-roll `.png`.

    Args:
        sequences: What to write.
        folder: Created if missing.
        stem: Files are named `STEM-001-of-004.mid` and so on, counting from 1.
        player: What `soundfont.open_soundfont` returned; None to open the default here.
        about: How the music came to be; stands in the MIDI as a text.

    Returns:
        The paths, the three of a sequence one after the other, then a picture of all.
    """
    from magenta_lite.data.audio import write_audio
    from magenta_lite.midi import midi_bytes
    from magenta_lite.soundfont import open_soundfont

    player = player or open_soundfont()
    folder.mkdir(parents=True, exist_ok=True)
    count, paths = len(sequences), []
    names = [f"{stem}-{i:03d}-of-{count:03d}" for i in range(1, count + 1)]
    for sequence, name in zip(
        sequences, names, strict=True
    ):  # the music first: the rest takes long
        with replaced(folder / f"{name}.mid") as partial:
            partial.write_bytes(midi_bytes(sequence, name, [about] if about else []))
    for sequence, name in zip(sequences, names, strict=True):
        midi, wav, png = (folder / f"{name}.{suffix}" for suffix in ("mid", "wav", "png"))
        write_audio(wav, played(sequence, player, name))
        png.write_bytes(png_bytes(piano_roll(sequence, title=name)))
        paths += [midi, wav, png]
    if count > 1:
        overview = folder / f"{stem}-overview.png"
        first = sequences[:OVERVIEW]
        titles = [str(i) for i in range(1, len(first) + 1)]
        overview.write_bytes(png_bytes(piano_rolls(first, titles)))
        paths.append(overview)
    return paths


def played(sequence, player, name: str = "") -> Audio:
    """Returns the sound of a NoteSequence, with a peak of 0.9; silence where there is no note.

    Args:
        sequence: A NoteSequence.
        player: What `soundfont.open_soundfont` returned.
        name: Of the piece, for what has to be said about it on standard error.
    """
    from magenta_lite.plain_tones import PlainTones
    from magenta_lite.soundfont import RenderError

    try:
        audio = player.play(sequence)
    except RenderError as error:  # the music must not be lost with its sound
        print(f"{name}: {error}. Its sound is made of plain tones", file=sys.stderr)
        audio = PlainTones().play(sequence)
    peak = float(abs(audio.samples).max())
    if peak:
        audio.samples *= PEAK / peak
    elif sequence.notes:
        print(
            f"{name}: the soundfont plays none of its notes; its sound is silent", file=sys.stderr
        )
    return audio


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

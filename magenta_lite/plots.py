"""Pictures of music."""

from __future__ import annotations

import io
from pathlib import Path

NOTE_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


def piano_roll(sequence, title: str = "", beats_per_bar: int = 4):
    """Draws notes as bars over time.

    Args:
        sequence: A NoteSequence.
        title: Shown above.
        beats_per_bar: Where the bar lines stand.

    Returns:
        A matplotlib Figure: time in beats to the right, pitch upwards, louder is darker.
    """
    from matplotlib.figure import Figure  # not pyplot: needs no screen and keeps no state

    qpm = sequence.tempos[0].qpm if sequence.tempos else 120.0
    beats = qpm / 60
    pitches = [note.pitch for note in sequence.notes] or [60]
    low, high = min(pitches) - 2, max(pitches) + 2
    end = max([beats_per_bar, *(note.end_time * beats for note in sequence.notes)])

    figure = Figure(figsize=(max(6.0, 0.6 * end), max(2.5, 0.12 * (high - low))), dpi=100)
    axes = figure.add_subplot()
    for note in sequence.notes:
        axes.barh(
            note.pitch,
            (note.end_time - note.start_time) * beats,
            left=note.start_time * beats,
            height=0.9,
            color=f"C{note.instrument % 10}",
            alpha=0.3 + 0.7 * note.velocity / 127,
            edgecolor="black",
            linewidth=0.4,
        )
    for bar in range(0, int(end) + 1, beats_per_bar):
        axes.axvline(bar, color="0.7", linewidth=0.8, zorder=0)
    octaves = [pitch for pitch in range(low, high + 1) if pitch % 12 == 0]
    axes.set_yticks(octaves, [f"{NOTE_NAMES[p % 12]}{p // 12 - 1}" for p in octaves])
    axes.set(xlim=(0, end), ylim=(low, high), xlabel="beats", ylabel="pitch", title=title)
    figure.tight_layout()
    return figure


def png_bytes(figure) -> bytes:
    """Returns a matplotlib figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def save_piano_roll(sequence, path: Path, title: str = "") -> None:
    """Writes `piano_roll(sequence)` as a PNG file."""
    path.write_bytes(png_bytes(piano_roll(sequence, title)))

"""Pictures of music."""

from __future__ import annotations

import io
from collections.abc import Sequence


def piano_roll(sequence, title: str = "", beats_per_bar: int = 4):
    """Draws notes as bars over time.

    Args:
        sequence: A NoteSequence.
        title: Shown above.
        beats_per_bar: Where the bar lines stand.

    Returns:
        A matplotlib Figure: time in beats to the right, pitch upwards, louder is darker.
    """
    return piano_rolls([sequence], [title], beats_per_bar)


def piano_rolls(sequences: Sequence, titles: Sequence[str], beats_per_bar: int = 4):
    """Draws several NoteSequences below one another, on the same axes; see `piano_roll`."""
    from matplotlib.figure import Figure  # not pyplot: needs no screen and keeps no state

    pitches = [note.pitch for sequence in sequences for note in sequence.notes] or [60]
    low, high = min(pitches) - 2, max(pitches) + 2
    end = max([beats_per_bar, *(note.end_time * _beats(s) for s in sequences for note in s.notes)])
    height = max(1.3, 0.06 * (high - low)) if len(sequences) > 1 else max(2.5, 0.12 * (high - low))
    size = (min(max(6.0, 0.6 * end), 30.0), height * len(sequences) + 0.5)
    figure = Figure(figsize=size, dpi=100)
    rows = figure.subplots(len(sequences), sharex=True, squeeze=False)[:, 0]
    for axes, sequence, title in zip(rows, sequences, titles, strict=True):
        _draw_notes(axes, sequence)
        for bar in range(0, int(end) + 1, beats_per_bar):
            axes.axvline(bar, color="0.7", linewidth=0.8, zorder=0)
        octaves = [pitch for pitch in range(low, high + 1) if pitch % 12 == 0]
        axes.set_yticks(octaves, [f"C{pitch // 12 - 1}" for pitch in octaves])
        axes.set(xlim=(0, end), ylim=(low, high), ylabel="pitch")
        axes.set_title(title, fontsize=9)
    rows[-1].set_xlabel("beats")
    figure.tight_layout()
    return figure


def _beats(sequence) -> float:
    """Returns quarter notes a second."""
    return (sequence.tempos[0].qpm if sequence.tempos else 120.0) / 60


def _draw_notes(axes, sequence) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba

    beats, corners, colors = _beats(sequence), [], []
    for note in sequence.notes:
        left, right = note.start_time * beats, note.end_time * beats
        low, high = note.pitch - 0.45, note.pitch + 0.45
        corners.append([(left, low), (right, low), (right, high), (left, high)])
        colors.append(to_rgba(f"C{note.instrument % 10}", 0.3 + 0.7 * note.velocity / 127))
    # All at once: long pieces have thousands.
    edge = (0.0, 0.0, 0.0, 0.6)
    axes.add_collection(PolyCollection(corners, facecolors=colors, edgecolors=edge, linewidths=0.4))


def scatter(places, groups, labels: Sequence[str], title: str = ""):
    """Draws points in a plane.

    Args:
        places: Float (N, 2).
        groups: Int (N,), gives each point the colour of one of `labels`.
        labels: Names of the groups.
        title: Shown above.

    Returns:
        A matplotlib Figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 6), dpi=100)
    axes = figure.add_subplot()
    for i, label in enumerate(labels):
        axes.scatter(*places[groups == i].T, s=8, alpha=0.6, color=f"C{i % 10}", label=label)
    axes.set(xlabel="first principal component", ylabel="second principal component")
    axes.set_title(title, fontsize=9)
    axes.legend()
    figure.tight_layout()
    return figure


SPECTRUM, SPECTRUM_HOP = 1024, 256  # samples of a window of a spectrogram, and between two
DEEPEST = -80.0  # dB below the loudest


def sounds(audios: Sequence, titles: Sequence[str]):
    """Draws sounds below one another: the waveform of each, and its spectrogram.

    Args:
        audios: Of `encoders.audio.Audio`; of several channels the mean is drawn.
        titles: Shown above each.

    Returns:
        A matplotlib Figure: seconds to the right; frequencies upwards, dB as brightness, relative
        to the loudest of the first sound. Dashed lines stand at markers.
    """
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 2.2 * len(audios) + 0.4), dpi=100)
    rows = figure.subplots(len(audios), 2, sharex=True, squeeze=False)
    loudest = None
    for (left, right), audio, title in zip(rows, audios, titles, strict=True):
        mono, rate = audio.samples.mean(axis=1), audio.sample_rate
        seconds = len(mono) / rate
        left.plot(np.arange(len(mono)) / rate, mono, linewidth=0.4)
        left.set(ylim=(-1, 1), xlim=(0, seconds), ylabel="amplitude")
        left.set_title(title, fontsize=9)
        magnitude = _spectrogram(mono)
        loudest = max(float(magnitude.max()), 1e-6) if loudest is None else loudest
        decibels = 20 * np.log10(np.maximum(magnitude / loudest, 10 ** (DEEPEST / 20)))
        right.imshow(
            decibels.T,
            origin="lower",
            aspect="auto",
            extent=(0, seconds, 0, rate / 2000),
            vmin=DEEPEST,
            vmax=0.0,
            cmap="magma",
        )
        right.set(ylabel="kHz")
        for time, text in audio.markers:
            left.axvline(time, color="black", linestyle="--", linewidth=1.2)
            right.axvline(time, color="white", linestyle="--", linewidth=1.2)
            left.annotate(text, (time, 0.8), (4, 0), textcoords="offset points", fontsize=8)
    for axes in rows[-1]:
        axes.set_xlabel("seconds")
    figure.tight_layout()
    return figure


def _spectrogram(mono):
    """Returns magnitudes (frames, frequencies) of samples (T,)."""
    import numpy as np

    padded = np.pad(mono, (SPECTRUM // 2, SPECTRUM))
    frames = np.lib.stride_tricks.sliding_window_view(padded, SPECTRUM)[::SPECTRUM_HOP]
    return np.abs(np.fft.rfft(frames * np.hanning(SPECTRUM), axis=1))


def png_bytes(figure) -> bytes:
    """Returns a matplotlib figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()

"""Pictures of music."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from magenta_lite.converters.drum_classes import drum_name
from magenta_lite.converters.grid import step_at, tempo_map
from magenta_lite.converters.writing import markers
from magenta_lite.midi import Track, length_of, tracks_of
from magenta_lite.typing import NoteSequence

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

WIDTH = (6.0, 30.0)  # inches of a piano roll
BEATS_RULED = 16  # largest number of bars with lines for beats
BARS_PER_INCH = 2.5  # largest density of numbered bars
MOST_NAMED = 16  # instruments in a legend


def piano_roll(sequence: NoteSequence, title: str = "") -> Figure:
    """Draws the notes of one NoteSequence; see `piano_rolls`."""
    return piano_rolls([sequence], [title])


def piano_rolls(sequences: Sequence, titles: Sequence[str]) -> Figure:
    """Draws the notes of NoteSequences as bars over time, one piece below the other.

    Louder notes are darker, and each instrument has a colour. Drums have separate, named rows.
    Markers (see `converters.writing.add_marker`) are dashed lines; chord symbols are above.

    Args:
        sequences: At least one NoteSequence.
        titles: Title of each piece.

    Returns:
        A matplotlib Figure: pitch on the y-axis; on the x-axis quarter notes, with numbered bars,
        if all pieces have a time signature, otherwise seconds.
    """
    from matplotlib.figure import Figure  # unlike pyplot, needs no screen and has no global state

    pieces = [tracks_of(sequence) for sequence in sequences]
    metrical = all(sequence.time_signatures for sequence in sequences)
    axes_of_time = [_TimeAxis(sequence, metrical) for sequence in sequences]
    end = max(axis.end for axis in axes_of_time)
    everything = [(t.is_drum, n.pitch) for piece in pieces for t in piece for n in t.notes]
    drums = sorted({pitch for is_drum, pitch in everything if is_drum})
    pitches = [pitch for is_drum, pitch in everything if not is_drum] or [60]
    low, high = min(pitches) - 2, max(pitches) + 2

    # Index of the piece, whether the panel shows drums, height in inches.
    panels: list[tuple[int, bool, float]] = []
    small = len(sequences) > 1
    tall = max(1.3, 0.06 * (high - low)) if small else max(2.5, 0.12 * (high - low))
    flat = max(0.7, (0.14 if small else 0.22) * len(drums))
    for i, piece in enumerate(pieces):
        kinds = {track.is_drum for track in piece if track.notes} or {False}
        panels += [(i, is_drum, flat if is_drum else tall) for is_drum in sorted(kinds)]
    heights = [height for *_, height in panels]
    width = min(max(WIDTH[0], (0.6 if metrical else 1.2) * end), WIDTH[1])
    figure = Figure(figsize=(width, sum(heights) + 0.25 * len(panels) + 0.5), dpi=100)
    grid = {"height_ratios": heights}
    rows = figure.subplots(len(panels), sharex=True, squeeze=False, gridspec_kw=grid)[:, 0]

    colors = _colors(pieces)
    for axes, (i, is_drum, _) in zip(rows, panels, strict=True):
        if is_drum:
            places = {pitch: row for row, pitch in enumerate(drums)}
            axes.set_yticks(range(len(drums)), map(drum_name, drums), fontsize=8)
            axes.set_ylim(-0.7, len(drums) - 0.3)
        else:
            places = {pitch: pitch for pitch in pitches}
            octaves = [pitch for pitch in range(low, high + 1) if pitch % 12 == 0]
            axes.set_yticks(octaves, [f"C{pitch // 12 - 1}" for pitch in octaves])
            axes.set(ylim=(low, high), ylabel="pitch")
        tracks = [track for track in pieces[i] if track.is_drum == is_drum]
        _draw_notes(axes, tracks, axes_of_time[i], places, colors)
        axes_of_time[i].rule(axes)
        axes.set_xlim(0, end)
        for time, _ in markers(sequences[i]):
            axes.axvline(axes_of_time[i](time), color="black", linestyle="--", linewidth=1.2)
    for i, title in enumerate(titles):
        top = rows[[piece for piece, *_ in panels].index(i)]
        _write_above(top, sequences[i], axes_of_time[i], title)
    if any(not track.is_drum for piece in pieces for track in piece):
        _name_instruments(rows[0], colors)
    rows[-1].set_xlabel("bar" if metrical else "seconds")
    figure.tight_layout()
    return figure


class _TimeAxis:
    """Maps the times of a piece to x-coordinates.

    Args:
        sequence: A NoteSequence.
        metrical: Whether coordinates are quarter notes, with bar lines, instead of seconds.

    Attributes:
        end: Right end of the x-axis, the end of a bar if there are bars.
    """

    def __init__(self, sequence, metrical: bool):
        self._tempos = None
        self._bars, self._beats = [], []
        self.end = max(length_of(sequence), 1.0)
        if not metrical:
            return
        self._tempos = tempo_map(sequence, 1) or tempo_map(type(sequence)(), 1)
        length = self(self.end)
        meters = sorted(sequence.time_signatures, key=lambda meter: meter.time)
        starts = [0.0, *(self(meter.time) for meter in meters[1:]), length]
        for meter, (now, following) in zip(meters, itertools.pairwise(starts), strict=True):
            beat = 4 / max(meter.denominator, 1)
            while now < min(following, length) - 1e-3:
                self._bars.append(now)
                beats = max(meter.numerator, 1)
                self._beats += [now + i * beat for i in range(beats)]
                now += beats * beat
                self.end = now

    def __call__(self, seconds: float) -> float:
        """Returns the x-coordinate of a time."""
        return seconds if self._tempos is None else step_at(self._tempos, seconds)

    def rule(self, axes) -> None:
        """Draws vertical lines, and the labels of bars or seconds."""
        if self._tempos is None:
            axes.grid(axis="x", color="0.85", linewidth=0.8)
            axes.set_axisbelow(True)
            return
        inside = {"transform": axes.get_xaxis_transform(), "zorder": 0}
        if len(self._bars) <= BEATS_RULED:
            axes.vlines(self._beats, 0, 1, "0.9", linewidth=0.6, **inside)
        axes.vlines(self._bars, 0, 1, "0.65", linewidth=0.8, **inside)
        every = max(1, round(len(self._bars) / (BARS_PER_INCH * axes.figure.get_figwidth())))
        numbered = range(0, len(self._bars), every)
        axes.set_xticks([self._bars[i] for i in numbered], [str(i + 1) for i in numbered])


def _draw_notes(axes, tracks: Sequence[Track], at: _TimeAxis, places: dict, colors: dict) -> None:
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba

    corners, faces = [], []
    for track in tracks:
        for note in track.notes:
            left, right = at(note.start_time), at(note.end_time)
            low, high = places[note.pitch] - 0.45, places[note.pitch] + 0.45
            corners.append([(left, low), (right, low), (right, high), (left, high)])
            faces.append(to_rgba(colors[_legend_name(track)], 0.3 + 0.7 * note.velocity / 127))
    # One collection, because long pieces have thousands of notes.
    edge = (0.0, 0.0, 0.0, 0.6)
    axes.add_collection(PolyCollection(corners, facecolors=faces, edgecolors=edge, linewidths=0.4))


def _legend_name(track: Track) -> str:
    """Returns the name of a track, with its instrument unless one contains the other."""
    if track.name.lower() in track.instrument.lower():
        return track.instrument
    if track.name.startswith(track.instrument):  # numbered
        return track.name
    return f"{track.name}: {track.instrument}"


def _colors(pieces: Sequence[Sequence[Track]]) -> dict[str, str]:
    """Returns a colour for each instrument, the same in all pieces."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    names = dict.fromkeys(_legend_name(track) for piece in pieces for track in piece)
    colormap: Any = colormaps["tab10" if len(names) <= 10 else "tab20"]
    palette = colormap.colors
    return {name: to_hex(palette[i % len(palette)]) for i, name in enumerate(names)}


def _name_instruments(axes, colors: dict[str, str]) -> None:
    from matplotlib.patches import Patch

    names = list(colors)[:MOST_NAMED]
    handles = [Patch(color=colors[name], label=name) for name in names]
    if len(colors) > len(names):
        handles.append(Patch(alpha=0, label=f"and {len(colors) - len(names)} more"))
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, frameon=False)


def _write_above(axes, sequence, at: _TimeAxis, title: str) -> None:
    """Writes the title, the chord symbols and the markers."""
    above = {"xycoords": axes.get_xaxis_transform(), "textcoords": "offset points"}
    chords = [n for n in sequence.text_annotations if n.annotation_type == n.CHORD_SYMBOL]
    for chord in chords:
        axes.annotate(chord.text, (at(chord.time), 1), (2, 3), fontsize=8, color="0.3", **above)
    for time, text in markers(sequence):
        axes.annotate(text, (at(time), 1), (4, -11), fontsize=9, style="italic", **above)
    axes.set_title(title, fontsize=9, pad=16 if chords else 6)


def scatter(
    places: np.ndarray, groups: np.ndarray, labels: Sequence[str], title: str = ""
) -> Figure:
    """Draws points (N, 2) in the colours of their groups, indices int (N,) into `labels`."""
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


SPECTRUM, SPECTRUM_HOP = 1024, 256  # window and hop length of a spectrogram in samples
DEEPEST = -80.0  # dB, relative to the largest magnitude


def sounds(audios: Sequence, titles: Sequence[str]) -> Figure:
    """Draws the waveform and the spectrogram of each sound, one sound below the other.

    The mean of several channels is drawn. Spectrograms show decibels relative to the largest
    magnitude of the first sound. Dashed lines are markers.

    Args:
        audios: `converters.audio.Audio`s.
        titles: Title of each sound.
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
        look = {"vmin": DEEPEST, "vmax": 0.0, "cmap": "magma", "aspect": "auto"}
        right.imshow(decibels.T, origin="lower", extent=(0, seconds, 0, rate / 2000), **look)
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
    """Returns the magnitude spectrogram (frames, frequencies) of samples (T,)."""
    import numpy as np

    padded = np.pad(mono, (SPECTRUM // 2, SPECTRUM))
    frames = np.lib.stride_tricks.sliding_window_view(padded, SPECTRUM)[::SPECTRUM_HOP]
    return np.abs(np.fft.rfft(frames * np.hanning(SPECTRUM), axis=1))


def png_bytes(figure: Figure) -> bytes:
    """Returns a matplotlib figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()

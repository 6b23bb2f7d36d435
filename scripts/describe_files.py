"""Describes MIDI and sound files in a Markdown table.

python scripts/describe_files.py generated/*.mid generated/*.wav

MIDI: notes, seconds, instruments. Sound: seconds, channels, peak, RMS level, frequency range.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import soundfile
from symusic import Score


def described(path: Path) -> str:
    """Returns the description of a file."""
    return of_sound(path) if path.suffix == ".wav" else of_midi(path)


def of_midi(path: Path) -> str:
    score = Score(path, ttype="second")
    notes = sum(len(track.notes) for track in score.tracks)
    names = [track.name or f"program {track.program}" for track in score.tracks if track.notes]
    parts = [f"{notes} notes", f"{score.end():.1f} s", ", ".join(names)]
    markers = [f"{marker.text} at {marker.time:.1f} s" for marker in score.markers]
    return "; ".join(parts + markers)


def of_sound(path: Path) -> str:
    samples, rate = soundfile.read(path, always_2d=True)
    if not np.isfinite(samples).all():
        return "not finite"
    peak, rms = np.abs(samples).max(), np.sqrt((samples**2).mean())
    energy = np.abs(np.fft.rfft(samples.mean(axis=1))) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / rate)
    below = np.cumsum(energy) / max(energy.sum(), 1e-12)
    low, high = (hertz[np.searchsorted(below, share)] for share in (0.05, 0.95))
    level = f"{20 * np.log10(max(rms, 1e-6)):.0f} dB"
    return (
        f"{len(samples) / rate:.1f} s, {samples.shape[1]} channels at {rate} Hz, "
        f"peak {peak:.2f}, RMS {level}, nine tenths of the energy from {low:,.0f} to {high:,.0f} Hz"
    )


def main() -> None:
    print("| file | what is in it |\n|---|---|")
    for path in map(Path, sys.argv[1:]):
        print(f"| `{path}` | {described(path)} |")


if __name__ == "__main__":
    main()

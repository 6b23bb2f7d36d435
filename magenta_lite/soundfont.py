"""Synthesis of notes with a General MIDI soundfont."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import itertools
import math
import os
import sys
from pathlib import Path

import numpy as np

from magenta_lite.converters.audio import Audio
from magenta_lite.errors import UserError
from magenta_lite.midi import (
    DEFAULT_VOLUME,
    HIGHEST,
    VOLUME,
    Track,
    groups_of,
    length_of,
    midi_bytes,
    tracks_of,
)
from magenta_lite.plain_tones import SHORTEST, PlainTones
from magenta_lite.typing import NoteSequence

VARIABLE = "MAGENTA_LITE_SOUNDFONT"
INCLUDED = "TimGM6mb.sf2"  # comes with pretty_midi

# The renderer clips to 16 bits: channel volumes are tried from loud to soft until the peak is below
# `CLIPPED`.
VOLUMES = (HIGHEST, DEFAULT_VOLUME, 50, 25, 13)
CLIPPED = 0.999
LOUD = 80  # velocity to which the loudest note of a soft piece is raised

# The renderer has 64 voices; a note may need two, also during its release.
NOTES_AT_ONCE = 24

TAIL = 5.0  # seconds for the decay of the last notes
INAUDIBLE = 1e-3  # of the peak; the end of the tail below it is cut off
FADE = 0.05  # seconds


class RenderError(Exception):
    """A soundfont cannot be read, or cannot render a piece; the message is the reason."""


class SoundFont:
    """An SF2 soundfont in memory.

    Raises:
        RenderError: If it cannot be read, or the renderer is not installed.
    """

    def __init__(self, path: Path):
        try:
            import midirenderer

            self._render, self._data = midirenderer.render_wave_from, path.read_bytes()
        except ImportError as error:
            raise RenderError("midirenderer is missing (pip install midirenderer)") from error
        except OSError as error:
            raise RenderError(error.strerror or str(error)) from error
        self.path = path
        self._samples(midi_bytes(_two_notes()))

    def play(self, sequence: NoteSequence) -> Audio:
        """Returns the sound of a NoteSequence, with its control changes and pitch bends.

        It is stereo at 48 kHz, lasts until the last note has decayed, and is not normalised.

        Raises:
            RenderError: If the renderer fails.
        """
        groups = [layer for group in groups_of(tracks_of(sequence)) for layer in _layers(group)]
        samples, rate = self._group(sequence, groups[0])
        for group in groups[1:]:
            more, _ = self._group(sequence, group)
            # The renderer accumulates the times of events, so that lengths may differ by a sample.
            samples = samples[: len(more)]
            samples += more[: len(samples)]
        end = round(max(length_of(sequence), SHORTEST) * rate)
        return Audio(_ended(samples, end, rate), rate)

    def _group(self, sequence, tracks: list[Track]) -> tuple[np.ndarray, int]:
        """Returns samples float32 (T, 2) of the tracks of one port, and their sample rate."""
        sets_volume = any(c.control_number == VOLUME for track in tracks for c in track.controls)
        # Very soft music would lose precision in 16 bits.
        loudest = max((note.velocity for note in sequence.notes), default=LOUD)
        velocity = max(LOUD / max(loudest, 1), 1.0)
        for volume in VOLUMES[sets_volume:]:  # volumes set by the piece cannot be raised
            share = volume / DEFAULT_VOLUME
            tail = TAIL + SHORTEST
            midi = midi_bytes(sequence, "", (), tracks, tail, volume=share, velocity=velocity)
            samples, rate = self._samples(midi)
            if _peak(samples) < CLIPPED:
                break
        np.divide(samples, np.float32(share**2), out=samples)  # gain = volume squared
        return samples, rate

    def _samples(self, midi: bytes) -> tuple[np.ndarray, int]:
        """Renders a MIDI file; returns samples float32 (T, 2) and their sample rate."""
        import soundfile

        try:
            wave = self._render(self._data, midi)
        except RuntimeError as error:
            raise RenderError(str(error)) from error
        except BaseException as error:
            # A panic of the renderer, which is written in Rust, is not an `Exception`.
            if type(error).__name__ != "PanicException":
                raise
            raise RenderError(f"the renderer failed: {error}") from error
        return soundfile.read(io.BytesIO(wave), dtype="float32", always_2d=True)


def open_soundfont(path: str = "") -> SoundFont | PlainTones:
    """Opens the soundfont of `path`, of the environment variable `VARIABLE`, or of pretty_midi.

    Returns:
        A `SoundFont`; `PlainTones`, with a message on standard error, if no soundfont was given and
        the included one cannot be used.

    Raises:
        UserError: If the given soundfont does not exist or cannot be used.
    """
    for name, given in (("--soundfont", path), (VARIABLE, os.environ.get(VARIABLE, ""))):
        if given:
            try:
                return SoundFont(Path(given).expanduser())
            except RenderError as error:
                raise UserError(
                    f"{name}={given} cannot be used: {error}; give a SoundFont 2 file (.sf2), or "
                    "leave it out for the one that comes with pretty_midi"
                ) from error
    try:
        return SoundFont(_included())
    except RenderError as error:
        print(
            f"No soundfont: {error}. The sound is made of plain tones; give one with "
            "--soundfont=FILE.sf2",
            file=sys.stderr,
        )
        return PlainTones()


def _included() -> Path:
    """Returns the path of pretty_midi's soundfont without importing pretty_midi."""
    spec = importlib.util.find_spec("pretty_midi")
    if spec is None or spec.origin is None:
        raise RenderError("pretty_midi is missing (pip install pretty_midi)")
    path = Path(spec.origin).parent / INCLUDED
    if not path.is_file():
        raise RenderError(f"pretty_midi came without {INCLUDED}")
    return path


def _layers(tracks: list[Track]) -> list[list[Track]]:
    """Splits tracks into layers with at most `NOTES_AT_ONCE` simultaneous notes each."""
    notes = [note for track in tracks for note in track.notes]
    changes = sorted(
        [(note.end_time, -1) for note in notes] + [(note.start_time, 1) for note in notes]
    )
    most = max(itertools.accumulate(change for _, change in changes), default=0)
    count = max(math.ceil(most / NOTES_AT_ONCE), 1)
    if count == 1:
        return [tracks]
    ordered = [(track, sorted(track.notes, key=lambda note: note.start_time)) for track in tracks]
    return [
        [dataclasses.replace(track, notes=notes[i::count]) for track, notes in ordered]
        for i in range(count)
    ]


def _ended(samples: np.ndarray, end: int, rate: int) -> np.ndarray:
    """Returns samples (T, 2) faded out, without the silence after `end`, the last note's end."""
    loudest = _peak(samples)
    loud = np.flatnonzero(np.abs(samples[end:]).max(axis=1, initial=0) > INAUDIBLE * loudest)
    fade = round(FADE * rate)
    samples = samples[: end + (loud[-1] if len(loud) else 0) + fade]
    fade = min(fade, len(samples))
    samples[len(samples) - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None]
    return samples


def _peak(samples: np.ndarray) -> float:
    return float(max(samples.max(initial=0), -samples.min(initial=0)))


def _two_notes():
    """Returns a NoteSequence of a note and a drum, to test a soundfont."""
    from note_seq.protobuf import music_pb2

    sequence = music_pb2.NoteSequence()
    sequence.notes.add(pitch=60, velocity=80, end_time=0.1)
    sequence.notes.add(pitch=36, velocity=80, end_time=0.1, is_drum=True)
    return sequence

"""Synthesis without a soundfont: notes as sums of partials, drums as decaying tones and noise."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from magenta_lite.converters import drum_classes
from magenta_lite.converters.audio import Audio
from magenta_lite.converters.pedal import with_sustain
from magenta_lite.data.synthetic.synthesis import (
    FIDDLE,
    FLUTE,
    HARP,
    LUTE,
    ORGAN,
    PIANO,
    REED,
    Tone,
    synthesize,
    voice,
)
from magenta_lite.typing import NoteSequence

SAMPLE_RATE = 44_100  # Hz
SHORTEST = 0.5  # seconds, the minimum length of the sound

# For the 16 families of General MIDI, eight programs each.
TIMBRES = (
    *(PIANO, HARP, ORGAN, LUTE, LUTE, FIDDLE, voice("a"), REED),
    *(REED, FLUTE, ORGAN, ORGAN, ORGAN, LUTE, HARP, HARP),
)


class Drum(NamedTuple):
    """A drum: frequency in Hz, 0 for no tone; level of the noise; time constant in seconds."""

    tone: float
    noise: float
    decay: float


# In the order of `drum_classes.REDUCED`: kick, snare, hi-hats, toms from low to high, crash, ride.
KIT = (
    Drum(55, 0.0, 0.1),
    Drum(190, 0.5, 0.08),
    Drum(0, 0.4, 0.03),
    Drum(0, 0.4, 0.2),
    Drum(90, 0.03, 0.15),
    Drum(120, 0.03, 0.15),
    Drum(160, 0.03, 0.15),
    Drum(0, 0.5, 0.5),
    Drum(0, 0.25, 0.4),
)
OTHER = KIT[1]


class PlainTones:
    """Plays NoteSequences without a soundfont."""

    def play(self, sequence: NoteSequence) -> Audio:
        """Returns the sound of a NoteSequence, with the sustain pedal applied.

        It is mono at 44.1 kHz, lasts until the last note has decayed, and is not normalised.
        """
        tones, hits = [], []
        for note in with_sustain(sequence).notes:
            level = (note.velocity / 127) ** 1.5
            if note.is_drum:
                hits.append((note.start_time, _of_pitch(note.pitch), level))
            else:
                timbre = TIMBRES[min(max(note.program, 0), 127) // 8]
                tones.append(Tone(note.start_time, note.end_time, note.pitch, level, timbre))
        length = max([SHORTEST, sequence.total_time, *(hit[0] + _length(hit[1]) for hit in hits)])
        samples = np.zeros(round(length * SAMPLE_RATE), np.float32)
        if tones:
            melodic = synthesize(tones, SAMPLE_RATE)
            samples = np.pad(samples, (0, max(len(melodic) - len(samples), 0)))
            samples[: len(melodic)] += melodic
        for start, drum, level in hits:
            at, wave = round(start * SAMPLE_RATE), _wave(drum)
            samples[at : at + len(wave)] += np.float32(level) * wave[: len(samples) - at]
        return Audio(samples[:, None], SAMPLE_RATE)


def _of_pitch(pitch: int) -> Drum:
    number = drum_classes.class_of_pitch(drum_classes.REDUCED).get(pitch)
    return OTHER if number is None else KIT[number]


def _length(drum: Drum) -> float:
    return 7 * drum.decay  # decay by 60 dB


@functools.cache
def _wave(drum: Drum) -> np.ndarray:
    """Returns the waveform of a stroke, float32 (T,)."""
    time = np.arange(round(_length(drum) * SAMPLE_RATE)) / SAMPLE_RATE
    noise = np.random.default_rng(0).standard_normal(len(time) + 2)
    wave = np.sin(2 * np.pi * drum.tone * time)
    wave += drum.noise * np.diff(noise, 2)  # the second difference is mostly above 5 kHz
    return (wave * np.exp(-time / drum.decay)).astype(np.float32)

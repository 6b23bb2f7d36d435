"""Additive synthesis in NumPy: struck and plucked strings, pipes, and a choir that sings vowels.

Deterministic up to rounding differences between machines. The tones of a pitch and timbre are
excerpts of the longest one, which is synthesized once.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MIDDLE_C = 261.63  # Hz
HIGHEST = 0.45  # of the sample rate; higher partials are omitted to avoid aliasing
VIBRATO_RATE = 5.5  # Hz
STROKE = 0.012  # time constant of the attack noise in seconds


@dataclasses.dataclass(frozen=True)
class Timbre:
    """Parameters of an instrument's sound.

    Attributes:
        partials: Largest number of partials; partial h has h times the fundamental frequency.
        slope: Partial h has the amplitude h ** -slope.
        even: Relative amplitude of even partials.
        decay: Time constant of the decay of middle C in seconds, longer for lower pitches; 0 for a
            sustained tone.
        damping: Additional decay rate of each higher partial.
        attack: Attack time in seconds.
        release: Release time in seconds.
        noise: Level of the noise at the attack.
        vibrato: Depth of the vibrato in semitones.
        formants: (frequency in Hz, width in Hz, gain) of resonances that amplify partials.
    """

    partials: int = 12
    slope: float = 1.0
    even: float = 1.0
    decay: float = 0.0
    damping: float = 0.15
    attack: float = 0.004
    release: float = 0.08
    noise: float = 0.0
    vibrato: float = 0.0
    formants: tuple[tuple[float, float, float], ...] = ()


PIANO = Timbre(16, slope=1.3, decay=1.2, damping=0.2, release=0.12, noise=0.15)
HARP = Timbre(10, slope=1.6, decay=0.7, damping=0.5, release=0.4, noise=0.05)
LUTE = Timbre(20, slope=0.9, decay=0.35, damping=0.3, release=0.1, noise=0.3)
ORGAN = Timbre(8, slope=0.8, even=0.7, attack=0.02, release=0.1, noise=0.05)
FLUTE = Timbre(5, slope=1.8, attack=0.05, release=0.08, noise=0.1, vibrato=0.12)
REED = Timbre(14, slope=0.8, even=0.15, attack=0.025, release=0.06, vibrato=0.05)
FIDDLE = Timbre(
    20,
    slope=1.0,
    attack=0.05,
    release=0.1,
    noise=0.1,
    vibrato=0.15,
    formants=((300, 200, 1.0), (700, 300, 0.8), (2800, 900, 1.0)),
)

# The first two formants of vowels in Hz, rounded from Peterson and Barney (1952).
VOWELS = {
    "a": (730, 1150),
    "e": (450, 1900),
    "i": (290, 2300),
    "o": (480, 850),
    "u": (320, 800),
    "ä": (600, 1750),
    "ö": (430, 1500),
    "ü": (300, 1750),
    "y": (300, 1750),
}
HISSING = "cfhkpqstvxzß"  # unvoiced consonants


class Tone(NamedTuple):
    """A tone: times in seconds, MIDI pitch, level from 0 to 1."""

    start: float
    end: float
    pitch: int
    level: float
    timbre: Timbre


@functools.lru_cache(maxsize=64)
def voice(syllable: str) -> Timbre:
    """Returns the timbre of a choir that sings a syllable.

    The formants are those of its first vowel (`a` without a vowel); an unvoiced consonant at the
    beginning adds noise.
    """
    letters = syllable.lower()
    vowel = next((letter for letter in letters if letter in VOWELS), "a")
    first, second = VOWELS[vowel]
    return Timbre(
        24,
        slope=0.8,
        attack=0.06,
        release=0.12,
        noise=0.6 if letters[:1] in HISSING and letters else 0.0,
        vibrato=0.2,
        formants=((first, 90, 1.0), (second, 130, 0.5), (2900, 300, 0.25)),
    )


def synthesize(tones: Sequence[Tone], sample_rate: int) -> np.ndarray:
    """Returns the sum of tones, float32 (T,), until the end of the last release.

    Args:
        tones: At least one tone.
        sample_rate: Sample rate in Hz.
    """
    longest: dict[tuple[Timbre, int], float] = {}
    for tone in tones:
        key = tone.timbre, tone.pitch
        longest[key] = max(longest.get(key, 0.0), _seconds(tone))
    waves = {
        (timbre, pitch): wave(timbre, pitch, seconds, sample_rate)
        for (timbre, pitch), seconds in longest.items()
    }
    end = max(tone.start + _seconds(tone) for tone in tones)
    mix = np.zeros(math.ceil(end * sample_rate) + 1, np.float32)
    for tone in tones:
        start, count = round(tone.start * sample_rate), int(_seconds(tone) * sample_rate)
        sound = waves[tone.timbre, tone.pitch][:count] * np.float32(tone.level)
        fading = min(int(tone.timbre.release * sample_rate), count)
        sound[count - fading :] *= _fall(fading)
        mix[start : start + count] += sound[: len(mix) - start]
    return mix


def wave(timbre: Timbre, pitch: int, seconds: float, sample_rate: int) -> np.ndarray:
    """Returns a tone of `seconds` seconds, float32 (T,), normalised to similar loudness."""
    time = np.arange(math.ceil(seconds * sample_rate) + 1) / sample_rate
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    swing = (2 ** (timbre.vibrato / 12) - 1) / (2 * np.pi * VIBRATO_RATE)
    cycles = frequency * (time + swing * (1 - np.cos(2 * np.pi * VIBRATO_RATE * time)))
    # The partials are powers of one phasor, which needs a multiplication instead of a sine for
    # each; its shrinking magnitude damps higher partials more.
    decay = timbre.decay * math.sqrt(MIDDLE_C / frequency)
    shrinking = timbre.damping / decay if decay else 0.0
    phasor = np.exp(2j * np.pi * (cycles % 1) - shrinking * time).astype(np.complex64)
    amplitudes = _amplitudes(timbre, frequency, sample_rate)
    total, power = np.zeros(len(time), np.float32), phasor.copy()
    for amplitude in amplitudes:
        total += amplitude * power.imag
        power *= phasor
    total /= np.float32(np.sqrt(np.sum(np.square(amplitudes))))
    if timbre.noise:
        rng = np.random.default_rng(pitch)
        burst = np.diff(rng.standard_normal(len(time) + 1))  # emphasises high frequencies
        total += np.float32(timbre.noise * burst * np.exp(-time / STROKE))
    if decay:
        total *= np.float32(np.exp(-time / decay))
    rising = min(max(int(timbre.attack * sample_rate), 1), len(total))
    total[:rising] *= _fall(rising)[::-1]
    return total


def _amplitudes(timbre: Timbre, frequency: float, sample_rate: int) -> np.ndarray:
    """Returns the amplitudes of the partials below the frequency limit."""
    count = max(1, min(timbre.partials, int(HIGHEST * sample_rate / frequency)))
    number = np.arange(1, count + 1)
    amplitudes = number**-timbre.slope * np.where(number % 2, 1.0, timbre.even)
    if timbre.formants:
        peaks = (
            gain / (1 + ((number * frequency - centre) / width) ** 2)
            for centre, width, gain in timbre.formants
        )
        amplitudes = amplitudes * (0.02 + sum(peaks))
    return amplitudes.astype(np.float32)


def _seconds(tone: Tone) -> float:
    return tone.end - tone.start + tone.timbre.release


@functools.lru_cache(maxsize=64)
def _fall(count: int) -> np.ndarray:
    """Returns a raised cosine from 1 to 0, float32 (count,)."""
    fall = 0.5 + 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / count)
    return fall.astype(np.float32)

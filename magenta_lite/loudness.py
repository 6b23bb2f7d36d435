"""Brings sound to a common loudness (ITU-R BS.1770-4) without clipping."""

from __future__ import annotations

import numpy as np

from magenta_lite.converters.audio import Audio

CEILING = 10 ** (-1 / 20)  # peak amplitude, -1 dB of full scale
LOUDNESS = -13.0  # LUFS
MOST_LIMITED = 9.0  # dB by which peaks are lowered at most, so that strokes stay strokes
LOOK_AHEAD = 0.003  # seconds
BLOCK = 0.4  # seconds, for which loudness is defined
ROUNDS = 3  # the limiter lowers loudness, too


def levelled(audio: Audio) -> Audio:
    """Returns sound at `LOUDNESS` with peaks of at most `CEILING`; silence stays silence.

    Peaks above are lowered by a limiter, by `MOST_LIMITED` at most: sound of short strokes may stay
    softer.
    """
    samples = np.array(audio.samples, np.float32)
    peak = float(np.abs(samples).max(initial=0.0))
    if not peak:
        return audio
    samples *= np.float32(CEILING / peak)
    rate, gain, result = audio.sample_rate, 1.0, samples
    for _ in range(ROUNDS):
        gain *= 10 ** ((LOUDNESS - loudness(Audio(result, rate))) / 20)
        gain = min(gain, 10 ** (MOST_LIMITED / 20))
        result = limited(samples * np.float32(gain), rate)
    return Audio(result, rate)


def loudness(audio: Audio) -> float:
    """Returns the integrated loudness in LUFS; sound shorter than a block is repeated.

    Sound too soft to be measured counts as very soft.
    """
    import pyloudnorm

    samples = audio.samples
    least = round(BLOCK * audio.sample_rate) + 1
    if len(samples) < least:
        samples = np.tile(samples, (-(-least // max(len(samples), 1)), 1))
    measured = float(pyloudnorm.Meter(audio.sample_rate).integrated_loudness(samples))
    return max(measured, -70.0)  # the absolute threshold of the standard


def limited(samples: np.ndarray, rate: int) -> np.ndarray:
    """Returns samples (T, C) whose peaks are lowered to `CEILING`, both channels alike.

    The gain falls and rises smoothly within `LOOK_AHEAD` around a peak.
    """
    from scipy import ndimage

    peaks = np.abs(samples).max(axis=1)
    if peaks.max(initial=0.0) <= CEILING:
        return samples
    size = 2 * round(LOOK_AHEAD * rate) + 1
    needed = np.minimum(CEILING / np.maximum(peaks, 1e-9), 1.0)
    # A mean of gains, each of which is low enough for the sample in the middle, is low enough, too.
    lowest = ndimage.minimum_filter1d(needed, size, mode="nearest")
    gain = ndimage.uniform_filter1d(lowest, size, mode="nearest")
    return samples * np.minimum(gain, needed)[:, None].astype(np.float32)

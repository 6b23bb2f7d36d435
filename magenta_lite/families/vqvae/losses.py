"""How far a sound is from another: spectra, samples, and what is usual in some data.

Jukebox (Dhariwal et al. 2020, https://arxiv.org/abs/2005.00341, §3 and appendix B.1). Shape
letters: B clips, T samples, C channels, S frames of a spectrum, F frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from magenta_lite.typing import Tensor

QUIET = 2e-3  # clips whose spectrum has a smaller norm have no spectral convergence
SMALLEST = 1e-10  # of a norm that has a gradient
MEL_FLOOR = 1e-5  # magnitudes are not told apart below
MEL_LOWEST = 20.0  # Hz
FFT_PER_MEL = 16  # an FFT of n samples is looked at in n / 16 bands


class Bandwidth(NamedTuple):
    """What differences are divided by.

    Attributes:
        l1: Mean size of a sample.
        l2: Variance of samples.
        spectrum: Mean norm of a clip's spectrum.
    """

    l1: float
    l2: float
    spectrum: float


def spectrum(sound: Tensor, resolution: Sequence[int]) -> Tensor:
    """Returns magnitudes, float32 (B, S, F), of the mean of all channels.

    Frame s is centred at s hops; the sound is mirrored at its ends. The window is a periodic Hann
    window; magnitudes are linear and have no factor.

    Args:
        sound: Float32 (B, T, C), T more than half an FFT.
        resolution: FFT size, hop and window in samples.
    """
    size, hop, window = resolution
    mono = tf.reduce_mean(sound, axis=2)
    mirrored = tf.pad(mono, [[0, 0], [size // 2, size // 2]], "REFLECT")
    # The window stands in the middle of the FFT; what is beside it is multiplied by 0.
    begin = (size - window) // 2
    frames = tf.signal.stft(mirrored[:, begin:], window, hop, size)
    return tf.abs(frames[:, : 1 + sound.shape[1] // hop])


def distance(x: Tensor, y: Tensor) -> Tensor:
    """Returns the norms (B,) of the differences of two spectra (B, S, F)."""
    return _norm(x - y)


def convergence(x: Tensor, y: Tensor) -> Tensor:
    """Returns the distances (B,) of y from x, spectra (B, S, F), relative to x; 0 if x is quiet."""
    norm = _norm(x)
    return tf.where(norm > QUIET, distance(x, y) / tf.maximum(norm, QUIET), 0.0)


def _norm(x):
    # The gradient of a root at 0 is infinite.
    return tf.sqrt(tf.maximum(tf.reduce_sum(tf.square(x), axis=[1, 2]), SMALLEST**2))


def largest_squares(x: Tensor, y: Tensor, count: int) -> Tensor:
    """Returns the means (B,) of the `count` largest squared differences of sounds (B, T, C)."""
    squares = tf.reshape(tf.square(x - y), [-1, x.shape[1] * x.shape[2]])
    largest = tf.math.top_k(squares, min(count, squares.shape[1]), sorted=False).values
    return tf.reduce_mean(largest, axis=1)


def log_mel_distance(x: Tensor, y: Tensor, sample_rate: int) -> Tensor:
    """Returns the mean differences (B,), in nats, of magnitudes in mel bands.

    After Kumar et al. (2023), https://arxiv.org/abs/2306.06546, §3.4.

    Args:
        x: Spectra (B, S, F).
        y: Likewise.
        sample_rate: In Hz.
    """
    frequencies = x.shape[2]
    bands = tf.signal.linear_to_mel_weight_matrix(
        2 * (frequencies - 1) // FFT_PER_MEL,
        frequencies,
        sample_rate,
        MEL_LOWEST,
        sample_rate / 2,
    )

    def log_mel(spectra):
        flat = tf.reshape(spectra, [-1, frequencies]) @ bands
        mel = tf.reshape(flat, [-1, spectra.shape[1], flat.shape[1]])
        return tf.math.log(tf.maximum(mel, MEL_FLOOR))

    return tf.reduce_mean(tf.abs(log_mel(x) - log_mel(y)), axis=[1, 2])


def si_sdr(x: Tensor, y: Tensor) -> Tensor:
    """Returns how far y is from a multiple of x, both (B, T, C): decibels (B,).

    The scale-invariant signal-to-distortion ratio (Le Roux et al. 2019,
    https://arxiv.org/abs/1811.02508); between -100 and 100.
    """

    def summed(values):
        return tf.reduce_sum(values, axis=[1, 2], keepdims=True)

    target = x * summed(x * y) / tf.maximum(summed(tf.square(x)), SMALLEST)
    signal, distortion = summed(tf.square(target)), summed(tf.square(target - y))
    share = tf.maximum(signal, 1e-20) / tf.maximum(distortion, 1e-20)
    decibels = 10 / math.log(10) * tf.math.log(share)
    return tf.clip_by_value(tf.reshape(decibels, [-1]), -100.0, 100.0)


def bandwidth(clips: np.ndarray, resolution: Sequence[int]) -> Bandwidth:
    """Measures clips.

    Args:
        clips: Float (N, T, C).
        resolution: Of their spectra: FFT size, hop and window in samples.
    """
    # Sums of many small numbers: in double precision.
    samples = clips.astype(np.float64)
    norms = [
        float(tf.norm(spectrum(tf.constant(clip[None], tf.float32), resolution))) for clip in clips
    ]
    return Bandwidth(float(np.mean(np.abs(samples))), float(np.var(samples)), float(np.mean(norms)))


FULL_SCALE = 2**15  # of 16-bit samples


def sound_of(events: Tensor) -> Tensor:
    """Returns sound float32 in [-1, 1) of the same, or of 16-bit integers."""
    events = tf.convert_to_tensor(events)
    if events.dtype.is_integer:
        return tf.cast(events, tf.float32) / FULL_SCALE
    return tf.cast(events, tf.float32)

"""Reconstruction losses of sound, of spectra and of samples, and their normalisation constants.

Jukebox (Dhariwal et al. 2020, https://arxiv.org/abs/2005.00341, §3 and appendix B.1). Shape
letters: B clips, T samples, C channels, S frames of a spectrum, F frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from magenta_lite.converters.audio import FULL_SCALE
from magenta_lite.typing import Tensor

QUIET = 2e-3  # norm of a spectrum below which spectral convergence is 0
SMALLEST = 1e-10  # norm below which there is no gradient
MEL_FLOOR = 1e-5  # lowest magnitude of a mel band
MEL_LOWEST = 20.0  # Hz
FFT_PER_MEL = 16  # FFT size / number of mel bands


class Bandwidth(NamedTuple):
    """Normalisation constants of the losses.

    Attributes:
        l1: Mean absolute value of the samples.
        l2: Variance of the samples.
        spectrum: Mean norm of a clip's spectrum.
    """

    l1: float
    l2: float
    spectrum: float


def spectrum(sound: Tensor, resolution: Sequence[int]) -> Tensor:
    """Returns the magnitude spectrogram, float32 (B, S, F), of the mean of all channels.

    Frame s is centred at s hops, with reflection padding at the ends. The window is a periodic Hann
    window; magnitudes are linear and not scaled.

    Args:
        sound: Float32 (B, T, C), T more than half the FFT size.
        resolution: FFT size, hop length and window length in samples.
    """
    size, hop, window = resolution
    mono = tf.reduce_mean(sound, axis=2)
    mirrored = tf.pad(mono, [[0, 0], [size // 2, size // 2]], "REFLECT")
    # The window is centred in the FFT, with zeros on both sides.
    begin = (size - window) // 2
    frames = tf.signal.stft(mirrored[:, begin:], window, hop, size)
    return tf.abs(frames[:, : 1 + sound.shape[1] // hop])


def distance(x: Tensor, y: Tensor) -> Tensor:
    """Returns the norms (B,) of the differences of two spectra (B, S, F)."""
    return _norm(x - y)


def convergence(x: Tensor, y: Tensor) -> Tensor:
    """Returns the spectral convergence (B,) of spectra y to x, both (B, S, F); 0 if x is quiet."""
    norm = _norm(x)
    return tf.where(norm > QUIET, distance(x, y) / tf.maximum(norm, QUIET), 0.0)


def _norm(x):
    # The gradient of the square root at 0 is infinite.
    return tf.sqrt(tf.maximum(tf.reduce_sum(tf.square(x), axis=[1, 2]), SMALLEST**2))


def largest_squares(x: Tensor, y: Tensor, count: int) -> Tensor:
    """Returns the means (B,) of the `count` largest squared differences of sounds (B, T, C)."""
    squares = tf.reshape(tf.square(x - y), [-1, x.shape[1] * x.shape[2]])
    largest = tf.math.top_k(squares, min(count, squares.shape[1]), sorted=False).values
    return tf.reduce_mean(largest, axis=1)


def log_mel_distance(x: Tensor, y: Tensor, sample_rate: int) -> Tensor:
    """Returns the mean absolute differences (B,), in nats, of log magnitudes in mel bands.

    x and y are spectra (B, S, F). Kumar et al. (2023), https://arxiv.org/abs/2306.06546, §3.4.
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
    """Returns the scale-invariant signal-to-distortion ratio of y to x, both (B, T, C): dB (B,).

    Le Roux et al. (2019), https://arxiv.org/abs/1811.02508; clipped to [-100, 100].
    """

    def summed(values):
        return tf.reduce_sum(values, axis=[1, 2], keepdims=True)

    target = x * summed(x * y) / tf.maximum(summed(tf.square(x)), SMALLEST)
    signal, distortion = summed(tf.square(target)), summed(tf.square(target - y))
    share = tf.maximum(signal, 1e-20) / tf.maximum(distortion, 1e-20)
    decibels = 10 / math.log(10) * tf.math.log(share)
    return tf.clip_by_value(tf.reshape(decibels, [-1]), -100.0, 100.0)


def bandwidth(clips: np.ndarray, resolution: Sequence[int]) -> Bandwidth:
    """Returns the normalisation constants of the losses on clips, float (N, T, C).

    The resolution consists of FFT size, hop length and window length of the spectra in samples.
    """
    # Double precision, for sums of many small numbers.
    samples = clips.astype(np.float64)
    norms = [
        float(tf.norm(spectrum(tf.constant(clip[None], tf.float32), resolution))) for clip in clips
    ]
    return Bandwidth(float(np.mean(np.abs(samples))), float(np.var(samples)), float(np.mean(norms)))


def sound_of(events: Tensor) -> Tensor:
    """Returns sound as float32 in [-1, 1), from floats in that range or from 16-bit integers."""
    events = tf.convert_to_tensor(events)
    if events.dtype.is_integer:
        return tf.cast(events, tf.float32) / FULL_SCALE
    return tf.cast(events, tf.float32)

"""Encoding and decoding of sound of any length by windows, equal to a single pass."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow as tf

from magenta_lite.families.vqvae.config import VQVAEConfig
from magenta_lite.families.vqvae.losses import sound_of
from magenta_lite.graphs import graph_function
from magenta_lite.modeling.music_model import fingerprint

if TYPE_CHECKING:
    from magenta_lite.families.vqvae.model import VQVAE

WINDOW = 2**17  # samples that a window contributes at least


class Part(NamedTuple):
    """A window of a sequence, `start` to `stop`; its outputs are kept from `first` to `last`."""

    start: int
    stop: int
    first: int
    last: int


def margin(sizes: VQVAEConfig, level: int) -> int:
    """Returns the receptive field of a level to each side, in samples.

    Encoder and decoder have the same. Rounded up to a multiple of all hop lengths.
    """
    seen, scale = 0, 1
    for down, stride in zip(sizes.downs[: level + 1], sizes.strides, strict=False):
        for _ in range(down):
            seen += stride * scale
            scale *= stride
            seen += scale * sum(sizes.dilations(level))
        seen += 2 * scale
    hop = sizes.hop_lengths[-1]
    return -(-seen // hop) * hop


def parts(length: int, window: int, margin: int) -> Iterator[Part]:
    """Yields windows of a sequence with `margin` samples of context on both sides.

    All have the same length, so that they are traced once; the last one overlaps more.
    """
    whole = window + 2 * margin
    if length <= whole:
        yield Part(0, length, 0, length)
        return
    first = 0
    while first < length:
        start = min(max(first - margin, 0), length - whole)
        stop = start + whole
        last = length if stop == length else stop - margin
        yield Part(start, stop, first, last)
        first = last


class Coder:
    """Encodes whole pieces and decodes their codes.

    Args:
        model: A trained VQ-VAE.

    Attributes:
        sample_rate: Sample rate of the sound in Hz.
    """

    def __init__(self, model: VQVAE):
        self._model = model
        self.sample_rate = model.sample_rate
        sizes = model.sizes
        several = [sizes.quantizers] if sizes.quantizers > 1 else []
        # Of dynamic length: otherwise each length would be traced.
        sound = tf.TensorSpec([1, None, sizes.channels], tf.float32)
        codes = tf.TensorSpec([1, None, *several], tf.int32)

        def of_levels(function, spec):
            compiled = graph_function(input_signature=[spec])
            return [
                compiled(lambda x, level=level: function(x, level)) for level in range(sizes.levels)
            ]

        self._read = of_levels(model.encode_level, sound)
        self._play = of_levels(model.decode, codes)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of the weights."""
        return fingerprint(self._model)

    def encode(self, sound: np.ndarray) -> list[np.ndarray]:
        """Returns the codes of a whole sound: int32 (S,), or (S, N), of each level.

        The sound (T, C), float in [-1, 1) or 16-bit integers, is padded with silence to full codes.
        """
        hops, last = self._model.hop_lengths, self._model.hop_lengths[-1]
        sound = np.pad(sound, [[0, -len(sound) % last], [0, 0]])
        codes = [[] for _ in hops]
        for level, hop in enumerate(hops):
            for part in parts(len(sound), WINDOW, margin(self._model.sizes, level)):
                window = sound_of(sound[None, part.start : part.stop])
                found = self._read[level](window).numpy()[0]
                kept = slice((part.first - part.start) // hop, (part.last - part.start) // hop)
                codes[level].append(found[kept])
        return [np.concatenate(each) for each in codes]

    def decode(self, codes: np.ndarray, level: int) -> np.ndarray:
        """Returns the sound float32 (T, C) of codes (S,), or (S, N), of one level."""
        hop, sounds = self._model.hop_lengths[level], []
        codes = np.asarray(codes, np.int32)
        for part in parts(len(codes) * hop, WINDOW, margin(self._model.sizes, level)):
            window = tf.constant(codes[None, part.start // hop : part.stop // hop])
            heard = self._play[level](window).numpy()[0]
            sounds.append(heard[part.first - part.start : part.last - part.start])
        return np.concatenate(sounds)

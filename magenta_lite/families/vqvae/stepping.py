"""Functions of a VQ-VAE for runtimes without TensorFlow."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from magenta_lite.modeling.step_functions import Function, StepFunctions, spec

if TYPE_CHECKING:
    from magenta_lite.families.vqvae.model import VQVAE


def step_functions(model: VQVAE) -> StepFunctions:
    """Returns the functions of a VQ-VAE, for sounds of the length T of a training example.

    T is about a second if lengths differ.

    - `encode(audio)`: `codes_0`, `codes_1` … int32 (1, S), or (1, S, N) of N quantizers, of each
      level, 0 the finest, for float32 (1, T, C) in [-1, 1].
    - `decode_0(codes)`, `decode_1(codes)` …: `audio` float32 (1, T, C) of the codes of a level,
      not clipped to [-1, 1].
    """
    sizes, hop = model.sizes, model.hop_lengths[-1]
    samples = model.crop or -(-model.sample_rate // hop) * hop
    several = [sizes.quantizers] if sizes.quantizers > 1 else []
    audio = {"audio": spec([1, samples, sizes.channels])}
    functions = {"encode": Function(audio, functools.partial(_encode, model))}
    for level, length in enumerate(model.hop_lengths):
        codes = {"codes": spec([1, samples // length, *several], tf.int32)}
        functions[f"decode_{level}"] = Function(codes, functools.partial(_decode, model, level))
    return StepFunctions(None, functions)


def _encode(model, inputs) -> dict[str, Any]:
    return {f"codes_{i}": codes for i, codes in enumerate(model.encode(inputs["audio"]))}


def _decode(model, level: int, inputs) -> dict[str, Any]:
    return {"audio": model.decode(inputs["codes"], level)}

"""Checkpoints of Jukebox's VQ-VAE: names, sizes, import and export.

A state is a dict of NumPy arrays in PyTorch's order of axes: convolutions (out, in, kernel),
transposed convolutions (in, out, kernel), codebooks (codes, width).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from magenta_lite.checkpoints import checks
from magenta_lite.errors import UserError
from magenta_lite.families.vqvae.config import VQVAEConfig

LICENCE = "The weights of OpenAI's Jukebox are for non-commercial use, and what they write is, too."
# Fields of `VQVAEConfig` that cannot be inferred from a checkpoint.
NOT_IN_SHAPES = (
    "dilation_growth",
    "dilation_cycle",
    "reverse_decoder_dilation",
    "codebook_decay",
    "revival_threshold",
)
CODEBOOK = "bottleneck.level_blocks.{}.k"


def fitted_config(config: Any, converter: Any, state: dict[str, np.ndarray]) -> Any:
    """Returns an `ExperimentConfig` with the model sizes of a checkpoint."""
    del converter
    kept = {name: getattr(config.model, name) for name in NOT_IN_SHAPES}
    model = config_from_state(state, **kept)
    sound = dataclasses.replace(config.converter, channels=model.channels)
    return dataclasses.replace(config, converter=sound, model=model)


def load_weights(model: Any, state: dict[str, np.ndarray]) -> None:
    """Loads a state into a `VQVAE`.

    A state has no moving averages of the codebooks. As in the original, they are initialized as if
    the codes of one example a step were uniformly distributed.

    Raises:
        UserError: If an array is missing, has the wrong shape or does not belong to the model.
    """
    names = _names(model)
    checks.check_names(state, names)
    for name, variable in names.items():
        checks.assign(variable, reversed_axes(state[name]), name)
    for hop, quantizer in zip(model.hop_lengths, model.quantizers, strict=True):
        (codebook,) = quantizer.codebooks
        vectors = codebook.vectors.numpy()
        codebook.begin_with(vectors, model.crop / hop / codebook.codes if model.crop else 1.0)


def state_of(model: Any) -> dict[str, np.ndarray]:
    """Returns the state of a `VQVAE`. Raises: UserError if the original lacks its options."""
    return {name: reversed_axes(weight.numpy()) for name, weight in _names(model).items()}


def reversed_axes(array: np.ndarray) -> np.ndarray:
    """Converts the kernel of a convolution between PyTorch and Keras; keeps other arrays."""
    return array.transpose(2, 1, 0) if array.ndim == 3 else array


def config_from_state(state: dict[str, np.ndarray], **not_in_shapes: Any) -> VQVAEConfig:
    """Returns the config of the VQ-VAE of a state.

    Fields that cannot be inferred (`NOT_IN_SHAPES`) are given; their defaults are the original's.

    Raises:
        UserError: If the state is not that of a VQ-VAE.
    """
    levels = checks.count(state, "encoders.{}.level_blocks.0.model.0.0.weight")
    if not levels or CODEBOOK.format(levels - 1) not in state:
        raise UserError(f"There is no VQ-VAE in a checkpoint of {checks.some(state)}")
    downs, strides, widths, depths = [], [], [], []
    for level in range(levels):
        block = f"encoders.{levels - 1}.level_blocks.{level}.model"
        first = f"encoders.{level}.level_blocks.0.model"
        downs.append(checks.count(state, f"{block}.{{}}.0.weight"))
        strides.append(_shape(state, f"{block}.0.0.weight")[2] // 2)
        widths.append(_shape(state, f"{first}.0.0.weight")[0])
        depths.append(checks.count(state, f"{first}.0.1.model.{{}}.model.1.weight"))
    width, depth = math.gcd(*widths), math.gcd(*depths)
    if [w // width for w in widths] != [d // depth for d in depths]:
        raise UserError(
            f"The levels of the checkpoint have widths {widths} and depths {depths}; both must be "
            "the same multiples of the smallest"
        )
    multipliers = tuple(w // width for w in widths)
    inside, channels = _shape(state, f"{first}.0.1.model.0.model.1.weight")[:2]
    codes, code_width = _shape(state, CODEBOOK.format(0))
    return VQVAEConfig(
        downs=tuple(downs),
        strides=tuple(strides),
        code_width=code_width,
        codes=codes,
        width=width,
        depth=depth,
        multipliers=() if set(multipliers) == {1} else multipliers,
        residual_factor=inside / channels,
        channels=_shape(state, "decoders.0.out.weight")[0],
        **not_in_shapes,
    )


def _names(model: Any) -> dict[str, keras.Variable]:
    """Returns the weights of a `VQVAE` by their original names, in the order of the files."""
    sizes = model.sizes
    if sizes.snake or sizes.factorized_width or sizes.quantizers > 1:
        raise UserError(
            "The original's VQ-VAE has no model.snake, model.factorized_width or "
            "model.quantizers above 1; leave them out"
        )
    names = {}
    for name, layer in _convolutions(model):
        names |= {f"{name}.weight": layer.kernel, f"{name}.bias": layer.bias}
    for level, quantizer in enumerate(model.quantizers):
        names[CODEBOOK.format(level)] = quantizer.codebooks[0].vectors
    return names


def _convolutions(model: Any) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yields the names and the convolutions of a `VQVAE`."""
    for level, encoder in enumerate(model.encoders):
        for b, block in enumerate(encoder.blocks):
            name = f"encoders.{level}.level_blocks.{b}.model"
            for s, shorten in enumerate(block.shorten):
                yield f"{name}.{s}.0", shorten
                yield from _residuals(f"{name}.{s}.1", block.residuals[s])
            yield f"{name}.{len(block.shorten)}", block.leave
    for level, decoder in enumerate(model.decoders):
        for b, block in enumerate(decoder.blocks):
            name = f"decoders.{level}.level_blocks.{b}.model"
            yield f"{name}.0", block.enter
            for s, lengthen in enumerate(block.lengthen):
                yield from _residuals(f"{name}.{s + 1}.0", block.residuals[s])
                yield f"{name}.{s + 1}.1", lengthen
        yield f"decoders.{level}.out", decoder.sound


def _residuals(name: str, residuals) -> Iterator[tuple[str, keras.layers.Layer]]:
    for i, residual in enumerate(residuals):
        yield f"{name}.model.{i}.model.1", residual.dilated
        yield f"{name}.model.{i}.model.3", residual.mixing


def _shape(state: dict[str, np.ndarray], name: str) -> tuple[int, ...]:
    if name not in state:
        raise UserError(f"The checkpoint has no {name}: it is not of a whole VQ-VAE")
    return state[name].shape

"""Encoders and decoders of sound: strided and dilated convolutions, without normalisation.

Jukebox (Dhariwal et al. 2020, https://arxiv.org/abs/2005.00341, §3 and appendix B.1). Each level
has its own encoder and decoder, from and to sound. Convolutions are not causal and padded with
zeros.

Shape letters: B batch, T steps, C channels of the sound, W width, E code width.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from magenta_lite.families.vqvae.config import VQVAEConfig
from magenta_lite.layers.base import Layer
from magenta_lite.typing import Tensor


def convolution(
    owner: keras.layers.Layer,
    name: str,
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int = 1,
    dilation: int = 1,
    transposed: bool = False,
) -> keras.layers.Layer:
    """Returns a built 1D convolution with PyTorch's initial weights, uniform in ±1/√fan-in.

    It has the dtype policy of its `owner`, the layer that it is a part of; `inputs` and `outputs`
    are numbers of channels.
    """
    # The fan-in of a transposed kernel in PyTorch is that of the outputs.
    limit = ((outputs if transposed else inputs) * kernel) ** -0.5
    kind: Any = keras.layers.Conv1DTranspose if transposed else keras.layers.Conv1D
    layer = kind(
        outputs,
        kernel,
        strides=stride,
        padding="same",
        dilation_rate=dilation,
        kernel_initializer=keras.initializers.RandomUniform(-limit, limit),
        bias_initializer=keras.initializers.RandomUniform(-limit, limit),
        name=name,
        dtype=owner.dtype_policy,
    )
    layer.build((None, None, inputs))
    return layer


@keras.saving.register_keras_serializable("magenta_lite.vqvae")
class Snake(Layer):
    """The Snake activation, x + sin²(a·x) / a, for periodic signals (Ziyin et al. 2020).

    https://arxiv.org/abs/2006.08195, equation 3. Maps float (B, T, channels) to the same shape.
    Each channel has its own a, initially 1.
    """

    def __init__(self, channels: int, **kwargs: Any):
        super().__init__(autocast=True, **kwargs)
        self.channels = channels
        self.alpha = self.add_weight(shape=(channels,), initializer="ones", name="alpha")

    def call(self, x: Tensor) -> Tensor:
        alpha: Tensor = keras.ops.cast(self.alpha, x.dtype)
        return x + keras.ops.square(keras.ops.sin(alpha * x)) / (alpha + 1e-9)


@dataclasses.dataclass(frozen=True)
class BlockSizes:
    """Sizes of a level block.

    Attributes:
        outside: Channels on the side of the sound.
        code_width: Channels on the side of the codes.
        width: Channels of the convolutions.
        residual_width: Hidden channels of the residual blocks.
        stages: Number of stages.
        stride: Down- or upsampling factor of a stage.
        dilations: Dilations of the residual blocks of a stage, in order.
        snake: Whether activations are `Snake`, not ReLU.
    """

    outside: int
    code_width: int
    width: int
    residual_width: int
    stages: int
    stride: int
    dilations: tuple[int, ...]
    snake: bool = False


@keras.saving.register_keras_serializable("magenta_lite.vqvae")
class Residual(Layer):
    """x + Conv1(act(Conv3(act(x)))), where Conv3 is dilated, for x float (B, T, W)."""

    def __init__(self, sizes: BlockSizes, dilation: int, **kwargs: Any):
        super().__init__(autocast=True, **kwargs)
        self.sizes = sizes
        self.dilation = dilation
        width, inside = sizes.width, sizes.residual_width
        dtype = self.dtype_policy
        with keras.name_scope(self.name):
            self.activations = [
                Snake(n, name=f"snake_{i}", dtype=dtype) if sizes.snake else keras.ops.relu
                for i, n in enumerate((width, inside))
            ]
            self.dilated = convolution(self, "dilated", width, inside, 3, dilation=dilation)
            self.mixing = convolution(self, "mixing", inside, width, 1)

    def call(self, x: Tensor) -> Tensor:
        before, between = self.activations
        return x + self.mixing(between(self.dilated(before(x))))


class _LevelBlock(Layer):
    """Base class of encoder and decoder blocks: residual blocks in stages."""

    def __init__(self, sizes: BlockSizes, **kwargs: Any):
        super().__init__(autocast=True, **kwargs)
        self.sizes = sizes
        with keras.name_scope(self.name):
            self.residuals = [
                [
                    Residual(sizes, d, name=f"residual_{s}_{i}", dtype=self.dtype_policy)
                    for i, d in enumerate(sizes.dilations)
                ]
                for s in range(sizes.stages)
            ]


@keras.saving.register_keras_serializable("magenta_lite.vqvae")
class EncoderBlock(_LevelBlock):
    """Stages, each a strided convolution and residual blocks; then a convolution to code width.

    Maps float (B, T, outside), T a multiple of stride ** stages, to (B, T / stride ** stages, E).
    """

    def __init__(self, sizes: BlockSizes, **kwargs: Any):
        super().__init__(sizes, **kwargs)
        # The kernel spans two strides and is padded by half a stride at each side, so that every
        # stage divides the length exactly.
        stride, width = sizes.stride, sizes.width
        with keras.name_scope(self.name):
            self.shorten = [
                convolution(self, f"shorten_{s}", inputs, width, 2 * stride, stride)
                for s, inputs in enumerate([sizes.outside, *[width] * (sizes.stages - 1)])
            ]
            self.leave = convolution(self, "leave", width, sizes.code_width, 3)

    def call(self, x: Tensor) -> Tensor:
        for shorten, residuals in zip(self.shorten, self.residuals, strict=True):
            x = shorten(x)
            for residual in residuals:
                x = residual(x)
        return self.leave(x)


@keras.saving.register_keras_serializable("magenta_lite.vqvae")
class DecoderBlock(_LevelBlock):
    """A convolution from code width; then stages, each residual blocks and a transposed one.

    Maps float (B, T, E) to (B, T * stride ** stages, outside).
    """

    def __init__(self, sizes: BlockSizes, **kwargs: Any):
        super().__init__(sizes, **kwargs)
        stride, width = sizes.stride, sizes.width
        with keras.name_scope(self.name):
            self.enter = convolution(self, "enter", sizes.code_width, width, 3)
            self.lengthen = [
                convolution(
                    self, f"lengthen_{s}", width, outputs, 2 * stride, stride, transposed=True
                )
                for s, outputs in enumerate([*[width] * (sizes.stages - 1), sizes.outside])
            ]

    def call(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for residuals, lengthen in zip(self.residuals, self.lengthen, strict=True):
            for residual in residuals:
                x = residual(x)
            x = lengthen(x)
        return x


class _Stack(Layer):
    """Base class of encoders and decoders, which consist of the level blocks 0 to `level`."""

    def __init__(self, config: VQVAEConfig, level: int, **kwargs: Any):
        super().__init__(autocast=True, **kwargs)
        self.config = config
        self.level = level

    def _block_sizes(self, number: int, outside: int, dilations) -> BlockSizes:
        config, width = self.config, self.config.width_of(self.level)
        return BlockSizes(
            outside=outside,
            code_width=config.code_width,
            width=width,
            residual_width=int(config.residual_factor * width),
            stages=config.downs[number],
            stride=config.strides[number],
            dilations=tuple(dilations),
            snake=config.snake,
        )


@keras.saving.register_keras_serializable("magenta_lite.vqvae")
class Encoder(_Stack):
    """The encoder of a level: the encoder blocks 0 to `level` in sequence.

    Maps float (B, T, C) to (B, T / hop length, E).
    """

    def __init__(self, config: VQVAEConfig, level: int, **kwargs: Any):
        super().__init__(config, level, **kwargs)
        dilations = config.dilations(level)
        with keras.name_scope(self.name):
            self.blocks = [
                EncoderBlock(
                    self._block_sizes(b, config.code_width if b else config.channels, dilations),
                    name=f"block_{b}",
                    dtype=self.dtype_policy,
                )
                for b in range(level + 1)
            ]

    def call(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


@keras.saving.register_keras_serializable("magenta_lite.vqvae")
class Decoder(_Stack):
    """The decoder of a level: the decoder blocks `level` to 0 and a convolution.

    Maps float (B, T, E) to (B, T * hop length, C), not clipped to [-1, 1].
    """

    def __init__(self, config: VQVAEConfig, level: int, **kwargs: Any):
        super().__init__(config, level, **kwargs)
        dilations = config.dilations(level)
        if config.reverse_decoder_dilation:
            dilations = dilations[::-1]
        width, dtype = config.code_width, self.dtype_policy
        with keras.name_scope(self.name):
            self.blocks = [
                DecoderBlock(self._block_sizes(b, width, dilations), name=f"block_{b}", dtype=dtype)
                for b in range(level + 1)
            ]
            self.sound = convolution(self, "sound", width, config.channels, 3)

    def call(self, x: Tensor) -> Tensor:
        for block in reversed(self.blocks):
            x = block(x)
        return self.sound(x)

"""Encoders and decoders of sound: strided and dilated convolutions, without normalisation.

Jukebox (Dhariwal et al. 2020, https://arxiv.org/abs/2005.00341, §3 and appendix B.1). Each level
has its own encoder and decoder, from and to sound. Convolutions are not causal and padded with
zeros.

Shape letters: B batch, T steps, C channels of the sound, W width, E code width.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import keras

from magenta_lite.families.vqvae.config import VQVAEConfig
from magenta_lite.typing import Tensor


def convolution(
    kind: type, inputs: int, outputs: int, kernel: int, name: str, **details: Any
) -> keras.layers.Layer:
    """Returns a built convolution with PyTorch's initial weights, uniform in ±1/√fan-in.

    Args:
        kind: `keras.layers.Conv1D` or `Conv1DTranspose`.
        inputs: Input channels.
        outputs: Output channels.
        kernel: Kernel size.
        name: Name of the layer.
        **details: Other arguments of the layer.
    """
    # The fan-in of a transposed kernel in PyTorch is that of the outputs.
    transposed = kind is keras.layers.Conv1DTranspose
    limit = ((outputs if transposed else inputs) * kernel) ** -0.5
    layer = kind(
        outputs,
        kernel,
        padding="same",
        kernel_initializer=keras.initializers.RandomUniform(-limit, limit),
        bias_initializer=keras.initializers.RandomUniform(-limit, limit),
        name=name,
        **details,
    )
    layer.build((None, None, inputs))
    return layer


@keras.saving.register_keras_serializable("magenta_lite")
class Snake(keras.layers.Layer):
    """The Snake activation, x + sin²(a·x) / a, for periodic signals (Ziyin et al. 2020).

    https://arxiv.org/abs/2006.08195, equation 3.

    Args:
        channels: Number of channels, each with its own a, initially 1.

    Call arguments:
        x: Float (B, T, channels).

    Returns:
        Float (B, T, channels).
    """

    def __init__(self, channels: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.channels = channels
        self.alpha = self.add_weight(shape=(channels,), initializer="ones", name="alpha")
        self.built = True

    def call(self, x: Tensor) -> Tensor:
        alpha: Tensor = keras.ops.cast(self.alpha, x.dtype)
        return x + keras.ops.square(keras.ops.sin(alpha * x)) / (alpha + 1e-9)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels}


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


@keras.saving.register_keras_serializable("magenta_lite")
class Residual(keras.layers.Layer):
    """x + Conv1(act(Conv3(act(x)))), where Conv3 is dilated.

    Args:
        sizes: Sizes of its level block; a `BlockSizes` or its dict.
        dilation: Dilation in steps.

    Call arguments:
        x: Float (B, T, W).

    Returns:
        Float (B, T, W).
    """

    def __init__(self, sizes: BlockSizes | dict[str, Any], dilation: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.sizes = BlockSizes(**sizes) if isinstance(sizes, dict) else sizes
        self.dilation = dilation
        width, inside = self.sizes.width, self.sizes.residual_width
        with keras.name_scope(self.name):
            self.activations = [
                Snake(n, name=f"snake_{i}") if self.sizes.snake else keras.ops.relu
                for i, n in enumerate((width, inside))
            ]
            conv = keras.layers.Conv1D
            self.dilated = convolution(conv, width, inside, 3, "dilated", dilation_rate=dilation)
            self.mixing = convolution(conv, inside, width, 1, "mixing")
        self.built = True

    def call(self, x: Tensor) -> Tensor:
        before, between = self.activations
        return x + self.mixing(between(self.dilated(before(x))))

    def get_config(self) -> dict[str, Any]:
        config = {"sizes": dataclasses.asdict(self.sizes), "dilation": self.dilation}
        return {**super().get_config(), **config}


class _LevelBlock(keras.layers.Layer):
    """Base class of encoder and decoder blocks: residual blocks in stages."""

    def __init__(self, sizes: BlockSizes | dict[str, Any], **kwargs: Any):
        super().__init__(**kwargs)
        self.sizes = BlockSizes(**sizes) if isinstance(sizes, dict) else sizes
        with keras.name_scope(self.name):
            self.residuals = [
                [
                    Residual(self.sizes, dilation, name=f"residual_{s}_{i}")
                    for i, dilation in enumerate(self.sizes.dilations)
                ]
                for s in range(self.sizes.stages)
            ]
        self.built = True

    def get_config(self):
        return {**super().get_config(), "sizes": dataclasses.asdict(self.sizes)}


@keras.saving.register_keras_serializable("magenta_lite")
class EncoderBlock(_LevelBlock):
    """Stages, each a strided convolution and residual blocks; then a convolution to code width.

    Args:
        sizes: A `BlockSizes` or its dict.

    Call arguments:
        x: Float (B, T, outside), T a multiple of stride ** stages.

    Returns:
        Float (B, T / stride ** stages, E).
    """

    def __init__(self, sizes: BlockSizes | dict[str, Any], **kwargs: Any):
        super().__init__(sizes, **kwargs)
        sizes, conv = self.sizes, functools.partial(convolution, keras.layers.Conv1D)
        # The kernel spans two strides and is padded by half a stride at each side, so that every
        # stage divides the length exactly.
        stride, width = sizes.stride, sizes.width
        inputs = [sizes.outside, *[width] * (sizes.stages - 1)]
        with keras.name_scope(self.name):
            self.shorten = [
                conv(channels, width, 2 * stride, f"shorten_{s}", strides=stride)
                for s, channels in enumerate(inputs)
            ]
            self.leave = conv(width, sizes.code_width, 3, "leave")

    def call(self, x: Tensor) -> Tensor:
        for shorten, residuals in zip(self.shorten, self.residuals, strict=True):
            x = shorten(x)
            for residual in residuals:
                x = residual(x)
        return self.leave(x)


@keras.saving.register_keras_serializable("magenta_lite")
class DecoderBlock(_LevelBlock):
    """A convolution from code width; then stages, each residual blocks and a transposed one.

    Args:
        sizes: A `BlockSizes` or its dict.

    Call arguments:
        x: Float (B, T, E).

    Returns:
        Float (B, T * stride ** stages, outside).
    """

    def __init__(self, sizes: BlockSizes | dict[str, Any], **kwargs: Any):
        super().__init__(sizes, **kwargs)
        sizes, width, stride = self.sizes, self.sizes.width, self.sizes.stride
        transposed = functools.partial(convolution, keras.layers.Conv1DTranspose)
        outputs = [*[width] * (sizes.stages - 1), sizes.outside]
        with keras.name_scope(self.name):
            self.enter = convolution(keras.layers.Conv1D, sizes.code_width, width, 3, "enter")
            self.lengthen = [
                transposed(width, channels, 2 * stride, f"lengthen_{s}", strides=stride)
                for s, channels in enumerate(outputs)
            ]

    def call(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        for residuals, lengthen in zip(self.residuals, self.lengthen, strict=True):
            for residual in residuals:
                x = residual(x)
            x = lengthen(x)
        return x


class _Stack(keras.layers.Layer):
    """Base class of encoders and decoders, which consist of the level blocks 0 to `level`."""

    def __init__(self, config, level: int, **kwargs):
        super().__init__(**kwargs)
        self.config = VQVAEConfig(**config) if isinstance(config, dict) else config
        self.level = level
        self.built = True

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

    def get_config(self):
        config = {"config": dataclasses.asdict(self.config), "level": self.level}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable("magenta_lite")
class Encoder(_Stack):
    """The encoder of level l: the encoder blocks 0 to l in sequence.

    Args:
        config: A `VQVAEConfig` or its dict.
        level: Level l.

    Call arguments:
        x: Float (B, T, C).

    Returns:
        Float (B, T / hop length, E).
    """

    def __init__(self, config: VQVAEConfig | dict[str, Any], level: int, **kwargs: Any):
        super().__init__(config, level, **kwargs)
        config, dilations = self.config, self.config.dilations(level)
        with keras.name_scope(self.name):
            self.blocks = [
                EncoderBlock(
                    self._block_sizes(b, config.code_width if b else config.channels, dilations),
                    name=f"block_{b}",
                )
                for b in range(level + 1)
            ]

    def call(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


@keras.saving.register_keras_serializable("magenta_lite")
class Decoder(_Stack):
    """The decoder of level l: the decoder blocks l to 0 and a convolution; not clipped to [-1, 1].

    Args:
        config: A `VQVAEConfig` or its dict.
        level: Level l.

    Call arguments:
        x: Float (B, T, E).

    Returns:
        Float (B, T * hop length, C).
    """

    def __init__(self, config: VQVAEConfig | dict[str, Any], level: int, **kwargs: Any):
        super().__init__(config, level, **kwargs)
        config, dilations = self.config, self.config.dilations(level)
        if config.reverse_decoder_dilation:
            dilations = dilations[::-1]
        width = config.code_width
        with keras.name_scope(self.name):
            self.blocks = [
                DecoderBlock(self._block_sizes(b, width, dilations), name=f"block_{b}")
                for b in range(level + 1)
            ]
            self.sound = convolution(keras.layers.Conv1D, width, config.channels, 3, "sound")

    def call(self, x: Tensor) -> Tensor:
        for block in reversed(self.blocks):
            x = block(x)
        return self.sound(x)

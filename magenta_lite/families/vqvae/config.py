"""Sizes and objective of a VQ-VAE, and what follows from them; values only, no TensorFlow."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar

from magenta_lite.errors import UserError
from magenta_lite.modeling.sections import ModelSection, Objective

MAX_LEVELS = 8


@dataclasses.dataclass(frozen=True)
class VQVAEConfig(ModelSection):
    """Sizes of the network.

    The options after `revival_threshold` are not the original's; each is off as it stands.

    Attributes:
        downs: Stages of each level block. Level l has the blocks 0 to l.
        strides: Of each block's stages: a stage makes the sequence so many times shorter.
        code_width: Width E of what an encoder gives and of a code's vector.
        codes: Size K of each level's codebook.
        width: Channels inside.
        depth: Residual blocks of each stage.
        multipliers: Factor of each level on its width and depth; empty for 1 each.
        residual_factor: Channels inside a residual block, as a multiple of the width.
        dilation_growth: Block i of a stage looks `dilation_growth ** i` steps to each side.
        dilation_cycle: After so many blocks dilations begin again; 0 for never.
        reverse_decoder_dilation: Decoders begin with the largest dilation instead of ending so.
        channels: Of the sound; 1 for mono.
        codebook_decay: Decay of the means that codebooks are made of.
        revival_threshold: A code with fewer hits per step than this, on average, is replaced by a
            random vector of the batch.
        reset_restarted: A replaced code's averages begin anew, with `revival_threshold` hits.
        k_means_steps: The first codebook is the outcome of so many rounds of k-means.
        factorized_width: Look codes up in so many dimensions, on the unit sphere; 0 for all E.
        snake: Activations x + sin²(a·x) / a, a learned for each channel, instead of ReLU.
        quantizers: Codebooks of each level, each for what those before it leave over.
        quantizer_dropout: Share of examples that train with some of the first ones only.
    """

    kind: ClassVar[str] = "vqvae"

    downs: tuple[int, ...] = (3, 2, 2)
    strides: tuple[int, ...] = (2, 2, 2)
    code_width: int = 64
    codes: int = 2048
    width: int = 32
    depth: int = 4
    multipliers: tuple[int, ...] = ()
    residual_factor: float = 1.0
    dilation_growth: int = 3
    dilation_cycle: int = 0
    reverse_decoder_dilation: bool = True
    channels: int = 1
    codebook_decay: float = 0.99
    revival_threshold: float = 1.0
    reset_restarted: bool = False
    k_means_steps: int = 0
    factorized_width: int = 0
    snake: bool = False
    quantizers: int = 1
    quantizer_dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("downs", "strides", "multipliers"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not 1 <= self.levels <= MAX_LEVELS:
            raise UserError(f"model.downs={list(self.downs)} must have 1 to {MAX_LEVELS} levels")
        for name, optional in (("strides", False), ("multipliers", True)):
            values = getattr(self, name)
            if len(values) != self.levels and (values or not optional):
                raise UserError(
                    f"model.{name}={list(values)} needs {self.levels} numbers, as "
                    f"model.downs={list(self.downs)} has"
                )
        if any(stride < 2 or stride % 2 for stride in self.strides):
            # Odd ones would not give lengths that are divided exactly.
            raise UserError(f"model.strides={list(self.strides)} must be even")
        if min(self.downs + self.multipliers) < 1:
            raise UserError(
                f"model.downs={list(self.downs)} and model.multipliers={list(self.multipliers)} "
                "must be at least 1 each"
            )
        for name in (
            "code_width",
            "codes",
            "width",
            "depth",
            "dilation_growth",
            "channels",
            "quantizers",
        ):
            if getattr(self, name) < 1:
                raise UserError(f"model.{name}={getattr(self, name)} must be at least 1")
        for name in ("dilation_cycle", "k_means_steps", "factorized_width", "revival_threshold"):
            if getattr(self, name) < 0:
                raise UserError(f"model.{name}={getattr(self, name)} must not be negative")
        if int(self.residual_factor * self.width) < 1:
            raise UserError(
                f"model.residual_factor={self.residual_factor} leaves no channel of "
                f"model.width={self.width}"
            )
        if not 0 <= self.codebook_decay < 1:
            raise UserError(f"model.codebook_decay={self.codebook_decay} must lie in [0, 1)")
        if not 0 <= self.quantizer_dropout <= 1:
            raise UserError(f"model.quantizer_dropout={self.quantizer_dropout} must lie in [0, 1]")
        if self.quantizer_dropout and self.quantizers == 1:
            raise UserError(
                f"model.quantizer_dropout={self.quantizer_dropout} needs model.quantizers above 1"
            )
        if self.factorized_width and self.quantizers > 1:
            # What is left over of a unit vector is none.
            raise UserError(
                f"model.factorized_width={self.factorized_width} and "
                f"model.quantizers={self.quantizers} do not go together; set one of them to its "
                "default"
            )

    @property
    def levels(self) -> int:
        """How many levels there are; 0 is the finest."""
        return len(self.downs)

    @property
    def hop_lengths(self) -> tuple[int, ...]:
        """Samples of a code of each level."""
        factors = [s**d for s, d in zip(self.strides, self.downs, strict=True)]
        return tuple(math.prod(factors[: level + 1]) for level in range(self.levels))

    @property
    def codebook_width(self) -> int:
        """Width of the vectors that codes are looked up by."""
        return self.factorized_width or self.code_width

    def width_of(self, level: int) -> int:
        """Returns the channels inside level `level`."""
        return self.width * (self.multipliers[level] if self.multipliers else 1)

    def depth_of(self, level: int) -> int:
        """Returns the residual blocks of a stage of level `level`."""
        return self.depth * (self.multipliers[level] if self.multipliers else 1)

    def dilations(self, level: int) -> tuple[int, ...]:
        """Returns the dilation of each residual block of a stage of an encoder."""
        depth = self.depth_of(level)
        cycle = self.dilation_cycle or depth
        return tuple(self.dilation_growth ** (i % cycle) for i in range(depth))


@dataclasses.dataclass(frozen=True)
class VQVAEObjective(Objective):
    """What the sound that comes back is compared by; the sum over levels is minimised.

    Of each weight, 0 for leaving the term out. Differences are relative to what the training data
    have as a rule: see `VQVAE.prepare`.

    Attributes:
        commitment: Weight of the distance of what encoders give from their codes.
        multi_spectral: Weight of the distance of spectra, at several resolutions.
        spectral: Weight of the distance of spectra at the resolution `stft`.
        relative_spectral: The latter relative to the clip's own spectrum (spectral convergence).
        l1: Weight of the mean difference of samples.
        l2: Weight of the mean squared difference.
        linf: Weight of the mean of the `linf_count` largest squared differences of a clip.
        linf_count: See above.
        log_mel: Weight of the mean difference of logarithmic mel spectra; not the original's.
        fft_sizes: Of each resolution of the spectra.
        fft_hops: Likewise, in samples.
        fft_windows: Likewise, in samples.
        stft: FFT size, hop and window of `spectral` and of the metric spectral convergence.
    """

    kind: ClassVar[str] = "vqvae_objective"

    commitment: float = 0.02
    multi_spectral: float = 1.0
    spectral: float = 0.0
    relative_spectral: bool = False
    l1: float = 0.0
    l2: float = 1.0
    linf: float = 0.02
    linf_count: int = 2048
    log_mel: float = 0.0
    fft_sizes: tuple[int, ...] = (2048, 1024, 512)
    fft_hops: tuple[int, ...] = (240, 120, 50)
    fft_windows: tuple[int, ...] = (1200, 600, 240)
    stft: tuple[int, ...] = (2048, 256, 1536)

    def __post_init__(self) -> None:
        for name in ("fft_sizes", "fft_hops", "fft_windows", "stft"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("commitment", "multi_spectral", "spectral", "l1", "l2", "linf", "log_mel"):
            if getattr(self, name) < 0:
                raise UserError(f"objective.{name}={getattr(self, name)} must not be negative")
        if self.linf_count < 1:
            raise UserError(f"objective.linf_count={self.linf_count} must be at least 1")
        if len(self.stft) != 3:
            raise UserError(f"objective.stft={list(self.stft)} must be [FFT size, hop, window]")
        if not len(self.fft_sizes) == len(self.fft_hops) == len(self.fft_windows) >= 1:
            raise UserError(
                f"objective.fft_sizes={list(self.fft_sizes)}, "
                f"fft_hops={list(self.fft_hops)} and fft_windows={list(self.fft_windows)} "
                "must be equally many"
            )
        for size, hop, window in (self.stft, *self.resolutions):
            if not 1 <= hop <= window <= size or size % 2:
                raise UserError(
                    f"An FFT of {size} samples, hop {hop} and window {window} in the objective: "
                    "the size must be even, the hop at most the window, that at most the size"
                )

    def comparable_loss(self, measured: Mapping[str, float], steps: int) -> float:
        """Returns the loss of a validation without that of commitment.

        How far codes are from what encoders give depends on a scale of their own, which grows.

        Args:
            measured: `loss` and `commitment`, means over the held-out examples.
            steps: Not used.
        """
        del steps
        return measured["loss"] - self.commitment * measured["commitment"]

    @property
    def resolutions(self) -> tuple[tuple[int, int, int], ...]:
        """FFT size, hop and window of each resolution, in samples."""
        return tuple(zip(self.fft_sizes, self.fft_hops, self.fft_windows, strict=True))

    @property
    def shortest_clip(self) -> int:
        """Samples that a clip needs at least: spectra mirror half an FFT at its ends."""
        return max(self.stft[0], *self.fft_sizes) // 2 + 1


def parameter_counts(config: VQVAEConfig) -> dict[str, int]:
    """Returns how many weights there are, without building the model.

    Returns:
        `convolutions`, all that gradients train (projections of factorised codes among them), and
        `codebooks`, the vectors of all codes.
    """
    # An encoder has as many weights as a decoder, but for the last convolution and stages that
    # begin at, or lead to, another width.
    snake, total = int(config.snake), 0
    for level in range(config.levels):
        width, code = config.width_of(level), config.code_width
        inside = int(config.residual_factor * width)
        block = width * inside * 3 + inside + inside * width + width + snake * (width + inside)
        residuals = config.depth_of(level) * block
        for b in range(level + 1):
            stages, kernel = config.downs[b], 2 * config.strides[b]
            enters = code if b else config.channels
            total += (enters + (stages - 1) * width) * width * kernel + stages * width
            total += stages * residuals + width * code * 3 + code
            total += code * width * 3 + width + stages * residuals
            total += ((stages - 1) * width + code) * width * kernel + (stages - 1) * width + code
        total += code * config.channels * 3 + config.channels
        if config.factorized_width:
            total += 2 * code * config.factorized_width + code + config.factorized_width
    books = config.levels * config.quantizers * config.codes * config.codebook_width
    return {"convolutions": total, "codebooks": books}

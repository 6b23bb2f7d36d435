"""Sizes and objective of a VQ-VAE; values only, no TensorFlow."""

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

    The options after `revival_threshold` are not in the original, and are off by default.

    Attributes:
        downs: Number of stages of each level block. Level l has the blocks 0 to l.
        strides: Downsampling factor of each stage, for each block.
        code_width: Width E of encoder outputs and of code vectors.
        codes: Codebook size K of each level.
        width: Channels of the convolutions.
        depth: Residual blocks per stage.
        multipliers: Factor of each level on its width and depth; empty for 1 each.
        residual_factor: Hidden channels of a residual block, as a multiple of the width.
        dilation_growth: The dilation of block i of a stage is `dilation_growth ** i`.
        dilation_cycle: Number of blocks after which dilations start again at 1; 0 for never.
        reverse_decoder_dilation: Whether decoder stages start with the largest dilation.
        channels: Channels of the sound; 1 for mono.
        codebook_decay: Decay of the moving averages of codebooks.
        revival_threshold: A code with fewer hits per step than this, on average, is replaced by a
            random vector of the batch.
        reset_restarted: Whether the averages of a replaced code restart with `revival_threshold`
            hits.
        k_means_steps: Iterations of k-means that initialise a codebook.
        factorized_width: Width of normalised low-dimensional codes; 0 for codes of width E.
        snake: Whether activations are x + sin²(a·x) / a, with a learned a per channel, not ReLU.
        quantizers: Number of residual quantizers of each level.
        quantizer_dropout: Share of examples that train with only the first few quantizers.
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
            # With odd strides lengths would not divide exactly.
            raise UserError(f"model.strides={list(self.strides)} must be even")
        if min(self.downs + self.multipliers) < 1:
            raise UserError(
                f"model.downs={list(self.downs)} and model.multipliers={list(self.multipliers)} "
                "must be at least 1 each"
            )
        names = ("code_width", "codes", "width", "depth", "dilation_growth", "channels")
        self.check_at_least(1, *names, "quantizers")
        names = ("dilation_cycle", "k_means_steps", "factorized_width", "revival_threshold")
        self.check_at_least(0, *names)
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
            # The residual of a unit vector is not a unit vector.
            raise UserError(
                f"model.factorized_width={self.factorized_width} and "
                f"model.quantizers={self.quantizers} do not go together; set one of them to its "
                "default"
            )

    @property
    def levels(self) -> int:
        """Number of levels; level 0 is the finest."""
        return len(self.downs)

    @property
    def hop_lengths(self) -> tuple[int, ...]:
        """Hop length of each level in samples."""
        factors = [s**d for s, d in zip(self.strides, self.downs, strict=True)]
        return tuple(math.prod(factors[: level + 1]) for level in range(self.levels))

    @property
    def codebook_width(self) -> int:
        """Width of the vectors in a codebook."""
        return self.factorized_width or self.code_width

    def width_of(self, level: int) -> int:
        """Returns the channels of the convolutions of a level."""
        return self.width * (self.multipliers[level] if self.multipliers else 1)

    def depth_of(self, level: int) -> int:
        """Returns the number of residual blocks per stage of a level."""
        return self.depth * (self.multipliers[level] if self.multipliers else 1)

    def dilations(self, level: int) -> tuple[int, ...]:
        """Returns the dilation of each residual block of a stage of an encoder."""
        depth = self.depth_of(level)
        cycle = self.dilation_cycle or depth
        return tuple(self.dilation_growth ** (i % cycle) for i in range(depth))


@dataclasses.dataclass(frozen=True)
class VQVAEObjective(Objective):
    """The reconstruction losses and the commitment loss, summed over levels.

    A weight of 0 leaves a term out. Differences are normalised by statistics of the training data,
    see `VQVAE.prepare`.

    Attributes:
        commitment: Weight of the commitment loss.
        multi_spectral: Weight of the distance of spectra at several resolutions.
        spectral: Weight of the distance of spectra at the resolution `stft`.
        relative_spectral: Whether `spectral` is relative to the clip (spectral convergence).
        l1: Weight of the mean absolute difference of samples.
        l2: Weight of the mean squared difference of samples.
        linf: Weight of the mean of the `linf_count` largest squared differences of a clip.
        linf_count: Number of these differences.
        log_mel: Weight of the mean absolute difference of log-mel spectra; not in the original.
        fft_sizes: FFT sizes of the resolutions of the spectra.
        fft_hops: Hop lengths of these resolutions in samples.
        fft_windows: Window lengths of these resolutions in samples.
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
        names = ("commitment", "multi_spectral", "spectral", "l1", "l2", "linf", "log_mel")
        self.check_at_least(0, *names)
        self.check_at_least(1, "linf_count")
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
        """Returns the loss of a validation without the commitment loss.

        The commitment loss depends on the scale of the encoder outputs, which grows in training.
        """
        del steps
        return measured["loss"] - self.commitment * measured["commitment"]

    @property
    def resolutions(self) -> tuple[tuple[int, int, int], ...]:
        """FFT size, hop and window of each resolution, in samples."""
        return tuple(zip(self.fft_sizes, self.fft_hops, self.fft_windows, strict=True))

    @property
    def shortest_clip(self) -> int:
        """Shortest length of a clip in samples: spectra are padded by reflection of half an FFT."""
        return max(self.stft[0], *self.fft_sizes) // 2 + 1

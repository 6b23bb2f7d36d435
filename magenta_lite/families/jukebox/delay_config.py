"""Sizes of a prior over several codes per frame; values only, no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from magenta_lite.errors import UserError
from magenta_lite.families.jukebox.config import TransformerSizes
from magenta_lite.modeling.sections import ModelSection


@dataclasses.dataclass(frozen=True)
class DelayPriorConfig(ModelSection):
    """Sizes of a prior over the codes of a residual VQ-VAE.

    Attributes:
        codes: Size K of each codebook.
        quantizers: Number of codebooks N.
        context: Context length in frames.
        width: Model width W; the hidden width of feed-forward layers is 4 W.
        depth: Number of layers.
        heads: Number of attention heads.
        initial_scale: Factor on the standard deviations of the initial weights.
        sample_rate: Sample rate of the sound in Hz.
        hop: Hop length of a frame in samples.
    """

    kind: ClassVar[str] = "jukebox_delay"
    # In place of the same fields of a `JukeboxPriorConfig`: no labels, and no level above.
    labelled: ClassVar[bool] = False
    label_size: ClassVar[int] = 0
    above_ratio: ClassVar[int] = 1
    shift: ClassVar[int] = 0

    codes: int = 1024
    quantizers: int = 4
    context: int = 512
    width: int = 512
    depth: int = 12
    heads: int = 8
    initial_scale: float = 1.0
    sample_rate: int = 16_000
    hop: int = 256

    def __post_init__(self) -> None:
        names = ("codes", "context", "width", "depth", "heads", "sample_rate", "hop")
        self.check_at_least(1, *names)
        if self.quantizers < 2:
            raise UserError(
                f"model.quantizers={self.quantizers} must be at least 2; a jukebox_prior_… reads "
                "one code a frame"
            )
        if self.width % self.heads:
            raise UserError(
                f"model.width={self.width} is not divisible by model.heads={self.heads}"
            )

    @property
    def steps(self) -> int:
        """Number of decoding steps of a context."""
        return self.context + self.quantizers - 1

    @property
    def transformer(self) -> TransformerSizes:
        """Sizes of the layers. The last embedding of each codebook is that of padding."""
        return TransformerSizes(
            vocabulary=self.quantizers * (self.codes + 1),
            context_length=self.steps,
            hidden_dim=self.width,
            num_layers=self.depth,
            num_heads=self.heads,
            attention_dim=self.width,
            filter_dim=4 * self.width,
            order=0,
            blocks=1,
            initial_scale=self.initial_scale,
        )

"""Sizes of a prior over several codes a frame; values only, no TensorFlow."""

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
        codes: Different codes K of each codebook.
        quantizers: Codebooks N.
        context: Frames of a context.
        width: W of what layers pass on; feed-forward parts are four times as wide inside.
        depth: Layers.
        heads: Of every attention.
        initial_scale: Factor on the deviations of initial weights.
        sample_rate: Of the sound, in Hz.
        hop: Samples of a frame.
    """

    kind: ClassVar[str] = "jukebox_delay"
    # What a `JukeboxPriorConfig` says of labels and of the level above: there are none.
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
        for name in ("codes", "context", "width", "depth", "heads", "sample_rate", "hop"):
            if getattr(self, name) < 1:
                raise UserError(f"model.{name}={getattr(self, name)} must be at least 1")
        if self.quantizers < 2:
            raise UserError(
                f"model.quantizers={self.quantizers} must be at least 2; a jukebox_prior_… reads "
                "one code a frame"
            )
        if self.width % self.heads:
            raise UserError(
                f"model.width={self.width} cannot be shared out among model.heads={self.heads}"
            )

    @property
    def steps(self) -> int:
        """Steps in which a context is written."""
        return self.context + self.quantizers - 1

    @property
    def transformer(self) -> TransformerSizes:
        """Sizes of the layers. Of the rows of each codebook the last stands where no code is."""
        return TransformerSizes(
            vocabulary=self.quantizers * (self.codes + 1),
            length=self.steps,
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            attention_width=self.width,
            feed_forward_width=4 * self.width,
            order=0,
            blocks=1,
            initial_scale=self.initial_scale,
        )

"""Sizes and objective of a MelodyRNN; values only, no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from magenta_lite.errors import UserError, unknown_name
from magenta_lite.modeling.sections import ModelSection, Objective

LAYOUTS = ("first_layer", "all_layers")
TARGETS = ("label", "event")


@dataclasses.dataclass(frozen=True)
class MelodyRNNConfig(ModelSection):
    """Sizes of a MelodyRNN.

    Attributes:
        units: LSTM units of each layer.
        attention_length: Number of last outputs that attention sees; 0 for no attention.
        attention_layout: The layers that attention wraps: `first_layer`, as in the original since
            May 2017, or `all_layers`, as before and in the released attention_rnn and
            drum_kit_rnn.
        dropout: Dropout rate of every layer's outputs.
    """

    kind: ClassVar[str] = "melody_rnn"

    units: tuple[int, ...] = (128, 128)
    attention_length: int = 0
    attention_layout: str = "first_layer"
    dropout: float = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", tuple(self.units))
        if not self.units or min(self.units) < 1:
            raise UserError(f"model.units={list(self.units)} needs at least one layer of 1 unit")
        if self.attention_length < 0:
            raise UserError(f"model.attention_length={self.attention_length} must be at least 0")
        if self.attention_layout not in LAYOUTS:
            raise unknown_name("model.attention_layout", self.attention_layout, LAYOUTS)
        if not 0 <= self.dropout < 1:
            raise UserError(f"model.dropout={self.dropout} must lie in [0, 1)")


@dataclasses.dataclass(frozen=True)
class NextEventObjective(Objective):
    """Cross-entropy of the next event.

    Attributes:
        target: If several classes mean the next event: `label`, as in the original, is the
            cross-entropy of the class that the encoding prefers; `event` is that of the event, with
            the sum of their probabilities.
    """

    kind: ClassVar[str] = "next_event"

    target: str = "label"

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise unknown_name("objective.target", self.target, TARGETS)

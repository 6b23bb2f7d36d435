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
        attention_length: How many of its last outputs the model attends to; 0 for no attention.
        attention_layout: What attention wraps: `first_layer`, as the original has it since May
            2017, or `all_layers`, as before and in the released attention_rnn and drum_kit_rnn.
        dropout: Share of every layer's outputs that is left out in training.
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
        target: `label`, the original's: of several classes that mean the next event, the one that
            the encoding prefers must be right. `event`: their probabilities are added up.
    """

    kind: ClassVar[str] = "next_event"

    target: str = "label"

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise unknown_name("objective.target", self.target, TARGETS)

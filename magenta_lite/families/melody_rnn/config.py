"""Sizes and objective of a MelodyRNN; values only, no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from magenta_lite.converters.event_sequences.converter import EventSequenceConverter
from magenta_lite.converters.event_sequences.encodings import EventEncoding
from magenta_lite.errors import UserError
from magenta_lite.modeling.sections import ModelSection, Objective

# Bits of the step counter of each encoding of melodies.
ENCODINGS = {"one_hot": 0, "lookback": 5, "key": 7}
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
        attention_bias: Whether the query of attention has a bias, which magenta-js ignores.
        dropout: Dropout rate of every layer's outputs.
        encoding: Input features: `one_hot`, the last event and, of drums, a step counter. For
            melodies also `lookback`, which adds the events of one and two bars ago, and `key`:
            pitch, direction, keys and repeats instead of the event.
        lookback_distances: Lookback distances of `lookback` and `key` in steps; 16 is a 4/4 bar.
    """

    kind: ClassVar[str] = "melody_rnn"

    units: tuple[int, ...] = (128, 128)
    attention_length: int = 0
    attention_layout: str = "first_layer"
    attention_bias: bool = True
    dropout: float = 0.5
    encoding: str = "one_hot"
    lookback_distances: tuple[int, ...] = (16, 32)

    def __post_init__(self) -> None:
        self.make_tuples("units", "lookback_distances")
        self.check_units("units")
        self.check_at_least(0, "attention_length")
        self.check_choice("attention_layout", LAYOUTS)
        self.check_rates("dropout")
        self.check_choice("encoding", ENCODINGS)
        distances = self.lookback_distances
        if any(d < 1 for d in distances) or list(distances) != sorted(set(distances)):
            raise UserError(
                f"model.lookback_distances={list(distances)} must be steps, 1 or more, the "
                "nearest first"
            )

    def event_encoding(self, converter: EventSequenceConverter) -> EventEncoding:
        """Returns the input features and the classes of a model of a converter's events.

        Raises:
            UserError: If `encoding` is for melodies and the events are others.
        """
        if self.encoding == "one_hot":
            return converter.encoding
        if converter.config.kind != "event_melody":
            raise UserError(f"model.encoding={self.encoding} is for melodies; give one_hot")
        return dataclasses.replace(
            converter.encoding,
            distances=self.lookback_distances,
            counter_bits=ENCODINGS[self.encoding],
            key_features=self.encoding == "key",
        )


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
        self.check_choice("target", TARGETS)

"""Sizes and objective of a Music Transformer."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from magenta_lite.errors import UserError, unknown_name
from magenta_lite.modeling.sections import ModelSection, Objective

ATTENTIONS = ("relative", "relative_local", "absolute", "learned")


@dataclasses.dataclass(frozen=True)
class MusicTransformerConfig(ModelSection):
    """Sizes of the network.

    Attributes:
        layers: Of the decoder; and of the encoder, in a model that accompanies.
        hidden_size: Width of what layers pass on.
        key_size: Width of queries and keys of all heads together.
        filter_size: Width inside the feed-forward layers.
        heads: Of every attention.
        attention: `relative`: every position attends to all before it, and distances have learned
            vectors; `relative_local`: to its own block and the one before, likewise; `absolute`:
            to all, without distances; `learned`: to all, with a learned vector for each position
            instead of sines, and so up to `positions` only.
        max_relative_position: How many distances have a vector; farther ones have none.
        sines: Whether sines tell every position apart at the input, beside distances too, as in the
            original. Without them relative attention is the same everywhere, so that a model goes
            on beyond the length that it was trained on; accompaniments need them.
        share_relative_table: Whether all heads of a layer have the same vectors.
        block_length: Positions of a block of `relative_local`.
        positions: How many tokens back attention reaches while a piece is written, where blocks do
            not say; and how many positions have vectors, with `learned`.
        tie_embeddings: Whether one matrix is embedding and output, as in the released model.
        dropout: Share left out, in training, of embeddings, attention weights, the insides of
            feed-forward layers and what each layer adds.
    """

    kind: ClassVar[str] = "music_transformer"

    layers: int = 6
    hidden_size: int = 384
    key_size: int = 512
    filter_size: int = 1024
    heads: int = 8
    attention: str = "relative"
    max_relative_position: int = 1024
    sines: bool = True
    share_relative_table: bool = False
    block_length: int = 512
    positions: int = 2048
    tie_embeddings: bool = False
    dropout: float = 0.1

    @property
    def longest_crop(self) -> int | None:
        """Tokens of the longest example that the model can read; None for any length."""
        return self.positions if self.attention == "learned" else None

    def __post_init__(self) -> None:
        if self.attention not in ATTENTIONS:
            raise unknown_name("model.attention", self.attention, ATTENTIONS)
        for name in ("layers", "hidden_size", "key_size", "filter_size", "heads", "block_length"):
            if getattr(self, name) < 1:
                raise UserError(f"model.{name}={getattr(self, name)} must be at least 1")
        for name in ("hidden_size", "key_size"):
            if getattr(self, name) % self.heads:
                raise UserError(
                    f"model.{name}={getattr(self, name)} cannot be shared out among "
                    f"model.heads={self.heads} heads"
                )
        if self.attention == "relative" and self.max_relative_position < 1:
            raise UserError(
                f"model.max_relative_position={self.max_relative_position} must be at least 1; "
                "model.attention=absolute has no distances"
            )
        if not self.sines and not self.table_rows:
            raise UserError(
                f"model.sines=false leaves model.attention={self.attention} without positions; "
                "it is for relative attention"
            )
        if not 0 <= self.dropout < 1:
            raise UserError(f"model.dropout={self.dropout} must lie in [0, 1)")

    @property
    def table_rows(self) -> int:
        """Rows of a layer's table of distances; 0 for none."""
        if self.attention == "relative_local":
            return 4 * self.block_length  # the original's; the last half is used
        return self.max_relative_position if self.attention == "relative" else 0


@dataclasses.dataclass(frozen=True)
class NextTokenObjective(Objective):
    """Cross-entropy of the next token.

    Attributes:
        label_smoothing: Share of the target that goes to all other tokens alike, in training.
    """

    kind: ClassVar[str] = "next_token"

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise UserError(f"objective.label_smoothing={self.label_smoothing} must lie in [0, 1)")

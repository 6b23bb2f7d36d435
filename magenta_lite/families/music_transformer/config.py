"""Model and objective sections of Music Transformer's configs."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from magenta_lite.errors import UserError
from magenta_lite.modeling.sections import ModelSection, Objective

ATTENTIONS = ("relative", "relative_local", "absolute", "learned")


@dataclasses.dataclass(frozen=True)
class MusicTransformerConfig(ModelSection):
    """Sizes of the network.

    Attributes:
        layers: Number of decoder layers; also of encoder layers, in a model of accompaniments.
        hidden_size: Width of the residual stream.
        key_size: Total width of queries and keys over all heads.
        filter_size: Hidden width of the feed-forward layers.
        heads: Attention heads of each layer.
        attention: `relative`: causal attention with learned relative positions; `relative_local`:
            the same within the current and the previous block; `absolute`: causal attention with
            sinusoidal positions only; `learned`: causal attention with learned positions instead
            of sinusoids, up to `positions`.
        max_relative_position: Number of relative distances with embeddings; larger distances have
            no relative term.
        sines: Whether sinusoidal positions are added to the input embeddings, also with relative
            attention, as in the original. Without them relative attention is translation
            invariant, so a model generalizes to longer sequences than those of its training;
            models of accompaniments need them.
        relative_pitch: Whether attention is relative in pitch, too: intervals between the notes of
            two tokens have embeddings (Huang et al. 2018, §4.1).
        voices: Number of voices whose tokens take turns, whose number is embedded; 0 for none.
        share_relative_table: Whether all heads of a layer share the relative embeddings.
        block_length: Block length of `relative_local`, in positions.
        positions: Attention span while generating, in tokens, unless `block_length` determines it;
            for `learned`, the number of position embeddings.
        tie_embeddings: Whether input and output embeddings are shared, as in the released model.
        dropout: Dropout rate of embeddings, attention weights, feed-forward activations and
            residual branches.
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
    relative_pitch: bool = False
    voices: int = 0
    share_relative_table: bool = False
    block_length: int = 512
    positions: int = 2048
    tie_embeddings: bool = False
    dropout: float = 0.1

    @property
    def longest_crop(self) -> int | None:
        return self.positions if self.attention == "learned" else None

    def __post_init__(self) -> None:
        self.check_choice("attention", ATTENTIONS)
        sizes = ("layers", "hidden_size", "key_size", "filter_size", "heads", "block_length")
        self.check_at_least(1, *sizes)
        self.check_at_least(0, "voices")
        self.check_heads(self.heads, "hidden_size", "key_size")
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
        self.check_rates("dropout")

    @property
    def table_rows(self) -> int:
        """Rows of a layer's table of relative embeddings; 0 for none."""
        if self.attention == "relative_local":
            return 4 * self.block_length  # as in the original, which uses the last half
        return self.max_relative_position if self.attention == "relative" else 0


@dataclasses.dataclass(frozen=True)
class NextTokenObjective(Objective):
    """Cross-entropy of the next token.

    Attributes:
        label_smoothing: Target probability that is spread over all other tokens, in training.
    """

    kind: ClassVar[str] = "next_token"

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        self.check_rates("label_smoothing")

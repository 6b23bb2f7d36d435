"""Sizes and objective of MuseNet."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from magenta_lite.errors import UserError, unknown_name
from magenta_lite.modeling.sections import ModelSection, Objective

LEAST_FILLINGS = 4  # of a critic's store in a run
ATTENTIONS = ("full", "strided", "fixed")


@dataclasses.dataclass(frozen=True)
class MuseNetConfig(ModelSection):
    """Sizes of the network.

    Attributes:
        layers: How many.
        hidden_size: Width of what layers pass on; feed-forward parts are four times as wide inside.
        heads: Of every attention.
        positions: Tokens of the context, and moments in it, that have a vector each. How many
            tokens back attention reaches while a piece is written.
        dropout: Share left out, in training, of embeddings, attention weights, the insides of
            feed-forward layers and what each layer adds.
        attention: `full`, as the original's, or `strided` or `fixed`, the Sparse Transformer's, to
            some of the past: see `sparse_attention`.
        stride: Of those, near the root of the context.
        summary: Columns of each block that `fixed` sees from afar.
    """

    kind: ClassVar[str] = "musenet"

    layers: int = 8
    hidden_size: int = 512
    heads: int = 8
    positions: int = 2048
    dropout: float = 0.1
    attention: str = "full"
    stride: int = 128
    summary: int = 8

    @property
    def longest_crop(self) -> int:
        """Tokens of the longest example that the model can read."""
        return self.positions

    def __post_init__(self) -> None:
        if self.attention not in ATTENTIONS:
            raise unknown_name("model.attention", self.attention, ATTENTIONS)
        if self.attention != "full" and self.heads % 2:
            raise UserError(f"model.heads={self.heads} must be even for {self.attention} attention")
        if not 1 <= self.summary <= self.stride:
            raise UserError(f"model.summary={self.summary} must be 1 to model.stride={self.stride}")
        for name in ("layers", "hidden_size", "heads", "positions"):
            if getattr(self, name) < 1:
                raise UserError(f"model.{name}={getattr(self, name)} must be at least 1")
        if self.hidden_size % self.heads:
            raise UserError(
                f"model.hidden_size={self.hidden_size} cannot be shared out among "
                f"model.heads={self.heads} heads"
            )
        if not 0 <= self.dropout < 1:
            raise UserError(f"model.dropout={self.dropout} must lie in [0, 1)")


@dataclasses.dataclass(frozen=True)
class MuseNetObjective(Objective):
    """Cross-entropy of the next token, and how pieces are varied in training.

    Attributes:
        prefix_dropout: Share of examples without style, and share without instruments, so that a
            model also writes what it is not told.
        place_dropout: Share of examples without part and countdown, for pieces of no planned
            length.
        volume_shift: The piano's notes of an example are up to so many volumes softer or louder.
        time_stretch: An example is up to this share slower or faster.
        mixup: Concentration of the Beta distribution by whose draws examples are mixed in pairs,
            their embeddings and what is expected of them; 0 for none.
        critic: Weight of the loss of the critic, which tells music from the model's own; 0 for no
            critic.
        critic_share: Share of examples that are the model's own, from a store of them. They do not
            count otherwise.
        critic_every: Steps between two fillings of the store.
        critic_pieces: How many it holds.
    """

    kind: ClassVar[str] = "musenet_objective"

    prefix_dropout: float = 0.1
    place_dropout: float = 0.15
    volume_shift: int = 2
    time_stretch: float = 0.1
    mixup: float = 0.0
    critic: float = 0.0
    critic_share: float = 0.1
    critic_every: int = 1000
    critic_pieces: int = 32

    def __post_init__(self) -> None:
        for name in ("prefix_dropout", "place_dropout", "time_stretch"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"objective.{name}={getattr(self, name)} must lie in [0, 1)")
        if not 0 < self.critic_share < 1:
            raise UserError(f"objective.critic_share={self.critic_share} must lie in (0, 1)")
        for name, least in (("mixup", 0), ("critic", 0), ("critic_every", 1), ("critic_pieces", 1)):
            if getattr(self, name) < least:
                raise UserError(f"objective.{name}={getattr(self, name)} must be {least} or more")
        if not 0 <= self.volume_shift <= 12:
            raise UserError(f"objective.volume_shift={self.volume_shift} must be 0 to 12")

    def shortened(self, steps: int, planned: int) -> MuseNetObjective:
        """Returns the objective of a shorter run: the store is filled four times at least.

        Args:
            steps: Of the run.
            planned: That this objective is meant for.
        """
        del planned
        every = min(self.critic_every, max(steps // LEAST_FILLINGS, 1))
        return dataclasses.replace(self, critic_every=every)

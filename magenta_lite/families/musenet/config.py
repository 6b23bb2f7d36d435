"""Model and objective sections of MuseNet's configs."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from magenta_lite.errors import UserError
from magenta_lite.modeling.sections import ModelSection, Objective

MIN_REFILLS = 4  # of the buffer of generations in a run
ATTENTIONS = ("full", "strided", "fixed")


@dataclasses.dataclass(frozen=True)
class MuseNetConfig(ModelSection):
    """Sizes of the network.

    Attributes:
        layers: Number of layers.
        hidden_size: Width of the residual stream; feed-forward layers are four times as wide.
        heads: Attention heads of each layer.
        positions: Context length in tokens; also the number of position and moment embeddings.
        dropout: Dropout rate of embeddings, attention weights, feed-forward activations and
            residual branches.
        attention: `full`, as in the original, or the Sparse Transformer's `strided` or `fixed`; see
            `sparse_attention`.
        stride: Stride of sparse attention, near the square root of the context length.
        summary: Summary columns of each block, for `fixed`.
        factored: Whether the embedding of a token is a sum, of which parts are shared by the tokens
            of an instrument or of a pitch; see `TokenEmbedding`. The original's is not known.
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
    factored: bool = False

    @property
    def longest_crop(self) -> int:
        return self.positions

    def __post_init__(self) -> None:
        self.check_choice("attention", ATTENTIONS)
        if self.attention != "full" and self.heads % 2:
            raise UserError(f"model.heads={self.heads} must be even for {self.attention} attention")
        if not 1 <= self.summary <= self.stride:
            raise UserError(f"model.summary={self.summary} must be 1 to model.stride={self.stride}")
        self.check_at_least(1, "layers", "hidden_size", "heads", "positions")
        self.check_heads(self.heads, "hidden_size")
        self.check_rates("dropout")


@dataclasses.dataclass(frozen=True)
class MuseNetObjective(Objective):
    """Cross-entropy of the next token, with data augmentation.

    Attributes:
        prefix_dropout: Probability of masking the style of an example, and of masking its
            instruments, so that the model also generates without conditioning.
        place_dropout: Probability of masking part and countdown, for pieces of open length.
        volume_shift: Maximum shift of the piano's volume, in volume bins, up or down.
        time_stretch: Maximum relative change of tempo, up or down.
        mixup: Concentration of the Beta distribution of mixup, which mixes the embeddings and
            targets of pairs of examples; 0 for no mixup.
        critic: Weight of the loss of the critic, which classifies music as real or generated; 0
            for no critic.
        critic_share: Share of generated examples, from a buffer of generations; they count for the
            critic's loss only.
        critic_every: Steps between two refills of the buffer.
        critic_pieces: Size of the buffer, in examples.
        grammar: Whether the tokens that the grammar forbids are left out of the softmax.
    """

    kind: ClassVar[str] = "musenet_objective"
    scheduled = ("critic_every",)

    prefix_dropout: float = 0.1
    place_dropout: float = 0.15
    volume_shift: int = 2
    time_stretch: float = 0.1
    mixup: float = 0.0
    critic: float = 0.0
    critic_share: float = 0.1
    critic_every: int = 1000
    critic_pieces: int = 32
    grammar: bool = False

    def __post_init__(self) -> None:
        self.check_rates("prefix_dropout", "place_dropout", "time_stretch")
        if not 0 < self.critic_share < 1:
            raise UserError(f"objective.critic_share={self.critic_share} must lie in (0, 1)")
        self.check_at_least(0, "mixup", "critic")
        self.check_at_least(1, "critic_every", "critic_pieces")
        if not 0 <= self.volume_shift <= 12:
            raise UserError(f"objective.volume_shift={self.volume_shift} must be 0 to 12")

    def shortened(self, steps: int, planned: int) -> MuseNetObjective:
        """Returns the objective of a shorter run, which refills the buffer at least four times."""
        del planned
        every = min(self.critic_every, max(steps // MIN_REFILLS, 1))
        return dataclasses.replace(self, critic_every=every)

    def schedules_in_words(self, steps: int) -> str:
        del steps
        return f"generated examples are renewed every {self.critic_every:,} steps"

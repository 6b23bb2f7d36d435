"""Sizes and objective of priors and upsamplers; values only, no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from magenta_lite.errors import UserError
from magenta_lite.modeling.sections import ModelSection, Objective

# Kinds of attention, indexed by the numbers in `ATTENTION_CYCLES`; see `FactoredAttention`.
KINDS = ("dense", "row", "column", "previous_row", "summary", "summary_spread", "cross", "prime")

# For each order the kinds of consecutive layers, repeated.
ATTENTION_CYCLES = {
    0: (0,),
    1: (1, 2),
    2: (1, 2, 3),
    3: (1, 4),
    4: (1, 5),
    5: (1, 4, 1, 1),
    6: (1, 2, 3, 6),
    7: (*(1, 2, 3) * 5, 6),
    8: (*(1, 2, 3) * 3, 6),
    9: (1, 2, 3, 0),
}
LAST_ORDER = 12


def attention_kinds(order: int, depth: int) -> tuple[str, ...]:
    """Returns the kind of attention of each of `depth` layers.

    Orders 0 to 12 are those of the original's code; its models have 2 (no lyrics), 8 and 10
    (lyrics in a separate encoder) and 12 (lyrics and codes in one sequence).
    """
    return tuple(KINDS[_kind(order, layer)] for layer in range(depth))


def _kind(order: int, layer: int) -> int:
    if order in ATTENTION_CYCLES:
        return ATTENTION_CYCLES[order][layer % len(ATTENTION_CYCLES[order])]
    by_three = (1, 2, 3)[layer % 3]
    if order == 10:
        # As order 8, but the first cross attention comes after two rounds.
        shifted = layer - 9
        return (1, 2, 3, 1, 2, 3, 1, 2, 3, 6)[shifted % 10] if shifted >= 0 else by_three
    if layer % 16 != 15:
        return by_three
    return ((6, 6, 0) if order == 11 else (7, 7, 0))[layer % 3]


@dataclasses.dataclass(frozen=True)
class TransformerSizes:
    """Sizes of a transformer over tokens.

    Attributes:
        vocabulary: Vocabulary size V.
        context_length: Sequence length L in tokens.
        hidden_dim: Width W of the residual stream.
        num_layers: Number of layers.
        num_heads: Number of attention heads H.
        attention_dim: Width S of queries, keys and values of all heads together.
        filter_dim: Hidden width of feed-forward layers.
        order: Kinds of attention of the layers; see `attention_kinds`.
        blocks: Number of rows R of the table that factored attention arranges a sequence in.
        spread: Positions at the end of each row that summary-spread attention sees.
        prime: Number of tokens in front that prime attention sees; 0 for none.
        initial_scale: Factor on the standard deviations of the initial weights.
        residual_scale: Whether residual branches are divided by the number of layers.
    """

    vocabulary: int
    context_length: int
    hidden_dim: int
    num_layers: int
    num_heads: int
    attention_dim: int
    filter_dim: int
    order: int
    blocks: int
    spread: int = 1
    prime: int = 0
    initial_scale: float = 1.0
    residual_scale: bool = False

    @property
    def row(self) -> int:
        """Positions C of a row."""
        return self.context_length // self.blocks

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kind of attention of each layer."""
        return attention_kinds(self.order, self.num_layers)


@dataclasses.dataclass(frozen=True)
class JukeboxPriorConfig(ModelSection):
    """Sizes of a prior, or of an upsampler if it has `conditioner_stages`.

    Jukebox (Dhariwal et al. 2020, https://arxiv.org/abs/2005.00341, §4 and appendix B.2).

    Attributes:
        codes: Codebook size K.
        context: Context length in codes.
        width: Model width W.
        depth: Number of layers.
        heads: Number of attention heads.
        attention_factor: Width of queries, keys and values of all heads, as a share of `width`.
        feed_forward_factor: Hidden width of feed-forward layers, as a multiple of `width`.
        attention_order: Kinds of attention of the layers; see `attention_kinds`.
        blocks: Number of rows of the table that factored attention arranges a sequence in.
        spread: Positions at the end of each row that summary-spread attention sees.
        initial_scale: Factor on the standard deviations of the initial weights.
        residual_scale: Whether residual branches are divided by the number of layers.
        merged: Whether the output matrix is a separate weight. Otherwise it is tied to the token
            embeddings, and the condition is added to the last layer's output, too.
        artists: Number of artist ids; 0 for a model without labels.
        genres: Number of genre ids.
        max_genres: Largest number of genres of a piece.
        time_bins: Number of bins of each of the three embeddings of time; 0 for a model without.
        min_duration: Length of the shortest piece in seconds, for the bins of time.
        max_duration: Upper limit of the length of a piece in seconds.
        sample_rate: Sample rate of the sound in Hz.
        hop: Hop length of a code in samples.
        lyric_tokens: Characters that condition a context; 0 for a model without lyrics.
        lyric_vocabulary: Size of the alphabet; id 0 is padding.
        single_stream: Whether lyrics and codes form one sequence; otherwise lyrics have an encoder.
        lyric_width: Width of the lyric encoder.
        lyric_depth: Number of its layers.
        lyric_heads: Number of its attention heads.
        lyric_blocks: As `blocks`, for the lyric encoder.
        lyric_attention_order: As `attention_order`, for the lyric encoder.
        lyric_initial_scale: As `initial_scale`, for the lyric encoder.
        alignment_layer: Layer whose attention aligns lyrics and codes; -1 for none.
        alignment_head: Head of that layer.
        conditioner_stages: Upsampling stages of an upsampler's conditioner; 0 for a prior.
        conditioner_stride: Upsampling factor of each stage.
        conditioner_width: Channels of the conditioner.
        conditioner_depth: Residual blocks per stage.
        conditioner_growth: The dilation of block i is `conditioner_growth ** i`.
        conditioner_cycle: Number of blocks after which dilations start again at 1; 0 for never.
        conditioner_residual_scale: Whether residual branches are divided by the square root of
            their number.
    """

    kind: ClassVar[str] = "jukebox"
    quantizers: ClassVar[int] = 1  # codes per frame

    codes: int = 2048
    context: int = 8192
    width: int = 1024
    depth: int = 48
    heads: int = 1
    attention_factor: float = 0.25
    feed_forward_factor: float = 1.0
    attention_order: int = 2
    blocks: int = 64
    spread: int = 1
    initial_scale: float = 0.7
    residual_scale: bool = False
    merged: bool = False
    artists: int = 0
    genres: int = 0
    max_genres: int = 1
    time_bins: int = 0
    min_duration: float = 60.0
    max_duration: float = 600.0
    sample_rate: int = 44100
    hop: int = 128
    lyric_tokens: int = 0
    lyric_vocabulary: int = 79
    single_stream: bool = False
    lyric_width: int = 256
    lyric_depth: int = 9
    lyric_heads: int = 2
    lyric_blocks: int = 32
    lyric_attention_order: int = 2
    lyric_initial_scale: float = 0.7
    alignment_layer: int = -1
    alignment_head: int = 0
    conditioner_stages: int = 0
    conditioner_stride: int = 2
    conditioner_width: int = 1024
    conditioner_depth: int = 16
    conditioner_growth: int = 3
    conditioner_cycle: int = 8
    conditioner_residual_scale: bool = False

    def __post_init__(self) -> None:
        self._check_sizes()
        self._check_labels()
        self._check_stack("", self.music)
        if self.separate_lyrics:
            self._check_stack("lyric_", self.lyric_encoder)
        self._check_kinds()

    def _check_sizes(self) -> None:
        names = ("codes", "context", "width", "depth", "heads", "blocks", "spread", "hop")
        self.check_at_least(1, *names, "sample_rate", "max_genres")
        if self.separate_lyrics:
            self.check_at_least(1, "lyric_width", "lyric_depth", "lyric_heads", "lyric_blocks")
        if self.conditioner_stages:
            self.check_at_least(1, "conditioner_width", "conditioner_depth", "conditioner_growth")
        names = ("artists", "genres", "time_bins", "lyric_tokens", "conditioner_stages")
        self.check_at_least(0, *names)
        if self.conditioner_stages and (self.conditioner_stride < 2 or self.conditioner_stride % 2):
            raise UserError(f"model.conditioner_stride={self.conditioner_stride} must be even")
        if self.context % self.above_ratio:
            raise UserError(
                f"model.context={self.context} is not divisible by {self.above_ratio}, the codes "
                "per code of the level above"
            )

    def _check_labels(self) -> None:
        if bool(self.artists) != bool(self.genres):
            raise UserError(
                f"model.artists={self.artists} and model.genres={self.genres}: give both, or "
                "neither for a model without labels"
            )
        for name in ("time_bins", "lyric_tokens"):
            if getattr(self, name) and not self.labelled:
                raise UserError(f"model.{name}={getattr(self, name)} needs labels; set artists")
        if self.time_bins and not 0 <= self.min_duration < self.max_duration:
            raise UserError(
                f"model.min_duration={self.min_duration} must lie below "
                f"model.max_duration={self.max_duration}"
            )
        if self.time_bins and self.conditioner_stages:
            raise UserError(
                "An upsampler is conditioned on the codes above, not on time; set model.time_bins=0"
            )
        if self.single_stream and not self.lyric_tokens:
            raise UserError("model.single_stream joins codes and lyrics; set model.lyric_tokens")
        if self.single_stream and self.merged:
            raise UserError("model.merged does not go with model.single_stream")

    def _check_stack(self, prefix: str, sizes: TransformerSizes) -> None:
        if sizes.context_length % sizes.blocks:
            raise UserError(
                f"model.{prefix}blocks={sizes.blocks} rows do not divide "
                f"{sizes.context_length} tokens"
            )
        if sizes.attention_dim % sizes.num_heads or sizes.attention_dim < 1:
            raise UserError(
                f"The attention width {sizes.attention_dim} is not divisible by "
                f"model.{prefix}heads={sizes.num_heads}; change width or attention_factor"
            )
        if not 0 <= sizes.order <= LAST_ORDER:
            raise UserError(
                f"model.{prefix}attention_order={sizes.order} must be 0 to {LAST_ORDER}"
            )

    def _check_kinds(self) -> None:
        kinds = self.music.kinds
        if "summary_spread" in kinds and self.spread > self.music.row:
            raise UserError(
                f"model.spread={self.spread} is more than a row of {self.music.row} tokens has"
            )
        if "cross" in kinds and not self.separate_lyrics:
            raise UserError(
                f"model.attention_order={self.attention_order} attends to a lyric encoder; set "
                "model.lyric_tokens and single_stream=false, or another order"
            )
        if self.separate_lyrics and "cross" not in kinds:
            raise UserError(
                f"model.attention_order={self.attention_order} does not attend to the lyric "
                f"encoder in {self.depth} layers; take 6, 7, 8, 10 or 11, or more layers"
            )
        if "prime" in kinds and not self.single_stream:
            raise UserError(
                f"model.attention_order={self.attention_order} attends to lyrics in front of "
                "codes; set model.single_stream, or another order"
            )
        if self.separate_lyrics and {"cross", "prime"} & set(self.lyric_encoder.kinds):
            raise UserError(
                f"model.lyric_attention_order={self.lyric_attention_order} is not for lyrics"
            )
        if self.alignment_layer < 0:
            return
        layers = [i for i, kind in enumerate(kinds) if kind in ("cross", "prime")]
        if self.alignment_layer not in layers:
            raise UserError(
                f"model.alignment_layer={self.alignment_layer} does not attend to lyrics; the "
                f"layers {layers} do"
            )
        if not 0 <= self.alignment_head < self.heads:
            raise UserError(
                f"model.alignment_head={self.alignment_head} must be below heads={self.heads}"
            )

    @property
    def labelled(self) -> bool:
        """Whether a model is conditioned on artist and genre."""
        return self.artists > 0

    @property
    def separate_lyrics(self) -> bool:
        """Whether lyrics have a separate encoder."""
        return self.lyric_tokens > 0 and not self.single_stream

    @property
    def front(self) -> int:
        """Number of tokens in front of the codes."""
        return self.lyric_tokens if self.single_stream else 0

    @property
    def shift(self) -> int:
        """Token id of code 0."""
        return self.lyric_vocabulary if self.single_stream else 0

    @property
    def label_size(self) -> int:
        """Length of a label vector; 0 without labels."""
        return 4 + self.max_genres + self.lyric_tokens if self.labelled else 0

    @property
    def above_ratio(self) -> int:
        """Codes per code of the level above; 1 for a prior."""
        return self.conditioner_stride**self.conditioner_stages

    @property
    def conditioner_dilations(self) -> tuple[int, ...]:
        """Dilations of the residual blocks of a stage."""
        cycle = self.conditioner_cycle or self.conditioner_depth
        return tuple(self.conditioner_growth ** (i % cycle) for i in range(self.conditioner_depth))

    @property
    def music(self) -> TransformerSizes:
        """Sizes of the transformer over codes."""
        return TransformerSizes(
            vocabulary=self.shift + self.codes,
            context_length=self.front + self.context,
            hidden_dim=self.width,
            num_layers=self.depth,
            num_heads=self.heads,
            attention_dim=int(self.attention_factor * self.width),
            filter_dim=int(self.feed_forward_factor * self.width),
            order=self.attention_order,
            blocks=self.blocks,
            spread=self.spread,
            prime=self.front,
            initial_scale=self.initial_scale,
            residual_scale=self.residual_scale,
        )

    @property
    def lyric_encoder(self) -> TransformerSizes:
        """Sizes of the transformer over lyrics."""
        return TransformerSizes(
            vocabulary=self.lyric_vocabulary,
            context_length=self.lyric_tokens,
            hidden_dim=self.lyric_width,
            num_layers=self.lyric_depth,
            num_heads=self.lyric_heads,
            attention_dim=self.lyric_width // 4,
            filter_dim=self.lyric_width,
            order=self.lyric_attention_order,
            blocks=self.lyric_blocks,
            initial_scale=self.lyric_initial_scale,
        )


@dataclasses.dataclass(frozen=True)
class NextCodeObjective(Objective):
    """Cross-entropy of the next code, in bits.

    Attributes:
        lyric_share: Weight of the cross-entropy of the next character; that of codes is 1.
    """

    kind: ClassVar[str] = "next_code"

    lyric_share: float = 0.4

    def __post_init__(self) -> None:
        self.check_at_least(0, "lyric_share")

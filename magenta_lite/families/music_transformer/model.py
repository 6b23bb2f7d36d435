"""Music Transformer: a transformer decoder, optionally with an encoder of a melody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import keras
import numpy as np
import tensorflow as tf

from magenta_lite.converters.token_rules import TokenRules
from magenta_lite.errors import UserError
from magenta_lite.families.music_transformer import evaluation, generation, inference, stepping
from magenta_lite.families.music_transformer.config import (
    MusicTransformerConfig,
    NextTokenObjective,
)
from magenta_lite.families.music_transformer.grammar import Conditioning, TokenGrammar
from magenta_lite.families.music_transformer.losses import PAD, token_nll
from magenta_lite.families.music_transformer.options import MusicTransformerOptions
from magenta_lite.layers.attention import padding_bias, timing_signal
from magenta_lite.layers.dropout import Dropout
from magenta_lite.layers.transformer import (
    LayerSizes,
    TransformerLayer,
    prefilled,
    step,
)
from magenta_lite.layers.weights import embedding_table, norm_weights, normalize, product
from magenta_lite.modeling.music_model import (
    COUNTED_EXAMPLES,
    MusicModel,
    RandomInput,
    is_top,
    share_of_commonest,
    with_mean_count,
)
from magenta_lite.typing import Batch, Tensor

if TYPE_CHECKING:
    from magenta_lite.config import ExperimentConfig
    from magenta_lite.converters.token_converter import TokenConverter

TARGET_SPACES = 32
EMBEDDING_DROPOUT = 6  # place in `Dropout`; each layer uses places from a multiple of 8 on
MEMORY_DROPOUT = 7
FIRST_ENCODER_LAYER = 1024  # number of the first encoder layer, for its dropout


@keras.saving.register_keras_serializable("magenta_lite.music_transformer")
class MusicTransformer(MusicModel):
    """A transformer that predicts the next token of a performance (Huang et al. 2018).

    https://arxiv.org/abs/1809.04281. Layers are those of tensor2tensor's `transformer`, whose
    checkpoints can be loaded: pre-norm, sinusoidal positions added to the embeddings, and relative
    attention. An optional encoder reads a melody that the decoder attends to.

    Shape letters: B batch, T tokens, I inputs, V vocabulary size, C channels.

    Args:
        rules: Grammar of the V tokens. With `inputs` the model has an encoder of a melody. Token 0
            is padding and does not count in the loss.
        model: Sizes.
        objective: Loss.
        crop: Length of training examples in tokens; 0 for varying lengths.
        context: Tokens in sight when pieces are written, unless they accompany melodies; 0 for
            `model.positions`.

    Call arguments:
        batch: A dict of `events` int (B, T); `inputs` int (B, I), the melodies, unless they precede
            the events as in stored examples; and optionally `dropout`, see `random_inputs`.

    Returns:
        Logits float32 (B, T, V); those at t predict token t from the tokens before it.

    Differences from the original: dropout of attention weights is shared by all heads of a layer;
    the encoder of a model with relative attention has relative distances to both sides, where the
    original's code assigns wrong distances to later positions.
    """

    Options = MusicTransformerOptions
    metric_meanings = evaluation.MEANINGS

    def __init__(
        self,
        rules: TokenRules,
        model: MusicTransformerConfig,
        objective: NextTokenObjective,
        crop: int = 0,
        context: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.context = context
        self.rules, self.sizes, self.objective, self.crop = rules, model, objective, crop
        sizes, input_size = model, rules.inputs
        if input_size and not sizes.sines:
            raise UserError("model.sines=false leaves melodies without positions; leave it out")
        self.embedding = self._embedding(rules.size, "embedding")
        tied = sizes.tie_embeddings and not input_size
        self.softmax = self.embedding if tied else self._embedding(rules.size, "softmax")
        self.position_table = None
        if sizes.attention == "learned":
            self.position_table = self._embedding(sizes.positions, "positions")
        if not sizes.sines:
            # The input before the first token must not be zero, which cannot be normalized.
            self.start = self._embedding(1, "start")
        self.voices = self._embedding(sizes.voices, "voices") if sizes.voices else None
        self.pitch_numbers = rules.pitch_numbers()
        self.decoder = self._stack("decoder", 0, memory=bool(input_size))
        self.decoder_norm = norm_weights(self, "decoder_norm", sizes.hidden_size)
        self.encoder, self.input_embedding = [], None
        if input_size:
            self.input_embedding = self._embedding(input_size, "input_embedding")
            # The original's encoder reads a target-space embedding, which is always the first.
            self.target_spaces = self._embedding(TARGET_SPACES, "target_spaces")
            self.encoder = self._stack("encoder", FIRST_ENCODER_LAYER, both_sides=True)
            self.encoder_norm = norm_weights(self, "encoder_norm", sizes.hidden_size)
        self.accuracy = keras.metrics.Mean(name="accuracy")
        self.nll = keras.metrics.Mean(name="nll_per_token")
        self.grammar = TokenGrammar(rules)

    def _embedding(self, rows: int, name: str):
        hidden = self.sizes.hidden_size
        return embedding_table(self, name, rows, hidden, hidden**-0.5)

    def _stack(self, name: str, first: int, both_sides: bool = False, memory: bool = False):
        sizes, local = self.sizes, self.sizes.attention == "relative_local"
        pitches = int(self.pitch_numbers.max())
        # Local attention is causal; its encoder uses global attention without relative positions.
        layer = LayerSizes(
            hidden_dim=sizes.hidden_size,
            key_dim=sizes.key_size,
            filter_dim=sizes.filter_size,
            num_heads=sizes.heads,
            table_rows=0 if both_sides and local else sizes.table_rows,
            shared_table=sizes.share_relative_table,
            pitches=pitches if sizes.relative_pitch and not both_sides else 0,
            both_sides=both_sides,
            block=sizes.block_length if local and not both_sides else 0,
            memory=memory,
        )
        return [
            TransformerLayer(layer, first + i, name=f"{name}_{i}", dtype=self.dtype_policy)
            for i in range(sizes.layers)
        ]

    def random_inputs(self, training: bool = True) -> dict[str, RandomInput]:
        return {"dropout": RandomInput("seed", (2,))} if training and self.sizes.dropout else {}

    # The network; `decoder_interface.CachedDecoder` documents the methods of decoding ------------

    def separated(self, batch: Batch) -> Batch:
        """Moves melodies that precede `events` in the batch to `inputs` (B, I)."""
        if not self.rules.inputs or "inputs" in batch:
            return batch
        steps, events = self.rules.input_steps, tf.cast(batch["events"], tf.int32)
        melodies = tf.maximum(events[:, :steps] - self.rules.size, PAD)  # PAD in padded rows
        return batch | {"inputs": melodies, "events": events[:, steps:]}

    def call(self, batch: Batch, training: bool = False) -> Tensor:
        batch = self.with_random_inputs(self.separated(batch), training)
        dropout = Dropout(batch.get("dropout") if training else None, self.sizes.dropout)
        memory, memory_bias = None, None
        if self.rules.inputs:
            memory, memory_bias = self.encode(batch["inputs"], dropout)
        ids = tf.cast(batch["events"], tf.int32)
        x = dropout(self.embed_shifted(ids), EMBEDDING_DROPOUT)
        x = tf.cast(x, self.decoder[0].compute_dtype)
        pitches = self._pitches(_shifted(ids))
        for layer in self.decoder:
            x = layer(x, None, memory, memory_bias, dropout=dropout, pitches=pitches)
        return self.logits(x)

    def prefill(
        self, ids: Tensor, memory: Tensor | None = None, memory_bias: Tensor | None = None
    ) -> list[tuple[Tensor, Tensor]]:
        x, pitches = self.embed_shifted(ids), self._pitches(_shifted(ids))
        return prefilled(self.decoder, x, memory, memory_bias, pitches)

    def reread(self, window: Tensor, conditioning: Any, grammar_state: Any) -> list:
        del conditioning, grammar_state
        return self.prefill(window)

    def step_weights(self) -> tuple:
        return tuple(layer.step_weights() for layer in self.decoder)

    @property
    def context_length(self) -> int:
        positions = self.sizes.positions
        return min(self.context, positions) if self.context and self.slides else positions

    @property
    def slides(self) -> bool:
        return not self.rules.inputs  # an accompaniment keeps its place beside the melody

    @property
    def attention_span(self) -> int:
        is_local = self.sizes.attention == "relative_local"
        return 2 * self.sizes.block_length if is_local else self.context_length

    @property
    def slot_size(self) -> int:
        sizes, depth = self.sizes, self.decoder[0].key_depth
        return sizes.layers * (sizes.heads * depth + sizes.hidden_size)

    @property
    def cache_grows(self) -> bool:
        return self.sizes.attention != "relative_local"

    @property
    def max_length(self) -> int:
        sizes, goes_on = self.sizes, self.slides or self.position_table is None
        return 4 * sizes.positions if goes_on else sizes.positions

    @property
    def training_length(self) -> int:
        """Length of the training examples in tokens, as far as it is the same for all."""
        return min(self.crop or self.sizes.positions, self.sizes.positions)

    @property
    def fills_gaps(self) -> bool:
        """Whether some of the training examples have gaps; see `gap_layout`."""
        return self.rules.fill_end is not None

    def prefix_length(self, conditioning: Any) -> int:
        del conditioning
        return 0

    def condition(self, inputs: Any, rows: Any) -> tuple[tuple, Conditioning]:
        """Encodes the melody int32 (I,) that pieces accompany, or (N, I), a melody of each.

        A model without inputs may have the length of a gap instead, an integer, or None.
        """
        if not self.rules.inputs:
            gap = None if inputs is None else tf.convert_to_tensor(inputs, tf.int32)
            return (), Conditioning(gap=gap)
        if len(inputs.shape) == 2:
            return (), Conditioning(melody=self._condition_rows(inputs))
        memory, bias = self.encode(tf.convert_to_tensor(inputs, tf.int32)[None])

        def for_all(x):  # (1, H, I, D) as (N * H, I, D)
            return tf.tile(x[0], [rows, 1, 1])

        pairs = [layer.keys_values(memory, "memory_attention") for layer in self.decoder]
        pairs = tuple((for_all(k), for_all(v)) for k, v in pairs)
        return (memory, bias), Conditioning(melody=(pairs, bias[0, 0, 0]))

    def _condition_rows(self, inputs):
        memory, bias = self.encode(inputs)
        each = [layer.keys_values(memory, "memory_attention") for layer in self.decoder]
        pairs = tuple(tuple(tf.reshape(x, [-1, *x.shape[2:]]) for x in pair) for pair in each)
        return pairs, tf.repeat(bias[:, 0], self.sizes.heads, axis=0)  # (N * H, 1, I)

    def step(
        self,
        weights: tuple,
        ids: Tensor,
        position: Tensor,
        keys: tuple,
        values: tuple,
        conditioning: Conditioning | None = None,
        grammar_state: Any = None,
    ) -> tuple[Tensor, tuple, tuple]:
        """Reads one token of each piece."""
        del grammar_state
        x = self._lookup(self.embedding, ids) + self.position_signal(position[None])
        memory = conditioning.melody if conditioning else ()
        memories = [(pair, memory[1]) for pair in memory[0]] if memory else None
        pitches = self._pitches(ids)
        x, keys, values = step(self.decoder, weights, x, position, keys, values, memories, pitches)
        return self.logits(x), keys, values

    def encode(self, inputs: Tensor, dropout: Dropout | None = None) -> tuple[Tensor, Tensor]:
        """Returns the memory (B, I, C) of melodies int (B, I), and the bias that masks padding.

        If I is unknown, melodies are cut or padded to `rules.input_steps`.
        """
        dropout = dropout or Dropout(None, 0.0)
        inputs = tf.cast(inputs, tf.int32)
        if inputs.shape[1] is None:
            inputs = _cut_or_pad(inputs, self.rules.input_steps)
        x = self._lookup(self.input_embedding, inputs) + self.target_spaces[0]
        x += self.position_signal(tf.range(inputs.shape[1]))
        x = tf.cast(dropout(x, MEMORY_DROPOUT), self.encoder[0].compute_dtype)
        bias = padding_bias(inputs == PAD)
        for layer in self.encoder:
            x = layer(x, bias, dropout=dropout)
        return normalize(x, *self.encoder_norm), bias

    def embed_shifted(self, ids: Tensor) -> Tensor:
        """Returns the decoder inputs (B, T, C): embeddings of the previous token, and positions."""
        shifted = tf.pad(self._lookup(self.embedding, ids), [[0, 0], [1, 0], [0, 0]])[:, :-1]
        return shifted + self.position_signal(tf.range(ids.shape[1]))

    def _pitches(self, ids):
        """Returns the numbers of the pitches of ids; None if attention is not relative in pitch."""
        return tf.gather(self.pitch_numbers, ids) if self.sizes.relative_pitch else None

    def _lookup(self, table, ids):
        rows = tf.gather(table, ids) * self.sizes.hidden_size**0.5
        return rows * tf.cast(ids != PAD, tf.float32)[..., None]

    def position_signal(self, positions: Tensor) -> Tensor:
        """Returns embeddings float32 (T, C) of positions, and of voices if the model has them."""
        signal = self._position_signal(positions)
        if self.voices is None:
            return signal
        voices = tf.gather(self.voices, positions % self.sizes.voices)
        return signal + voices * self.sizes.hidden_size**0.5

    def _position_signal(self, positions):
        """Returns position embeddings float32 (T, C); without sines, of the first position only."""
        if self.position_table is not None:
            return tf.gather(self.position_table, positions)
        if not self.sizes.sines:
            first = tf.cast(positions == 0, tf.float32)[:, None]
            return first * self.start * self.sizes.hidden_size**0.5
        return timing_signal(positions, self.sizes.hidden_size)

    def logits(self, x: Tensor) -> Tensor:
        """Returns logits float32 (..., V) of the output (..., C) of the last layer."""
        normed = normalize(x, *self.decoder_norm)
        return tf.cast(product(normed, tf.transpose(self.softmax)), tf.float32)

    # The objective -------------------------------------------------------------------------

    def majority_accuracy(self, examples: Any) -> float:
        batch = self.separated({"events": examples.events[:COUNTED_EXAMPLES]})
        ids = np.asarray(batch["events"])
        return share_of_commonest(ids[ids != PAD])

    def preprocess(self, batch: Batch, training: bool) -> Batch:
        batch = self.separated(batch)
        return with_mean_count(batch, self.counted(batch["events"]))

    def counted(self, ids: Tensor) -> Tensor:
        """Returns the mask of predicted tokens: float (B, T), 0 for padding and marks of gaps."""
        first, last = self.rules.marks
        told = (ids == PAD) | ((ids >= first) & (ids <= last))
        return tf.cast(~told, tf.float32)

    def mean_loss(self, batch: Batch, outputs: Any, training: bool = True) -> Tensor:
        """Returns the mean cross-entropy over all tokens of the batch, in nats.

        With label smoothing the entropy of the smoothed target is subtracted, so the minimum is 0.
        """
        counts = self.counted(batch["events"])
        batch = with_mean_count(batch, counts)
        nll, log_p = token_nll(batch["events"], outputs)
        target = nll
        smoothing = self.objective.label_smoothing
        if training and smoothing:
            kept, others = 1 - smoothing, smoothing / (self.rules.size - 1)
            rest = -tf.reduce_sum(log_p, axis=-1) - nll
            entropy = -kept * tf.math.log(kept) - smoothing * tf.math.log(others + 1e-20)
            target = kept * nll + others * rest - entropy
        self.nll.update_state(nll, sample_weight=counts)
        self.accuracy.update_state(is_top(outputs, batch["events"]), sample_weight=counts)
        return tf.reduce_mean(tf.reduce_sum(target * counts, axis=1) / batch["mean_count"])

    # Inference -----------------------------------------------------------------------------

    def log_likelihood(self, events: Tensor, inputs: Tensor | None = None) -> Tensor:
        """Returns the log probability of each row of tokens, float32 (B,), in nats.

        Tokens int (B, T) are padded with 0; if T is unknown, it is at most `positions`. A model of
        accompaniments needs the melodies `inputs` int (B, I).
        """
        if events.shape[1] is None:
            events = _cut_or_pad(events, self.sizes.positions)
        nll, _ = token_nll(events, self({"events": events, "inputs": inputs}))
        return -tf.reduce_sum(nll * self.counted(events), axis=1)

    # The contract of a family ------------------------------------------------------------

    generate = generation.generate
    measure = evaluation.measure
    measure_gaps = evaluation.measure_gaps
    signatures = inference.signatures
    signature_arguments = inference.signature_arguments
    row_signature = inference.row_signature
    row_arguments = inference.row_arguments
    step_functions = stepping.step_functions

    @classmethod
    def for_config(cls, config: ExperimentConfig, converter: TokenConverter, **kwargs: Any) -> Self:
        rules = converter.rules.with_max_silence(config.generate.max_silence)
        half = converter.crop // 2
        half -= half % converter.crop_grid  # a step of a chorale is not divided
        context = 2 * half * config.generate.trained_context
        return cls(rules, config.model, config.objective, converter.crop, context, **kwargs)


def _cut_or_pad(ids, length: int):
    """Returns ids (B, T) cut or padded to T = `length`."""
    return tf.ensure_shape(tf.pad(ids, [[0, 0], [0, length]])[:, :length], [None, length])


def _shifted(ids):
    """Returns the tokens (B, T) before those at each position."""
    return tf.pad(ids, [[0, 0], [1, 0]])[:, :-1]

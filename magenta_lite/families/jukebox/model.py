"""Jukebox's models of codes: a prior for the coarsest level and upsamplers for the finer ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from magenta_lite.errors import UserError
from magenta_lite.families.jukebox import evaluation, generation, inference
from magenta_lite.families.jukebox.blocks import TokenTransformer
from magenta_lite.families.jukebox.conditioning import CodeConditioner, LabelEmbedding, LyricEncoder
from magenta_lite.families.jukebox.config import JukeboxPriorConfig, NextCodeObjective
from magenta_lite.families.jukebox.losses import bits_of
from magenta_lite.families.jukebox.options import JukeboxOptions
from magenta_lite.modeling.music_model import COUNTED_EXAMPLES, MusicModel, share_of_commonest
from magenta_lite.typing import Batch, Tensor

if TYPE_CHECKING:
    from magenta_lite.config import ExperimentConfig
    from magenta_lite.converters.codes import CodesConverter


class Conditioning(NamedTuple):
    """The conditioning of the transformer over codes; None for inputs that a model does not have.

    Attributes:
        start: Float (B, 1, W), the start vector before the first token.
        condition: Float (B, L, W), added to the token embeddings.
        memory: Float (B, T, W), the encoded lyrics for cross attention.
        lyrics: Int32 (B, T), the ids of the characters.
    """

    start: Any = None
    condition: Any = None
    memory: Any = None
    lyrics: Any = None


class CodePrior(MusicModel):
    """Base class of the models that predict the next code."""

    metric_meanings = evaluation.MEANINGS
    # Whether the model is conditioned on the codes of the level above.
    upsamples: ClassVar[bool] = False
    sizes: Any

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.bits = keras.metrics.Mean(name="bits_per_token")
        self.accuracy = keras.metrics.Mean(name="accuracy")

    def majority_accuracy(self, examples: Any) -> float:
        return share_of_commonest(np.ravel(examples.events[:COUNTED_EXAMPLES]))

    def pictures(self, converter: CodesConverter, examples: Any, seed: int) -> tuple[Any, ...]:
        return ()  # codes are not drawn

    def mean_loss(self, batch: Batch, outputs: Any, training: bool = True) -> Tensor:
        """Returns the mean cross-entropy per code, in bits, of logits (..., K)."""
        codes = tf.cast(batch["events"], tf.int32) + self.sizes.shift
        bits = bits_of(codes, outputs)
        self.bits.update_state(bits)
        right = tf.argmax(outputs, axis=-1, output_type=tf.int32) == codes
        self.accuracy.update_state(tf.cast(right, tf.float32))
        return tf.reduce_mean(bits)

    # The contract of a family ------------------------------------------------------------

    generate = generation.generate
    measure = evaluation.measure
    signatures = inference.signatures
    signature_arguments = inference.signature_arguments
    row_signature = inference.row_signature
    row_arguments = inference.row_arguments


@keras.saving.register_keras_serializable("magenta_lite.jukebox")
class JukeboxPrior(CodePrior):
    """A transformer that predicts the next code of the sound of a piece.

    After Jukebox (Dhariwal et al. 2020, https://arxiv.org/abs/2005.00341, §4). It may be
    conditioned on artist, genres, the time in the piece and lyrics. Lyrics have an encoder that
    some layers attend to, or lyrics and codes form one sequence, in which code k is token
    `lyric_vocabulary + k`.

    Shape letters: B batch, L context length in codes, K codes, T characters, V size of the
    alphabet, W width.

    Call arguments:
        batch: A dict of `events` int (B, L), codes; `labels` int (B, `label_size`), see
            `LabelEmbedding`, where the model has labels; and `above` int (B, L / ratio), the codes
            of the level above, for an upsampler.

    Returns:
        Logits float32 (B, L, K): those at t predict code t from all codes before it. With lyrics a
        pair of these and the logits (B, T, V) of the characters; in a single sequence the last
        axis of both is V + K.

    Differences from the original: a batch with separate lyrics may have several rows; summary
    attention supports sampling, too; the length of a piece includes the prompt.
    """

    Options = JukeboxOptions

    def __init__(
        self, model: JukeboxPriorConfig, objective: NextCodeObjective | None = None, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.sizes = sizes = model
        self.objective = objective or NextCodeObjective()
        if bool(sizes.conditioner_stages) != self.upsamples:
            raise UserError(
                f"model.conditioner_stages={sizes.conditioner_stages}: an upsampler has 1 or more, "
                "a prior 0"
            )
        readout, dtype = "own" if sizes.merged else "tied", self.dtype_policy
        self.music = TokenTransformer(
            sizes.music, not sizes.labelled, readout, name="music", dtype=dtype
        )
        self.label_embedding = self.lyric_encoder = self.conditioner = None
        if sizes.labelled:
            self.label_embedding = LabelEmbedding(sizes, name="labels", dtype=dtype)
        if sizes.separate_lyrics:
            self.lyric_encoder = LyricEncoder(sizes, name="lyrics", dtype=dtype)
        if self.upsamples:
            self.conditioner = CodeConditioner(sizes, name="conditioner", dtype=dtype)
        self.lyric_bits: Any = None  # without lyrics
        if sizes.lyric_tokens:
            self.lyric_bits = keras.metrics.Mean(name="lyric_bits_per_token")

    # The network ---------------------------------------------------------------------------

    def call(self, batch: Batch, training: bool = False) -> Any:
        del training
        conditioning = self.conditioning(batch.get("labels"), batch.get("above"))
        ids = self.tokens(batch["events"], conditioning.lyrics)
        x = self.music(ids, conditioning.start, conditioning.condition, conditioning.memory)
        logits = self.music.logits(x, conditioning.condition)
        if self.sizes.single_stream:
            lyric_logits, logits = tf.split(logits, [self.sizes.front, self.sizes.context], axis=1)
            return logits, lyric_logits
        if self.lyric_encoder is not None:
            return logits, self.lyric_encoder.logits(conditioning.memory)
        return logits

    def conditioning(
        self, labels: Tensor | None = None, above: Tensor | None = None
    ) -> Conditioning:
        """Returns the conditioning: embedded labels, lyrics and codes of the level above.

        Args:
            labels: Int (B, `label_size`); None for a model without.
            above: Int (B, L / ratio); None for a prior.
        """
        sizes = self.sizes
        start = condition = memory = lyrics = None
        if self.label_embedding is not None:
            labels = tf.cast(labels, tf.int32)
            start, condition = self.label_embedding(labels)
        if self.conditioner is not None:
            condition = self.conditioner(tf.cast(above, tf.int32))
        if sizes.lyric_tokens:
            _, lyrics = tf.split(labels, [4 + sizes.max_genres, sizes.lyric_tokens], axis=1)
        if self.lyric_encoder is not None:
            memory = self.lyric_encoder(lyrics)
        if sizes.front and condition is not None:
            # The lyrics in front have no time.
            condition = tf.pad(condition, [[0, 0], [sizes.front, 0], [0, 0]])
        return Conditioning(start, condition, memory, lyrics)

    def tokens(self, codes: Tensor, lyrics: Tensor | None = None) -> Tensor:
        """Returns the tokens int32 (B, L) for codes, or (B, T + L) with lyrics in front."""
        ids = tf.cast(codes, tf.int32) + self.sizes.shift
        return tf.concat([lyrics, ids], axis=1) if self.sizes.single_stream else ids

    def codes_of(self, ids: Tensor) -> Tensor:
        """Returns the codes int32 (B, L) for tokens; code 0 for a character."""
        _, codes = tf.split(ids, [self.sizes.front, self.sizes.context], axis=1)
        return tf.maximum(codes - self.sizes.shift, 0)

    def code_at(self, position: Tensor) -> Tensor:
        """Returns the index of the code at a token's position; negative for a character."""
        return position - self.sizes.front

    def lyric_attention(self, batch: Batch) -> Tensor:
        """Returns the attention weights of codes to characters, float32 (B, H, L, T).

        They are those of the layer `alignment_layer`, for a batch as of the call.

        Raises:
            UserError: If the model has no such layer.
        """
        sizes = self.sizes
        if sizes.alignment_layer < 0:
            raise UserError("This model has no layer that aligns lyrics (model.alignment_layer=-1)")
        conditioning = self.conditioning(batch["labels"], batch.get("above"))
        ids = self.tokens(batch["events"], conditioning.lyrics)
        weights = self.music.weights_at(sizes.alignment_layer, ids, *conditioning[:3])
        if not sizes.single_stream:
            return weights
        keys = weights.shape[3]
        _, of_codes = tf.split(weights, [sizes.front, sizes.context], axis=2)
        return tf.split(of_codes, [sizes.front, keys - sizes.front], axis=3)[0]

    # The objective -------------------------------------------------------------------------

    def mean_loss(self, batch: Batch, outputs: Any, training: bool = True) -> Tensor:
        """Returns the mean cross-entropy per code, in bits.

        With lyrics, the mean is over all tokens; characters have weight `objective.lyric_share`.
        """
        if not isinstance(outputs, tuple):
            return super().mean_loss(batch, outputs, training)
        sizes, (logits, lyric_logits) = self.sizes, outputs
        loss = super().mean_loss(batch, logits, training)
        lyrics = tf.cast(batch["labels"], tf.int32)[:, -sizes.lyric_tokens :]
        lyric_bits = bits_of(lyrics, lyric_logits)
        self.lyric_bits.update_state(lyric_bits)
        lyric_loss = self.objective.lyric_share * tf.reduce_mean(lyric_bits)
        total = sizes.context + sizes.lyric_tokens
        return (loss * sizes.context + lyric_loss * sizes.lyric_tokens) / total

    @classmethod
    def for_config(
        cls, config: ExperimentConfig, converter: CodesConverter, **kwargs: Any
    ) -> JukeboxPrior:
        del converter
        kind = JukeboxUpsampler if config.model.conditioner_stages else JukeboxPrior
        return kind(config.model, config.objective, **kwargs)


@keras.saving.register_keras_serializable("magenta_lite.jukebox")
class JukeboxUpsampler(JukeboxPrior):
    """A prior that is conditioned on the codes of the level above; see `JukeboxPrior`.

    Its labels give artist and genres, but no time.
    """

    upsamples = True

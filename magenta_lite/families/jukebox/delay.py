"""A prior over several codes per frame, each codebook one frame behind the previous one.

The delay pattern of MusicGen (Copet et al. 2023, https://arxiv.org/abs/2306.05284, §2.2), for the
codes of a residual quantizer. The layers are those of Jukebox's priors, with dense attention.

Shape letters: B batch, T frames, N codebooks, K codes, W width; S = T + N - 1 steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import keras
import tensorflow as tf

from magenta_lite.families.jukebox.blocks import NORM_EPSILON, TokenTransformer, unembedded
from magenta_lite.families.jukebox.delay_config import DelayPriorConfig
from magenta_lite.families.jukebox.factored_attention import DEVIATION
from magenta_lite.families.jukebox.model import CodePrior, Conditioning
from magenta_lite.families.jukebox.options import DelayPriorOptions
from magenta_lite.layers.weights import embedding_table, norm_weights, normalize
from magenta_lite.typing import Batch, Tensor

if TYPE_CHECKING:
    from magenta_lite.config import ExperimentConfig
    from magenta_lite.converters.codes import CodesConverter


def delayed(codes: Tensor, empty: int) -> Tensor:
    """Moves the code of codebook n and frame t to step t + n, and pads with the id `empty`.

    Maps int (B, T, N) to int32 (B, T + N - 1, N).
    """
    books = tf.unstack(tf.cast(codes, tf.int32), axis=2)
    last = len(books) - 1
    padded = [
        tf.pad(book, [[0, 0], [n, last - n]], constant_values=empty) for n, book in enumerate(books)
    ]
    return tf.stack(padded, axis=2)


def undelayed(steps: Tensor) -> Tensor:
    """Reverts `delayed`: returns (B, T, N, ...) by frame of (B, T + N - 1, N, ...) by step."""
    books = tf.unstack(steps, axis=2)
    frames = steps.shape[1] - len(books) + 1
    return tf.stack([book[:, n : n + frames] for n, book in enumerate(books)], axis=2)


@keras.saving.register_keras_serializable("magenta_lite.jukebox")
class DelayTransformer(TokenTransformer):
    """A `TokenTransformer` that reads and predicts N tokens per step.

    Call arguments:
        ids: Int32 (B, S, N); K is the padding id.

    Returns:
        Float (B, S, W), the output of the last layer.
    """

    def __init__(self, model: DelayPriorConfig, **kwargs: Any):
        sizes = model.transformer
        super().__init__(sizes, own_start=True, readout="", **kwargs)
        self.model = model
        self.norm = norm_weights(self, "norm", sizes.hidden_dim)
        rows, deviation = model.quantizers * model.codes, DEVIATION * sizes.initial_scale
        self.output_matrix = embedding_table(
            self, "output_matrix", rows, sizes.hidden_dim, deviation
        )

    def _embedded(self, ids):
        """Returns the sum of the code embeddings of each step, (B, S, W)."""
        first = tf.range(self.model.quantizers) * (self.model.codes + 1)
        return tf.reduce_sum(tf.gather(self.embedding, ids + first), axis=2)

    def logits(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Returns float32 logits (B, S, N, K) for outputs x (B, S, W) of the last layer."""
        del condition
        logits = unembedded(normalize(x, *self.norm, epsilon=NORM_EPSILON), self.output_matrix)
        return tf.reshape(logits, [-1, x.shape[1], self.model.quantizers, self.model.codes])


@keras.saving.register_keras_serializable("magenta_lite.jukebox")
class DelayPrior(CodePrior):
    """A transformer that predicts the codes of all codebooks at once, each for another frame.

    At step s it predicts the code of codebook n for frame s - n, conditioned on all earlier steps,
    which include the codes of the previous codebooks of that frame.

    Call arguments:
        batch: A dict of `events` int (B, T, N), T = `context`.

    Returns:
        Logits float32 (B, T, N, K).
    """

    Options = DelayPriorOptions

    def __init__(self, model: DelayPriorConfig, **kwargs: Any):
        super().__init__(**kwargs)
        self.sizes = model
        self.music = DelayTransformer(model, name="music", dtype=self.dtype_policy)

    def call(self, batch: Batch, training: bool = False) -> Tensor:
        del training
        x = self.music(self.tokens(batch["events"]))
        return undelayed(self.music.logits(x))

    # The interface that `sampling` needs: that of a `JukeboxPrior`, for steps and frames.

    def conditioning(
        self, labels: Tensor | None = None, above: Tensor | None = None
    ) -> Conditioning:
        """Returns an empty conditioning: the model is unconditional."""
        del labels, above
        return Conditioning()

    def tokens(self, codes: Tensor, lyrics: Tensor | None = None) -> Tensor:
        """Returns the tokens of each step, int32 (B, S, N), for codes (B, T, N)."""
        del lyrics
        return delayed(codes, self.sizes.codes)

    def codes_of(self, ids: Tensor) -> Tensor:
        """Returns the codes int32 (B, T, N) for the tokens of each step (B, S, N)."""
        return undelayed(ids)

    def code_at(self, position: Tensor) -> Tensor:
        """Returns the frame that each codebook's token at a step belongs to, int32 (N,)."""
        return position - tf.range(self.sizes.quantizers)

    @classmethod
    def for_config(cls, config: ExperimentConfig, converter: CodesConverter, **kwargs: Any) -> Self:
        del converter
        return cls(config.model, **kwargs)

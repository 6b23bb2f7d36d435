"""A prior over several codes per frame, each codebook one frame behind the previous one.

The delay pattern of MusicGen (Copet et al. 2023, https://arxiv.org/abs/2306.05284, §2.2), for the
codes of a residual quantizer. The layers are those of Jukebox's priors, with dense attention.

Shape letters: B batch, T frames, N codebooks, K codes, W width; S = T + N - 1 steps.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Self

import keras
import tensorflow as tf

from magenta_lite.families.jukebox import evaluation, generation, inference
from magenta_lite.families.jukebox.blocks import (
    TokenTransformer,
    norm,
    norm_weights,
    table,
    unembedded,
)
from magenta_lite.families.jukebox.delay_config import DelayPriorConfig
from magenta_lite.families.jukebox.factored_attention import DEVIATION
from magenta_lite.families.jukebox.model import CodesModel, Conditioning
from magenta_lite.families.jukebox.options import DelayPriorOptions
from magenta_lite.typing import Batch, Tensor

if TYPE_CHECKING:
    from magenta_lite.config import ExperimentConfig
    from magenta_lite.converters.codes import CodesConverter


def delayed(codes: Tensor, empty: int) -> Tensor:
    """Applies the delay pattern: the code of codebook n and frame t moves to step t + n.

    Args:
        codes: Int (B, T, N).
        empty: The padding id.

    Returns:
        Int32 (B, T + N - 1, N).
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


@keras.saving.register_keras_serializable("magenta_lite")
class DelayTransformer(TokenTransformer):
    """A `TokenTransformer` that reads and predicts N tokens per step.

    Args:
        model: A `DelayPriorConfig` or its dict.

    Call arguments:
        ids: Int32 (B, S, N); K is the padding id.

    Returns:
        Float (B, S, W), the output of the last layer.
    """

    def __init__(self, model: DelayPriorConfig | dict[str, Any], **kwargs: Any):
        self.model = DelayPriorConfig(**model) if isinstance(model, dict) else model
        sizes = self.model.transformer
        super().__init__(sizes, own_start=True, readout="", **kwargs)
        self.norm = norm_weights(self, "norm", sizes.width)
        rows = self.model.quantizers * self.model.codes
        self.output_matrix = table(
            self, "output_matrix", rows, sizes.width, DEVIATION * sizes.initial_scale
        )

    def _embedded(self, ids):
        """Returns the sum of the code embeddings of each step, (B, S, W)."""
        first = tf.range(self.model.quantizers) * (self.model.codes + 1)
        return tf.reduce_sum(tf.gather(self.embedding, ids + first), axis=2)

    def logits(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """Returns float32 logits (B, S, N, K) for outputs x (B, S, W) of the last layer."""
        del condition
        logits = unembedded(norm(x, *self.norm), self.output_matrix)
        return tf.reshape(logits, [-1, x.shape[1], self.model.quantizers, self.model.codes])

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        kept = {name: config[name] for name in ("name", "trainable", "dtype")}
        return {**kept, "model": dataclasses.asdict(self.model)}


@keras.saving.register_keras_serializable("magenta_lite")
class DelayPrior(CodesModel):
    """A transformer that predicts the codes of all codebooks at once, each for another frame.

    At step s it predicts the code of codebook n for frame s - n, conditioned on all earlier steps,
    which include the codes of the previous codebooks of that frame.

    Args:
        model: Sizes; a `DelayPriorConfig` or its dict.

    Call arguments:
        batch: A dict of `events` int (B, T, N), T = `context`.

    Returns:
        Logits float32 (B, T, N, K).
    """

    Options = DelayPriorOptions

    def __init__(self, model: DelayPriorConfig | dict[str, Any], **kwargs: Any):
        dtype = kwargs.pop("dtype", "float32")
        super().__init__(dtype=dtype, **kwargs)
        self.sizes = DelayPriorConfig(**model) if isinstance(model, dict) else model
        self.music = DelayTransformer(self.sizes, name="music")
        self.built = True

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

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "model": dataclasses.asdict(self.sizes)}

    # The contract of a family ------------------------------------------------------------

    @classmethod
    def for_config(cls, config: ExperimentConfig, converter: CodesConverter) -> Self:
        del converter
        return cls(model=config.model)

    def generate(self, options: DelayPriorOptions, converter: CodesConverter) -> list[Any]:
        return generation.generate(self, converter, options)

    def measure(self, examples: Any, seed: int = 0) -> dict[str, float]:
        return evaluation.evaluate(self, examples, seed)

    def signatures(self) -> dict[str, tf.types.experimental.PolymorphicFunction]:
        return inference.inference_functions(self)

    def signature_arguments(
        self, num_outputs: int, temperature: float, seed: int
    ) -> dict[str, tf.Tensor]:
        return inference.sampling_arguments(self, num_outputs, temperature, seed)

"""A prior over several codes a frame, the later codebooks one frame behind those before them.

The delay pattern of MusicGen (Copet et al. 2023, https://arxiv.org/abs/2306.05284, §2.2), for the
codes of a residual quantiser. Layers are those of Jukebox's priors, with dense attention.

Shape letters: B batch, T frames, N codebooks, K codes, W width; S = T + N - 1 steps.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

from magenta_lite.errors import UserError
from magenta_lite.graphs import graph_function
from magenta_lite.models.base import TrainableModel
from magenta_lite.models.decoding import Settings
from magenta_lite.models.jukebox.blocks import (
    POSITION_DEVIATION,
    FactoredBlock,
    norm,
    norm_weights,
    table,
    unembedded,
)
from magenta_lite.models.jukebox.config import TransformerSizes
from magenta_lite.models.jukebox.factored_attention import DEVIATION
from magenta_lite.models.jukebox.model import bits_of
from magenta_lite.models.jukebox.sampling import COLDEST
from magenta_lite.sampling import filtered_logits, sample_categorical


@dataclasses.dataclass(frozen=True)
class DelayPriorConfig:
    """Sizes of the network.

    Attributes:
        codes: Different codes K of each codebook.
        quantizers: Codebooks N.
        frames: Of a context.
        width: W of what layers pass on; feed-forward parts are four times as wide inside.
        depth: Layers.
        heads: Of every attention.
        initial_scale: Factor on the deviations of initial weights.
    """

    kind: ClassVar[str] = "delay"

    codes: int = 1024
    quantizers: int = 4
    frames: int = 512
    width: int = 512
    depth: int = 12
    heads: int = 8
    initial_scale: float = 1.0

    def __post_init__(self):
        for name in ("codes", "quantizers", "frames", "width", "depth", "heads"):
            if getattr(self, name) < 1:
                raise UserError(f"model.{name}={getattr(self, name)} must be at least 1")
        if self.width % self.heads:
            raise UserError(
                f"model.width={self.width} cannot be shared out among model.heads={self.heads}"
            )

    @property
    def steps(self) -> int:
        """Steps in which a context is written."""
        return self.frames + self.quantizers - 1

    @property
    def transformer(self) -> TransformerSizes:
        """Sizes of the layers."""
        return TransformerSizes(
            vocabulary=self.codes,
            length=self.steps,
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            attention_width=self.width,
            feed_forward_width=4 * self.width,
            order=0,
            blocks=1,
            initial_scale=self.initial_scale,
        )


def delayed(codes, empty: int):
    """Returns what is written at each step: codebook n of frame t at step t + n.

    Args:
        codes: Int (B, T, N).
        empty: Stands where there is no code.

    Returns:
        Int32 (B, T + N - 1, N).
    """
    books = tf.unstack(tf.cast(codes, tf.int32), axis=2)
    count = len(books)
    return tf.stack(
        [
            tf.pad(book, [[0, 0], [n, count - 1 - n]], constant_values=empty)
            for n, book in enumerate(books)
        ],
        axis=2,
    )


def undelayed(steps):
    """Returns the codes int32 (B, T, N) of what was written at each step (B, T + N - 1, N)."""
    books = tf.unstack(steps, axis=2)
    frames = steps.shape[1] - len(books) + 1
    return tf.stack([book[:, n : n + frames] for n, book in enumerate(books)], axis=2)


@keras.saving.register_keras_serializable("magenta_lite")
class DelayPrior(TrainableModel):
    """A transformer that predicts the codes of all codebooks at once, each of another frame.

    At step s it writes codebook n of frame s - n, having seen all of what was written before: of
    the same frame, the codes of the codebooks before n.

    Args:
        model: Sizes; a `DelayPriorConfig` or its dict.

    Call arguments:
        batch: A dict of `events` int (B, T, N), T = `frames`.

    Returns:
        Logits float32 (B, T, N, K).
    """

    def __init__(self, model, **kwargs):
        dtype = kwargs.pop("dtype", "float32")
        super().__init__(dtype=dtype, **kwargs)
        self.sizes = DelayPriorConfig(**model) if isinstance(model, dict) else model
        sizes, layer = self.sizes, self.sizes.transformer
        deviation = DEVIATION * sizes.initial_scale
        # The last row of each table stands where there is no code.
        self.tables = [
            table(self, f"codes_{n}", sizes.codes + 1, sizes.width, deviation)
            for n in range(sizes.quantizers)
        ]
        self.positions = table(
            self, "positions", sizes.steps, sizes.width, POSITION_DEVIATION * sizes.initial_scale
        )
        self.decoder = [
            FactoredBlock(layer, "dense", name=f"layer_{i}") for i in range(sizes.depth)
        ]
        self.norm = norm_weights(self, "norm", sizes.width)
        self.outputs = [
            table(self, f"output_{n}", sizes.codes, sizes.width, deviation)
            for n in range(sizes.quantizers)
        ]
        self.bits = keras.metrics.Mean(name="bits_per_token")
        self.accuracy = keras.metrics.Mean(name="accuracy")
        self.built = True

    def call(self, batch, training=False):
        del training
        steps = delayed(batch["events"], self.sizes.codes)
        x = self._embedded(steps)
        before, _ = tf.split(x, [self.sizes.steps - 1, 1], axis=1)
        nothing = self._embedded(
            tf.fill([tf.shape(x)[0], 1, self.sizes.quantizers], self.sizes.codes)
        )
        x = tf.concat([nothing, before], axis=1) + tf.cast(self.positions, x.dtype)
        for layer in self.decoder:
            x = layer(x)
        return undelayed_logits(self._logits(x))

    def _embedded(self, steps):
        """Returns the sum of the embeddings of the codes of each step, (B, S, W)."""
        books = tf.unstack(steps, axis=2)
        pairs = zip(self.tables, books, strict=True)
        return tf.cast(sum(tf.gather(rows, book) for rows, book in pairs), self.compute_dtype)

    def _logits(self, x):
        """Returns float32 logits (B, S, K) of each codebook."""
        normed = norm(x, *self.norm)
        return [unembedded(normed, matrix) for matrix in self.outputs]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Returns the mean cross-entropy of a code, in bits."""
        codes = tf.cast(x["events"], tf.int32)
        bits = bits_of(codes, y_pred)
        self.bits.update_state(bits)
        right = tf.argmax(y_pred, axis=-1, output_type=tf.int32) == codes
        self.accuracy.update_state(tf.cast(right, tf.float32))
        return self.scale_loss(tf.reduce_mean(bits))

    def write(self, given, seeds, settings: Settings) -> np.ndarray:
        """Goes on from given frames to the end of a context.

        Args:
            given: Int (B, P, N), P from 0 to `frames`.
            seeds: Int (B, 2); a row depends on its own.
            settings: How to draw.

        Returns:
            Int32 (B, T, N).

        Raises:
            UserError: If there are more frames than a context has.
        """
        sizes, given = self.sizes, np.asarray(given, np.int32)
        count = given.shape[1]
        if count > sizes.frames:
            raise UserError(f"{count} frames are more than the {sizes.frames} of a context")
        codes = np.pad(given, [[0, 0], [0, sizes.frames - count], [0, 0]])
        uniforms = _draws(tf.constant(seeds, tf.int32), sizes.steps, sizes.quantizers)
        settings, count = settings.tensors(), tf.constant(count)
        return _written(self, tf.constant(codes), count, uniforms, settings).numpy()

    def get_config(self):
        return {**super().get_config(), "model": dataclasses.asdict(self.sizes)}


def undelayed_logits(logits):
    """Returns logits (B, T, N, K) of those of each codebook at each step, N times (B, S, K)."""
    count = len(logits)
    frames = logits[0].shape[1] - count + 1
    parts = [tf.split(x, [n, frames, count - 1 - n], axis=1)[1] for n, x in enumerate(logits)]
    return tf.stack(parts, axis=2)


@graph_function
def _draws(seeds, steps: int, books: int):
    """Returns float32 (B, S, N) in [0, 1)."""
    return tf.map_fn(
        lambda seed: tf.random.stateless_uniform([steps, books], seed),
        seeds,
        fn_output_signature=tf.float32,
    )


@functools.partial(graph_function, jit_compile=True)
def _written(model, codes, given, uniforms, settings: Settings):
    """Returns codes int32 (B, T, N) of which the frames from `given` on are written."""
    sizes = model.sizes
    books, empty = sizes.quantizers, sizes.codes
    steps = delayed(codes, empty)
    rows = tf.shape(steps)[0]
    caches = tuple(layer.attention.init_cache(rows) for layer in model.decoder)

    def write(step, steps, caches):
        before = tf.gather(steps, tf.maximum(step - 1, 0)[None], axis=1)
        x = model._embedded(tf.where(step > 0, before, empty))
        x += tf.cast(tf.gather(model.positions, step), x.dtype)
        new = []
        for layer, cache in zip(model.decoder, caches, strict=True):
            x, cache = layer.step(x, step[None], cache)
            new.append(cache)
        drawn = []
        for n, logits in enumerate(model._logits(x)):
            logits = logits[:, 0] / tf.maximum(settings.temperature, COLDEST)
            logits = filtered_logits(logits, settings.top_k, settings.top_p, settings.min_p)
            drawn.append(sample_categorical(logits, tf.gather(uniforms, step, axis=1)[:, n]))
        frame = step - tf.range(books)  # of each codebook
        is_new = (frame >= given) & (frame < sizes.frames)
        kept = tf.gather(steps, step, axis=1)
        of_step = tf.where(is_new[None], tf.stack(drawn, axis=1), kept)
        here = tf.range(sizes.steps) == step
        return step + 1, tf.where(here[None, :, None], of_step[:, None], steps), tuple(new)

    _, steps, _ = tf.while_loop(
        lambda step, *_: step < sizes.steps, write, (0, steps, caches), parallel_iterations=1
    )
    return undelayed(steps)

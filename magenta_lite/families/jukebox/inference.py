"""Inference functions of a prior as compiled graphs, for `export`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from magenta_lite.families.jukebox.labels import EMPTY_GENRE, UNKNOWN
from magenta_lite.families.jukebox.sampling import written
from magenta_lite.graphs import graph_function
from magenta_lite.modeling.sampling import (
    Sampler,
    output_seeds,
    row_seeds,
    row_settings,
    row_specs,
)

if TYPE_CHECKING:
    from magenta_lite.families.jukebox.delay import DelayPrior
    from magenta_lite.families.jukebox.model import JukeboxPrior

SAMPLE_CODES = 64


def signatures(
    model: JukeboxPrior | DelayPrior,
) -> dict[str, tf.types.experimental.PolymorphicFunction]:
    """Returns functions of dense tensors by signature name; each returns a dict of tensors.

    Shape letters: B rows, P codes of a prompt, L context length in codes.

    `sample(given, num_codes, temperature, top_k, top_p, min_p, seed, …)`: `codes` int32
    (B, num_codes), which begin with the prompt `given` int32 (B, P), P >= 0. Models with labels
    take `labels` int32 (B, `label_size`): length of the piece, offset and length of the context in
    samples, artist, genres (-1 for none), characters. Upsamplers take `above` int32 (B, L / ratio),
    codes of the level above. A `DelayPrior` has frames of N codes instead: (B, P, N) and
    (B, num_codes, N).
    """
    sizes = model.sizes
    specs = [
        tf.TensorSpec([None, None, *_several(sizes)], tf.int32, "given"),
        tf.TensorSpec([], tf.int32, "num_codes"),
        tf.TensorSpec([], tf.float32, "temperature"),
        tf.TensorSpec([], tf.int32, "top_k"),
        tf.TensorSpec([], tf.float32, "top_p"),
        tf.TensorSpec([], tf.float32, "min_p"),
        tf.TensorSpec([], tf.int32, "seed"),
    ]
    specs += _conditioning_specs(model)

    def sample(given, num_codes, temperature, top_k, top_p, min_p, seed, labels=None, above=None):
        rows, count = tf.shape(given)[0], tf.shape(given)[1]
        tf.debugging.assert_less_equal(
            num_codes, sizes.context, f"A context of the model has {sizes.context} codes"
        )
        sampler, seeds = Sampler(temperature, top_k, top_p, min_p), output_seeds(seed, rows)
        found = written(model, given, count, num_codes, seeds, sampler, labels, above)
        return {"codes": found[:, :num_codes]}

    def with_above(given, num_codes, temperature, top_k, top_p, min_p, seed, above):
        return sample(given, num_codes, temperature, top_k, top_p, min_p, seed, None, above)

    only_above = model.upsamples and not sizes.labelled
    function = graph_function(with_above if only_above else sample, input_signature=specs)
    return {"sample": function}


def _conditioning_specs(model) -> list[tf.TensorSpec]:
    sizes, specs = model.sizes, []
    if sizes.labelled:
        specs.append(tf.TensorSpec([None, sizes.label_size], tf.int32, "labels"))
    if model.upsamples:
        above_size = sizes.context // sizes.above_ratio
        specs.append(tf.TensorSpec([None, above_size], tf.int32, "above"))
    return specs


def row_signature(
    model: JukeboxPrior | DelayPrior,
) -> tf.types.experimental.PolymorphicFunction:
    """Returns the function of rows: `codes` int32 (B, N), -1 after those of a row.

    Takes `given` int32 (B, P) and `given_length` int32 (B,), the prompt and its length, which may
    be 0; `num_codes` int32 (B,), prompt included, at most those of a context; seeds and settings
    (B,); and the conditioning of `sample`. A `DelayPrior` has frames of codes instead of codes.
    """
    sizes = model.sizes
    specs = [
        tf.TensorSpec([None, None, *_several(sizes)], tf.int32, "given"),
        tf.TensorSpec([None], tf.int32, "given_length"),
        tf.TensorSpec([None], tf.int32, "num_codes"),
        *row_specs(),
        *_conditioning_specs(model),
    ]

    def sample_rows(
        given, given_length, num_codes, seed, temperature, top_p, labels=None, above=None
    ):
        total = tf.minimum(num_codes, sizes.context)
        count, longest = tf.minimum(given_length, tf.shape(given)[1]), tf.reduce_max(total)
        count = tf.minimum(count, total)
        sampler, seeds = Sampler(temperature, top_p=top_p), row_seeds(seed)
        found = written(model, given, count, longest, seeds, sampler, labels, above)[:, :longest]
        kept = tf.range(longest) < total[:, None]
        kept = tf.reshape(kept, [-1, longest, *[1] * len(_several(sizes))])
        return {"codes": tf.where(kept, found, -1)}

    def with_above(given, given_length, num_codes, seed, temperature, top_p, above):
        settings = seed, temperature, top_p
        return sample_rows(given, given_length, num_codes, *settings, None, above)

    only_above = model.upsamples and not sizes.labelled
    return graph_function(with_above if only_above else sample_rows, input_signature=specs)


def row_arguments(
    model: JukeboxPrior | DelayPrior, rows: int, temperature: float, seed: int
) -> dict[str, tf.Tensor]:
    """Returns arguments of the function of rows: an empty prompt and unknown labels."""
    arguments = signature_arguments(model, rows, temperature, seed)
    conditioning = {key: arguments[key] for key in ("labels", "above") if key in arguments}
    return (
        conditioning
        | row_settings(rows, temperature, seed)
        | {
            "given": tf.zeros([rows, 1, *_several(model.sizes)], tf.int32),
            "given_length": tf.zeros([rows], tf.int32),
            "num_codes": tf.repeat(arguments["num_codes"], rows),
        }
    )


def _several(sizes) -> list[int]:
    """Returns the shape of the codes of a frame: [N] for N > 1 codebooks, else []."""
    return [sizes.quantizers] if sizes.quantizers > 1 else []


def signature_arguments(
    model: JukeboxPrior | DelayPrior, num_outputs: int, temperature: float, seed: int
) -> dict[str, tf.Tensor]:
    """Returns arguments of `sample`: an empty prompt and unknown labels."""
    sizes: Any = model.sizes
    arguments = {
        "given": tf.zeros([num_outputs, 0, *_several(sizes)], tf.int32),
        "num_codes": tf.constant(min(SAMPLE_CODES, sizes.context)),
        "temperature": tf.constant(temperature, tf.float32),
        "top_k": tf.constant(0),
        "top_p": tf.constant(1.0),
        "min_p": tf.constant(0.0),
        "seed": tf.constant(seed),
    }
    if sizes.labelled:
        length = sizes.context * sizes.hop
        least = int(np.ceil(sizes.min_duration * sizes.sample_rate)) if sizes.time_bins else 0
        genres = [UNKNOWN] + [EMPTY_GENRE] * (sizes.max_genres - 1)
        row = [max(length, least), 0, length, UNKNOWN, *genres, *[UNKNOWN] * sizes.lyric_tokens]
        arguments["labels"] = tf.constant([row] * num_outputs)
    if model.upsamples:
        arguments["above"] = tf.zeros([num_outputs, sizes.context // sizes.above_ratio], tf.int32)
    return arguments

"""Inference functions of a prior as compiled graphs, for `export`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from magenta_lite.families.jukebox.labels import EMPTY_GENRE, UNKNOWN
from magenta_lite.families.jukebox.sampling import CHUNK, written
from magenta_lite.graphs import graph_function
from magenta_lite.modeling.sampling import Sampler, output_seeds

if TYPE_CHECKING:
    from magenta_lite.families.jukebox.delay import DelayPrior
    from magenta_lite.families.jukebox.model import JukeboxPrior

SAMPLE_CODES = 64


def signatures(
    model: JukeboxPrior | DelayPrior,
) -> dict[str, tf.types.experimental.PolymorphicFunction]:
    """Returns functions of dense tensors by signature name; each returns a dict of tensors.

    Shape letters: B rows, P codes of a prompt, L context length in codes.

    `sample(given, num_codes, temperature, top_k, top_p, min_p, seed, …)` and `serving_default`:
    `codes` int32 (B, num_codes), which begin with the prompt `given` int32 (B, P), P >= 0. Models
    with labels take `labels` int32 (B, `label_size`): length of the piece, offset and length of the
    context in samples, artist, genres (-1 for none), characters. Upsamplers take `above` int32
    (B, L / ratio), codes of the level above. A `DelayPrior` has frames of N codes instead:
    (B, P, N) and (B, num_codes, N).
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
    if sizes.labelled:
        specs.append(tf.TensorSpec([None, sizes.label_size], tf.int32, "labels"))
    if model.upsamples:
        above_size = sizes.context // sizes.above_ratio
        specs.append(tf.TensorSpec([None, above_size], tf.int32, "above"))

    def sample(given, num_codes, temperature, top_k, top_p, min_p, seed, labels=None, above=None):
        rows, count = tf.shape(given)[0], tf.shape(given)[1]
        tf.debugging.assert_less_equal(
            num_codes, sizes.context, f"A context of the model has {sizes.context} codes"
        )
        room = [[0, 0], [0, sizes.context - count], [0, 0]]
        codes = tf.pad(given, room[: len(given.shape)])
        found = written(
            model,
            tf.ensure_shape(codes, [None, sizes.context, *_several(sizes)]),
            count,
            num_codes,
            output_seeds(seed, rows),
            Sampler(temperature, top_k, top_p, min_p),
            labels,
            above,
            min(CHUNK, model.music.longest_step),
        )
        return {"codes": found[:, :num_codes]}

    def with_above(given, num_codes, temperature, top_k, top_p, min_p, seed, above):
        return sample(given, num_codes, temperature, top_k, top_p, min_p, seed, None, above)

    only_above = model.upsamples and not sizes.labelled
    function = graph_function(with_above if only_above else sample, input_signature=specs)
    return {"sample": function, "serving_default": function}


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

"""Inference functions of a MuseNet as graphs, for `export` and for samples in training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from magenta_lite.converters.musenet import vocabulary
from magenta_lite.families.musenet.grammar import Constraints
from magenta_lite.graphs import graph_function
from magenta_lite.modeling import decoding, row_decoding
from magenta_lite.modeling.sampling import Sampler, row_settings

if TYPE_CHECKING:
    from magenta_lite.families.musenet.model import MuseNet

SAMPLE_TOKENS = 512


def signatures(model: MuseNet) -> dict[str, tf.types.experimental.PolymorphicFunction]:
    """Returns functions of dense tensors by signature name; each returns a dict of tensors.

    Shape letters: N outputs, P tokens of a primer. Tokens are int32 ids. `num_tokens` includes
    prefix and primer, and is at most the model's `positions`.

    - `generate(style, families, strict, minutes, num_outputs, num_tokens, temperature, top_k,
      top_p, min_p, seed)` and `sample`: `events` (N, num_tokens), zeros after the end of
      a piece, and `log_likelihood` float32 (N,) of the sampled tokens, in nats. `style` is the id
      of a style, 0 for open; `families` the sum of the bits drums 1, winds 2, harp 4, guitar 8,
      bass 16, strings 32 and piano 64, 0 for open; `strict` masks all other instruments;
      `minutes`, a float, is the length, 0 for open. `temperature` is a float, 0 for the most
      probable token; `top_k` (0 for all), `top_p` (1 for all) and `min_p` (0 for all) restrict
      sampling to the most probable tokens.
    - `continue(primer, ...)`: the same for ids (P,), without prefix. They may begin with
      `controls`.
    """

    settings = (
        tf.TensorSpec([], tf.int32, "style"),
        tf.TensorSpec([], tf.int32, "families"),
        tf.TensorSpec([], tf.bool, "strict"),
        tf.TensorSpec([], tf.float32, "minutes"),
        *decoding.specs(),
    )

    def sampled(primer, conditioning, num_outputs, num_tokens, sampling, seed):
        front, constraints = _conditioned(*(x[None] for x in conditioning))
        events, score = decoding.sample(
            model,
            tf.concat([front[0], primer], axis=0),
            num_outputs,
            num_tokens,
            seed,
            Sampler(*sampling),
            Constraints(constraints.units[0], constraints.allowed[0]),
        )
        return {"events": events, "log_likelihood": score}

    @graph_function(input_signature=[tf.TensorSpec([None], tf.int32, "primer"), *settings])
    def go_on(
        primer, style, families, strict, minutes, num_outputs, num_tokens, temperature, top_k,
        top_p, min_p, seed,
    ):  # fmt: skip
        conditioning = style, families, strict, minutes
        sampling = temperature, top_k, top_p, min_p
        return sampled(primer, conditioning, num_outputs, num_tokens, sampling, seed)

    @graph_function(input_signature=settings)
    def generate(
        style, families, strict, minutes, num_outputs, num_tokens, temperature, top_k, top_p,
        min_p, seed,
    ):  # fmt: skip
        conditioning = style, families, strict, minutes
        sampling = temperature, top_k, top_p, min_p
        return sampled(
            tf.zeros([0], tf.int32), conditioning, num_outputs, num_tokens, sampling, seed
        )

    return {
        "continue": go_on,
        "generate": generate,
        "sample": generate,
    }


def signature_arguments(
    model: MuseNet, num_outputs: int, temperature: float, seed: int
) -> dict[str, tf.Tensor]:
    """Returns arguments of `sample`: no conditioning, and the length of a sample in training."""
    return {
        "style": tf.constant(0),
        "families": tf.constant(0),
        "strict": tf.constant(False),
        "minutes": tf.constant(0.0),
    } | decoding.arguments(num_outputs, min(SAMPLE_TOKENS, model.max_length), temperature, seed)


def _conditioned(style, families, strict, minutes) -> tuple[tf.Tensor, Constraints]:
    """Returns the prefixes int32 (N, 3) of rows, and their constraints, for conditioning (N,)."""
    # The tokens allowed without any family, and with each family.
    by_family = [vocabulary.played_by([family]) for family in vocabulary.FAMILIES]
    no_notes, played = vocabulary.played_by([]), np.stack(by_family)
    style = tf.where(style > 0, style, vocabulary.UNSPECIFIED)
    played_by = tf.where(families > 0, vocabulary.NO_FAMILIES + families, vocabulary.UNSPECIFIED)
    front = tf.stack([style, played_by, tf.fill(tf.shape(style), vocabulary.START)], axis=1)
    families = families[:, None]
    bits = tf.bitwise.right_shift(families, tf.range(len(vocabulary.FAMILIES))) % 2 > 0
    wanted = no_notes | tf.reduce_any(bits[:, :, None] & played, axis=1)
    units = tf.cast(tf.round(minutes * 60 * vocabulary.UNITS_PER_SECOND), tf.int32)
    return front, Constraints(units, wanted | ~strict[:, None] | (families == 0))


def row_signature(model: MuseNet) -> tf.types.experimental.PolymorphicFunction:
    """Returns the function of rows: `events` int32 (N, T), and their numbers `num_events` (N,).

    Zeros follow the end of a piece. Takes `primer` int32 (N, P), without prefix but maybe with
    `controls`, and `primer_length` int32 (N,), 0 for none; `num_tokens` int32 (N,), which includes
    prefix and primer; seeds and settings (N,); and the conditioning of `generate`, (N,): `style`,
    `families`, `strict` and `minutes`.
    """
    types = {"style": tf.int32, "families": tf.int32, "strict": tf.bool, "minutes": tf.float32}
    conditioning = [tf.TensorSpec([None], dtype, name) for name, dtype in types.items()]

    @graph_function(
        input_signature=[*row_decoding.primer_specs(), *row_decoding.specs(), *conditioning]
    )
    def continue_rows(
        primer, primer_length, num_tokens, seed, temperature, top_p, style, families, strict,
        minutes,
    ):  # fmt: skip
        front, constraints = _conditioned(style, families, strict, minutes)
        events, length = row_decoding.sample_rows(
            model,
            tf.concat([front, primer], axis=1),
            front.shape[1] + primer_length,
            num_tokens,
            seed,
            Sampler(temperature, top_p=top_p),
            constraints,
        )
        return {"events": events, "num_events": length}

    return continue_rows


def row_arguments(model: MuseNet, rows: int, temperature: float, seed: int) -> dict[str, tf.Tensor]:
    """Returns arguments of the function of rows: no primer and no conditioning."""
    zeros = tf.zeros([rows], tf.int32)
    return row_settings(rows, temperature, seed) | {
        "primer": tf.zeros([rows, 1], tf.int32),
        "primer_length": zeros,
        "num_tokens": tf.fill([rows], min(SAMPLE_TOKENS, model.max_length)),
        "style": zeros,
        "families": zeros,
        "strict": tf.zeros([rows], tf.bool),
        "minutes": tf.zeros([rows]),
    }

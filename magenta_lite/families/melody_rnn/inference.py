"""Inference functions of a MelodyRNN as compiled graphs, for `export`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from magenta_lite.families.melody_rnn import decoding
from magenta_lite.graphs import graph_function
from magenta_lite.modeling.sampling import (
    Sampler,
    output_seeds,
    row_seeds,
    row_settings,
    row_specs,
)

if TYPE_CHECKING:
    from magenta_lite.families.melody_rnn.model import MelodyRNN

SAMPLE_STEPS = 127  # eight bars with the primer
SAMPLE_CHORD = 1  # C


def signatures(model: MelodyRNN) -> dict[str, tf.types.experimental.PolymorphicFunction]:
    """Returns functions of dense tensors by signature name; each returns a dict of tensors.

    Shape letters: B batch, N outputs, P events of a primer, S new events, T events. Events are
    int32 ids. `seed` is an int32 scalar.

    - `generate(primer, num_outputs, num_steps, temperature, top_k, top_p, seed)`: `events`
      (N, P + S) of a primer (P,) of at least one event; S = `num_steps`. For encodings with time
      shifts, S is in steps of time, and -1 follows the last event. `temperature` is a float scalar,
      0 for the most probable event at each step; `top_k`, 0 for all, and `top_p`, 1 for all,
      restrict sampling to the most probable events. Models with chords also take `chords` int32
      (P + S,), the ids of the chords of all steps.
    - `log_likelihood(events, length)`: log probabilities float32 (B,), in nats, of sequences (B, T)
      of lengths int32 (B,), given their first events: `log_likelihood` of the labels, as in the
      original, and `melody_log_likelihood` with the sum of the probabilities of all classes that
      mean the same event. Models with chords also take `chords` int32 (B, T).
    - `sample`: the same as `generate`.
    """

    def scalar(dtype, name):
        return tf.TensorSpec([], dtype, name)

    def with_chords(rank, *specs):
        chords = [tf.TensorSpec([None] * rank, tf.int32, "chords")] if model.encoding.chords else []
        return [*specs, *chords]

    @graph_function(
        input_signature=with_chords(
            1,
            tf.TensorSpec([None], tf.int32, "primer"),
            scalar(tf.int32, "num_outputs"),
            scalar(tf.int32, "num_steps"),
            scalar(tf.float32, "temperature"),
            scalar(tf.int32, "top_k"),
            scalar(tf.float32, "top_p"),
            scalar(tf.int32, "seed"),
        )
    )
    def generate(primer, num_outputs, num_steps, temperature, top_k, top_p, seed, chords=None):
        sampler = Sampler(temperature, top_k, top_p)
        seeds = output_seeds(seed, num_outputs)
        events, _ = decoding.sample(model, primer, num_steps, seeds, sampler, chords)
        return {"events": events}

    @graph_function(
        input_signature=with_chords(
            2,
            tf.TensorSpec([None, None], tf.int32, "events"),
            tf.TensorSpec([None], tf.int32, "length"),
        )
    )
    def log_likelihood(events, length, chords=None):
        labels, melody = model.log_likelihood(events, length, chords)
        return {"log_likelihood": labels, "melody_log_likelihood": melody}

    return {
        "generate": generate,
        "log_likelihood": log_likelihood,
        "sample": generate,
    }


def signature_arguments(
    model: MelodyRNN, num_outputs: int, temperature: float, seed: int
) -> dict[str, tf.Tensor]:
    """Returns arguments of `sample`: 128 steps after the start event."""
    steps = min(SAMPLE_STEPS, model.length - 1)
    arguments = {
        "primer": tf.constant([model.encoding.start_id]),
        "num_outputs": tf.constant(num_outputs),
        "num_steps": tf.constant(steps),
        "temperature": tf.constant(temperature, tf.float32),
        "top_k": tf.constant(0),
        "top_p": tf.constant(1.0),
        "seed": tf.constant(seed, tf.int32),
    }
    if model.encoding.chords:
        arguments["chords"] = tf.fill([steps + 1], SAMPLE_CHORD)
    return arguments


def row_signature(model: MelodyRNN) -> tf.types.experimental.PolymorphicFunction:
    """Returns the function of rows: `events` int32 (N, P + S), -1 after the last event of a row.

    Takes `primer` int32 (N, P) and `primer_length` int32 (N,), 0 for the start event of a piece
    without a primer; `num_steps` int32 (N,) to add, S at most; seeds and settings (N,). Models with
    chords also take `chords` int32 (N, C) and `chords_length` int32 (N,): the ids of the chords of
    all steps, of which the last one goes on to the end.
    """

    def spec(name, rank=1):
        return tf.TensorSpec([None] * rank, tf.int32, name)

    chords_specs = [spec("chords", 2), spec("chords_length")] if model.encoding.chords else []
    specs = [spec("primer", 2), spec("primer_length"), spec("num_steps"), *row_specs()]

    @graph_function(input_signature=[*specs, *chords_specs])
    def sample_rows(
        primer, primer_length, num_steps, seed, temperature, top_p, chords=None, chords_length=None
    ):
        sampler, seeds = Sampler(temperature, top_p=top_p), row_seeds(seed)
        chords = None if chords is None else (chords, chords_length)
        given = primer, primer_length
        return {"events": decoding.sample_rows(model, *given, num_steps, seeds, sampler, chords)}

    return sample_rows


def row_arguments(
    model: MelodyRNN, rows: int, temperature: float, seed: int
) -> dict[str, tf.Tensor]:
    """Returns arguments of the function of rows: steps after the start event, over one chord."""
    arguments = row_settings(rows, temperature, seed) | {
        "primer": tf.fill([rows, 1], model.encoding.start_id),
        "primer_length": tf.ones([rows], tf.int32),
        "num_steps": tf.fill([rows], min(SAMPLE_STEPS, model.length - 1)),
    }
    if model.encoding.chords:
        arguments["chords"] = tf.fill([rows, 1], SAMPLE_CHORD)
        arguments["chords_length"] = tf.ones([rows], tf.int32)
    return arguments

"""Inference functions of a Music Transformer as graphs, for `generate` and `export`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from magenta_lite.converters.text_melody import TextMelodyCodec
from magenta_lite.graphs import graph_function
from magenta_lite.modeling import decoding, row_decoding
from magenta_lite.modeling.row_decoding import sample_rows
from magenta_lite.modeling.sampling import Sampler, row_settings

if TYPE_CHECKING:
    from magenta_lite.families.music_transformer.model import MusicTransformer

SAMPLE_TOKENS = 256
SCALE = [event for pitch in (60, 62, 64, 65, 67, 69, 71, 72) for event in (pitch, *[-2] * 4)]


def signatures(model: MusicTransformer) -> dict[str, tf.types.experimental.PolymorphicFunction]:
    """Returns functions of dense tensors by signature name; each returns a dict of tensors.

    Shape letters: N outputs, P tokens of a primer, B batch, T tokens. Tokens are int32 ids.
    `num_tokens` includes the primer, and is at most four times the model's `positions`.

    - `continue(primer, num_outputs, num_tokens, temperature, top_k, top_p, min_p, seed)`:
      `events` (N, num_tokens) for a primer (P,), zeros after the end of a piece, and
      `log_likelihood` float32 (N,) of the sampled tokens, in nats. `temperature` is a float scalar,
      0 for the most probable token at each step; `top_k` (0 for all), `top_p` (1 for all) and
      `min_p` (0 for all) restrict sampling to the most probable tokens.
    - `generate` and `sample`: the same without a primer.
    - `log_likelihood(events)`: float32 (B,), in nats, of tokens (B, T) padded with 0.

    A model of accompaniments has these instead:

    - `accompany(melody, num_outputs, num_tokens, …)` and `sample`: the same for a melody (I,), one
      id a step, optionally padded with 0; longer melodies than in training are cut off.
    - `log_likelihood(events, melody)`: float32 (B,) of tokens (B, T) given melodies (B, I).
    """

    settings = decoding.specs()

    def sampled(primer, num_outputs, num_tokens, seed, *sampling, melody=None):
        settings = num_outputs, num_tokens, seed, Sampler(*sampling)
        events, score = decoding.sample(model, primer, *settings, melody)
        return {"events": events, "log_likelihood": score}

    def ids(*shape, name):
        return tf.TensorSpec(shape, tf.int32, name)

    no_primer = tf.zeros([0], tf.int32)
    if model.rules.inputs:

        @graph_function(input_signature=[ids(None, name="melody"), *settings])
        def accompany(melody, num_outputs, num_tokens, temperature, top_k, top_p, min_p, seed):
            sampling = (temperature, top_k, top_p, min_p)
            return sampled(no_primer, num_outputs, num_tokens, seed, *sampling, melody=melody)

        pair = [ids(None, None, name=name) for name in ("events", "melody")]

        @graph_function(input_signature=pair)
        def log_likelihood_of_pairs(events, melody):
            return {"log_likelihood": model.log_likelihood(events, melody)}

        return {
            "accompany": accompany,
            "log_likelihood": log_likelihood_of_pairs,
            "sample": accompany,
        }

    @graph_function(input_signature=[ids(None, name="primer"), *settings])
    def go_on(primer, num_outputs, num_tokens, temperature, top_k, top_p, min_p, seed):
        return sampled(primer, num_outputs, num_tokens, seed, temperature, top_k, top_p, min_p)

    @graph_function(input_signature=settings)
    def generate(num_outputs, num_tokens, temperature, top_k, top_p, min_p, seed):
        return sampled(no_primer, num_outputs, num_tokens, seed, temperature, top_k, top_p, min_p)

    @graph_function(input_signature=[ids(None, None, name="events")])
    def log_likelihood(events):
        return {"log_likelihood": model.log_likelihood(events)}

    return {
        "continue": go_on,
        "generate": generate,
        "log_likelihood": log_likelihood,
        "sample": generate,
    }


def signature_arguments(
    model: MusicTransformer, num_outputs: int, temperature: float, seed: int
) -> dict[str, tf.Tensor]:
    """Returns arguments of `sample`; the melody of a model of accompaniments is a scale."""
    melody = {}
    if model.rules.inputs:
        melody = {"melody": tf.constant(TextMelodyCodec().ids_of_events(SCALE))}
    tokens = min(SAMPLE_TOKENS, model.max_length)
    return melody | decoding.arguments(num_outputs, tokens, temperature, seed)


def row_signature(model: MusicTransformer) -> tf.types.experimental.PolymorphicFunction:
    """Returns the function of rows: `events` int32 (N, T), and their numbers `num_events` (N,).

    Zeros follow the end of a piece. Takes `num_tokens` int32 (N,), seeds and settings (N,), and
    `primer` int32 (N, P) with `primer_length` int32 (N,), 0 for none. A model of accompaniments
    takes `melody` int32 (N, I) instead, padded with 0.
    """

    def named(events, length):
        return {"events": events, "num_events": length}

    if model.rules.inputs:
        melody_spec = tf.TensorSpec([None, None], tf.int32, "melody")

        @graph_function(input_signature=[melody_spec, *row_decoding.specs()])
        def accompany_rows(melody, num_tokens, seed, temperature, top_p):
            sampler, nothing = Sampler(temperature, top_p=top_p), tf.zeros_like(seed)
            primer = nothing[:, None][:, :0]
            return named(*sample_rows(model, primer, nothing, num_tokens, seed, sampler, melody))

        return accompany_rows

    @graph_function(input_signature=[*row_decoding.primer_specs(), *row_decoding.specs()])
    def continue_rows(primer, primer_length, num_tokens, seed, temperature, top_p):
        sampler = Sampler(temperature, top_p=top_p)
        return named(*sample_rows(model, primer, primer_length, num_tokens, seed, sampler, None))

    return continue_rows


def row_arguments(
    model: MusicTransformer, rows: int, temperature: float, seed: int
) -> dict[str, tf.Tensor]:
    """Returns arguments of the function of rows: no primer, or the scale as the melody."""
    tokens = min(SAMPLE_TOKENS, model.max_length)
    arguments = row_settings(rows, temperature, seed) | {"num_tokens": tf.fill([rows], tokens)}
    if model.rules.inputs:
        scale = tf.constant([TextMelodyCodec().ids_of_events(SCALE)])
        return arguments | {"melody": tf.repeat(scale, rows, axis=0)}
    return arguments | {
        "primer": tf.zeros([rows, 1], tf.int32),
        "primer_length": tf.zeros([rows], tf.int32),
    }

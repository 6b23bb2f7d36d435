"""Inference functions of a MusicVAE as compiled graphs, for `export`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from magenta_lite.families.music_vae.inputs import control_size
from magenta_lite.graphs import graph_function
from magenta_lite.modeling.sampling import Sampler, row_settings, row_specs

if TYPE_CHECKING:
    from magenta_lite.families.music_vae.model import MusicVAE


def signatures(model: MusicVAE) -> dict[str, tf.types.experimental.PolymorphicFunction]:
    """Returns functions of dense tensors by signature name; each returns a dict of tensors.

    Shape letters: B batch, N outputs, T steps, E an event's own shape (none for melodies), Z
    latent size. Events are int32, or float32 for grooves. `temperature` is a float scalar, 0 for
    the most probable event at each step; `seed` an int32 scalar.

    - `sample(num_outputs, temperature, seed)`: `events` (N, T, *E), decoded from samples of the
      Gaussian fitted to the posteriors of the training data; of N(0, I) for an imported model.
      For samples of N(0, I) in any case call `decode`.
    - `encode(events, length)`: `mu` and `sigma` float32 (B, Z) of (B, T, *E) and int32 (B,).
    - `decode(z, temperature, seed)`: `events` (B, T, *E) of float32 (B, Z).
    - `interpolate(start, end, num_outputs, temperature, seed)`: `events` (N, T, *E) on the arc
      between the posterior means of two (T, *E), both ends included.

    A model with controls takes `controls`, too, the same for all outputs: chord classes int32
    (T,), or the hits of a groove float32 (T, D). Its `encode` takes chord classes int32 (B, T), and
    reads hits from the events.
    """
    number = tf.TensorSpec([], tf.int32, "num_outputs")
    temperature = tf.TensorSpec([], tf.float32, "temperature")
    seed = tf.TensorSpec([], tf.int32, "seed")
    z = tf.TensorSpec([None, model.sizes.latent_size], tf.float32, "z")
    length = tf.TensorSpec([None], tf.int32, "length")
    one = [model.length, *model.head.event_shape]
    events = tf.TensorSpec([None, *one], model.head.event_dtype, "events")
    start, end = (tf.TensorSpec(one, model.head.event_dtype, name) for name in ("start", "end"))
    controls_spec, encoder_controls_spec = control_specs(model)

    @graph_function(input_signature=[number, temperature, seed, *controls_spec])
    def sample(num_outputs, temperature, seed, controls=None):
        return {"events": model.sample(num_outputs, seed, controls, temperature=temperature)}

    @graph_function(input_signature=[events, length, *encoder_controls_spec])
    def encode(events, length, controls=None):
        posterior = model.encode(events, length, controls)
        return {"mu": posterior.mean(), "sigma": posterior.stddev()}

    @graph_function(input_signature=[z, temperature, seed, *controls_spec])
    def decode(z, temperature, seed, controls=None):
        return {"events": model.decode(z, seed, controls, temperature=temperature)}

    @graph_function(input_signature=[start, end, number, temperature, seed, *controls_spec])
    def interpolate(start, end, num_outputs, temperature, seed, controls=None):
        points = model.interpolate(start, end, num_outputs, seed, controls, temperature=temperature)
        return {"events": points}

    return {
        "sample": sample,
        "encode": encode,
        "decode": decode,
        "interpolate": interpolate,
    }


def row_signature(model: MusicVAE) -> tf.types.experimental.PolymorphicFunction:
    """Returns the function of rows: `events` (N, T, *E) for seeds and settings (N,).

    A model with controls takes `controls`, too, those of each row: chord classes int32 (N, T), or
    hits float32 (N, T, D).
    """
    controls, _ = control_specs(model)
    of_rows = [tf.TensorSpec([None, *spec.shape], spec.dtype, spec.name) for spec in controls]

    @graph_function(input_signature=[*row_specs(), *of_rows])
    def sample_rows(seed, temperature, top_p, controls=None):
        sampler = Sampler(temperature, top_p=top_p)
        return {"events": model.sample_rows(seed, sampler, controls)}

    return sample_rows


def row_arguments(model: MusicVAE, rows: int, temperature: float, seed: int) -> dict:
    """Returns arguments of the function of rows, without chords or hits."""
    controls, _ = control_specs(model)
    return row_settings(rows, temperature, seed) | {
        spec.name: tf.zeros([rows, *spec.shape], spec.dtype) for spec in controls
    }


def control_specs(model: MusicVAE) -> tuple[list[tf.TensorSpec], list[tf.TensorSpec]]:
    """Returns the specs of the controls of decoder and encoder; empty lists without controls."""
    kind, steps = model.events_format.control, model.length
    if kind == "chords":
        return (
            [tf.TensorSpec([steps], tf.int32, "controls")],
            [tf.TensorSpec([None, steps], tf.int32, "controls")],
        )
    if kind == "hits":
        size = control_size(model.events_format)
        return [tf.TensorSpec([steps, size], tf.float32, "controls")], []
    return [], []


def signature_arguments(model: MusicVAE, num_outputs: int, temperature: float, seed: int) -> dict:
    """Returns arguments of `sample`, without chords or hits if the model has controls."""
    controls, _ = control_specs(model)
    return {
        "num_outputs": tf.constant(num_outputs),
        "temperature": tf.constant(temperature, tf.float32),
        "seed": tf.constant(seed, tf.int32),
        **{spec.name: tf.zeros(spec.shape, spec.dtype) for spec in controls},
    }

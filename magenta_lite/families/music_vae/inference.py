"""A MusicVAE's inference functions as compiled graphs: what `generate` runs and `export` writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from magenta_lite.families.music_vae.inputs import control_size
from magenta_lite.graphs import graph_function

if TYPE_CHECKING:
    from magenta_lite.families.music_vae.model import MusicVAE


def inference_functions(model: MusicVAE) -> dict[str, tf.types.experimental.PolymorphicFunction]:
    """Returns functions of dense tensors by signature name; each returns a dict of tensors.

    Shape letters: B batch, N outputs, T steps, E an event's own shape (none for melodies), Z
    latent size. Events are int32, or float32 for grooves. `temperature` is a float scalar, 0 for
    the most probable event at each step; `seed` an int32 scalar.

    - `sample(num_outputs, temperature, seed)`: `events` (N, T, *E), from the prior: of a model
      trained here the Gaussian fitted to the posteriors of its training data, of an imported one
      N(0, I). For N(0, I) in any case give draws of it to `decode`.
    - `encode(events, length)`: `mu` and `sigma` float32 (B, Z) of (B, T, *E) and int32 (B,).
    - `decode(z, temperature, seed)`: `events` (B, T, *E) of float32 (B, Z).
    - `interpolate(start, end, num_outputs, temperature, seed)`: `events` (N, T, *E) on the arc
      between the posterior means of two (T, *E), both ends included.
    - `serving_default`: the same as `sample`.

    A model that is told something at every step takes `controls` too, the same for all outputs:
    chord classes int32 (T,), or a groove's hits float32 (T, D). `encode` then takes chord classes
    int32 (B, T), and reads hits from the events.
    """
    number = tf.TensorSpec([], tf.int32, "num_outputs")
    temperature = tf.TensorSpec([], tf.float32, "temperature")
    seed = tf.TensorSpec([], tf.int32, "seed")
    z = tf.TensorSpec([None, model.model_config.latent_size], tf.float32, "z")
    length = tf.TensorSpec([None], tf.int32, "length")
    one = [model.length, *model.head.event_shape]
    events = tf.TensorSpec([None, *one], model.head.event_dtype, "events")
    start, end = (tf.TensorSpec(one, model.head.event_dtype, name) for name in ("start", "end"))
    told, told_to_encoder = control_specs(model)

    @graph_function(input_signature=[number, temperature, seed, *told])
    def sample(num_outputs, temperature, seed, controls=None):
        return {"events": model.sample(num_outputs, seed, controls, temperature=temperature)}

    @graph_function(input_signature=[events, length, *told_to_encoder])
    def encode(events, length, controls=None):
        posterior = model.encode(events, length, controls)
        return {"mu": posterior.mean(), "sigma": posterior.stddev()}

    @graph_function(input_signature=[z, temperature, seed, *told])
    def decode(z, temperature, seed, controls=None):
        return {"events": model.decode(z, seed, controls, temperature=temperature)}

    @graph_function(input_signature=[start, end, number, temperature, seed, *told])
    def interpolate(start, end, num_outputs, temperature, seed, controls=None):
        settings = {"temperature": temperature}
        return {"events": model.interpolate(start, end, num_outputs, seed, controls, **settings)}

    return {
        "sample": sample,
        "encode": encode,
        "decode": decode,
        "interpolate": interpolate,
        "serving_default": sample,
    }


def control_specs(model: MusicVAE) -> tuple[list[tf.TensorSpec], list[tf.TensorSpec]]:
    """Returns the specs of what decoder and encoder are told; empty lists for nothing."""
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


def sampling_arguments(model: MusicVAE, num_outputs: int, temperature: float, seed: int) -> dict:
    """Returns arguments of `sample`; where the model is told something, chords or hits are none."""
    told, _ = control_specs(model)
    return {
        "num_outputs": tf.constant(num_outputs),
        "temperature": tf.constant(temperature, tf.float32),
        "seed": tf.constant(seed, tf.int32),
        **{spec.name: tf.zeros(spec.shape, spec.dtype) for spec in told},
    }

"""A MusicVAE's inference functions as compiled graphs: what `generate` runs and `export` writes."""

from __future__ import annotations

import tensorflow as tf

from magenta_lite.models.music_vae.model import MusicVAE


def inference_functions(model: MusicVAE) -> dict[str, tf.types.experimental.PolymorphicFunction]:
    """Returns functions of dense tensors by signature name; each returns a dict of tensors.

    Shape letters: B batch, N outputs, T steps, Z latent size. `temperature` is a float scalar,
    0 for the most probable event at each step; `seed` an int32 scalar.

    - `sample(num_outputs, temperature, seed)`: `events` int32 (N, T), from the prior.
    - `encode(events, length)`: `mu` and `sigma` float32 (B, Z) of int32 (B, T) and (B,).
    - `decode(z, temperature, seed)`: `events` int32 (B, T) of float32 (B, Z).
    - `interpolate(start, end, num_outputs, temperature, seed)`: `events` int32 (N, T) on the arc
      between the posterior means of two int32 (T,), both ends included.
    - `serving_default`: the same as `sample`.
    """
    number = tf.TensorSpec([], tf.int32, "num_outputs")
    temperature = tf.TensorSpec([], tf.float32, "temperature")
    seed = tf.TensorSpec([], tf.int32, "seed")
    z = tf.TensorSpec([None, model.model_config.latent_size], tf.float32, "z")
    events = tf.TensorSpec([None, model.length], tf.int32, "events")
    length = tf.TensorSpec([None], tf.int32, "length")
    start, end = (tf.TensorSpec([model.length], tf.int32, name) for name in ("start", "end"))

    @tf.function(input_signature=[number, temperature, seed])
    def sample(num_outputs, temperature, seed):
        return {"events": model.sample(num_outputs, seed, temperature)}

    @tf.function(input_signature=[events, length])
    def encode(events, length):
        posterior = model.encode(events, length)
        return {"mu": posterior.mean(), "sigma": posterior.stddev()}

    @tf.function(input_signature=[z, temperature, seed])
    def decode(z, temperature, seed):
        return {"events": model.decode(z, seed, temperature)}

    @tf.function(input_signature=[start, end, number, temperature, seed])
    def interpolate(start, end, num_outputs, temperature, seed):
        return {"events": model.interpolate(start, end, num_outputs, seed, temperature)}

    return {
        "sample": sample,
        "encode": encode,
        "decode": decode,
        "interpolate": interpolate,
        "serving_default": sample,
    }

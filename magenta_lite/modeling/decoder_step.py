"""The step of a transformer for runtimes without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from magenta_lite.modeling.decoder_interface import CachedDecoder
from magenta_lite.modeling.sampling import Sampler
from magenta_lite.modeling.step_functions import EVENT, LOGITS, Step, fixed, spec

STEPS = 512  # of a piece


def decoder_step(
    model: CachedDecoder,
    condition: Callable[[Mapping[str, Any]], Any],
    states: Mapping[str, Any] | None = None,
    primer: tuple[int, ...] = (),
) -> Step:
    """Returns the step of a transformer, for which the caches and its grammar are states.

    The cache has all slots from the start. The logits of tokens that the grammar excludes are the
    lowest float.

    Args:
        model: The model.
        condition: Returns the conditioning of `CachedDecoder.step` for all states.
        states: Other states.
        primer: That of the step.
    """
    grammar, slots, weights = model.grammar, model.attention_span, fixed(model.step_weights())
    layers = [layer.sizes.num_heads for layer in model.decoder]
    depths = [(layer.key_depth, layer.value_depth) for layer in model.decoder]

    def zeros(which: int) -> tuple:
        pairs = zip(layers, depths, strict=True)
        return tuple(tf.zeros([heads, slots, depth[which]]) for heads, depth in pairs)

    def step(inputs, states):
        conditioning, before = condition(states), states["grammar"]
        ids, position = inputs[EVENT], inputs["position"][0]
        # The token before this place; there is none before the first.
        before = tf.nest.map_structure(
            lambda new, old: tf.where(position > 0, new, old),
            grammar.next_state(before, ids, conditioning),
            before,
        )
        logits, keys, values = model.step(
            weights, ids, position, states["keys"], states["values"], conditioning, before
        )
        logits = tf.where(grammar.allowed(before, conditioning), logits, logits.dtype.min)
        drawn, _ = Sampler(inputs["temperature"]).draw(logits, inputs["uniforms"][:, 0])
        new = {"grammar": before, "keys": keys, "values": values}
        return {EVENT: drawn, LOGITS: logits}, {**states, **new}

    longest = model.context_length if model.cache_grows else model.max_length
    return Step(
        event=spec([1], tf.int32),
        first=0,
        uniforms=1,
        states={
            "grammar": grammar.initial_state(1),
            "keys": zeros(0),
            "values": zeros(1),
            **(states or {}),
        },
        call=step,
        steps=min(STEPS, longest),
        primer=primer,
        max_steps=longest,
        end=grammar.end_id,
    )

"""Functions of a MusicVAE for runtimes without TensorFlow."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from magenta_lite.families.music_vae.encoders import swap_axes
from magenta_lite.families.music_vae.inputs import control_vectors
from magenta_lite.modeling.sampling import Sampler
from magenta_lite.modeling.step_functions import (
    EVENT,
    LOGITS,
    Function,
    Step,
    StepFunctions,
    fixed,
    spec,
)

if TYPE_CHECKING:
    from magenta_lite.families.music_vae.model import MusicVAE

EVERY_STEP = 3  # place in the result of `LSTMDecoder.prepare`


def step_functions(model: MusicVAE) -> StepFunctions:
    """Returns the functions of a MusicVAE.

    - `start(z)`: the states before the first step, for z float32 (1, Z).
    - the step, which also takes `control`, the chord class int32 (1,) of the step or its hits
      float32 (1, D), if the events have controls.
    - `finish(events, logits, z)`, of a groove with a network of velocities and offsets.
    - `encode(events)`: `mu` and `sigma` float32 (1, Z) of (1, T, *E); of events with chords it
      also takes `controls` int32 (1, T).

    The facts are the latent size, and `mean` and `deviation` (Z,) of the Gaussian that
    `MusicVAE.sample` draws from.
    """
    head, decoder, form = model.head, model.decoder, model.events_format
    z = spec([1, model.sizes.latent_size])
    event = spec([1, *head.event_shape], head.event_dtype)
    events = spec([1, model.length, *head.event_shape], head.event_dtype)
    others = {"start": Function({"z": z}, functools.partial(_start, model))}
    if decoder.expression is not None:
        logits = spec([1, model.length, decoder.cores[0].head.parameter_size])
        finish = {"events": events, "logits": logits, "z": z}
        others["finish"] = Function(finish, functools.partial(_finish, model))
    of_encode = {"events": events}
    if form.control == "chords":
        of_encode["controls"] = spec([1, model.length], tf.int32)
    others["encode"] = Function(of_encode, functools.partial(_encode, model))

    control = {}
    if form.control:
        of_chords = spec([1], tf.int32)
        control["control"] = of_chords if form.control == "chords" else spec([1, form.sizes[0]])
    codes = decoder.codes(tf.zeros(z.shape))
    steppers = [core.stepper(codes) for core in decoder.cores]
    prepared = fixed(
        [core.prepare(tensors) for core, (_, tensors) in zip(decoder.cores, steppers, strict=True)]
    )
    initial = [states for states, _ in steppers]
    start = tf.nest.map_structure(tf.zeros_like, _start(model, {"z": tf.zeros(z.shape)}))
    states = {
        **start,
        "layers": tf.nest.map_structure(lambda x: tf.zeros(x.shape[1:]), initial),
        "ended": tf.zeros([1], tf.bool),  # the segment, after the last step
        "padding": tf.zeros([1], tf.bool),  # whether the last event was padding
    }
    posterior = model.aggregated_posterior
    return StepFunctions(
        Step(
            event=event,
            first=decoder.start(1)[0].numpy().tolist(),
            uniforms=decoder.uniforms,
            states=states,
            call=functools.partial(_step, model, prepared),
            inputs=control,
            steps=model.length,
            max_steps=model.length,
        ),
        others,
        {
            "mean": posterior.mean.numpy().tolist(),
            "deviation": posterior.deviation.numpy().tolist(),
        },
    )


def _start(model, inputs) -> dict[str, Any]:
    decoder = model.decoder
    codes = decoder.codes(inputs["z"])
    steppers = [core.stepper(codes) for core in decoder.cores]
    pairs = zip(decoder.cores, steppers, strict=True)
    every_step = [core.prepare(tensors)[EVERY_STEP] for core, (_, tensors) in pairs]
    initial = [states for states, _ in steppers]
    if decoder.segments == 1:
        return {"every_step": every_step, "layers": tf.nest.map_structure(lambda x: x[0], initial)}
    return {"every_step": every_step, "initial": initial}


def _step(model, prepared, inputs, states) -> tuple[dict[str, Any], dict[str, Any]]:
    decoder = model.decoder
    # Without a conductor, the states are those of the only segment from the start on.
    t = inputs["position"][0] if decoder.segments > 1 else tf.constant(1)
    prepared = [
        (*tensors[:EVERY_STEP], every_step, *tensors[EVERY_STEP + 1 :])
        for tensors, every_step in zip(prepared, states["every_step"], strict=True)
    ]
    draw = decoder.choose_with(inputs["uniforms"][None], Sampler(inputs["temperature"]))
    previous, ended = inputs[EVENT], states["ended"]
    if decoder.end_id is not None:
        previous = tf.where(states["padding"], -1, previous)
    control = inputs.get("control")
    if control is not None:
        control = control_vectors(model.events_format, control, tf.float32)
    before = ended & (t % decoder.segment_steps != 0)
    layers = states["layers"]
    initial = states.get("initial", tf.nest.map_structure(lambda x: x[None], layers))
    event, _, ended, layers, parameters = decoder.step(
        prepared,
        initial,
        t,
        previous,
        ended,
        layers,
        control,
        lambda _, k, values: draw(0, k, values),
    )
    new = {"layers": layers, "ended": ended, "padding": before}
    return {EVENT: event, LOGITS: tf.concat(parameters, axis=-1)}, {**states, **new}


def _finish(model, inputs) -> dict[str, Any]:
    rows = [swap_axes(inputs[name]) for name in ("events", "logits")]
    events, _ = model.decoder.expression.complete(*rows, inputs["z"])
    return {"piece": swap_axes(events)}


def _encode(model, inputs) -> dict[str, Any]:
    posterior = model.encode(inputs["events"], tf.constant([model.length]), inputs.get("controls"))
    return {"mu": posterior.mean(), "sigma": posterior.stddev()}

"""Functions of a MelodyRNN for runtimes without TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from magenta_lite.families.melody_rnn import decoding, features
from magenta_lite.modeling.sampling import Sampler
from magenta_lite.modeling.step_functions import (
    EVENT,
    LOGITS,
    Step,
    StepFunctions,
    fixed,
    spec,
)

if TYPE_CHECKING:
    from magenta_lite.families.melody_rnn.model import MelodyRNN

STEPS = 128  # of a piece; eight bars on a grid of sixteenths


def step_functions(model: MelodyRNN) -> StepFunctions:
    """Returns the step of a MelodyRNN, which computes its input features from the events.

    Models with chords also take `control` int32 (1,), the id of the chord of the drawn event. The
    logits are those of classes, see `EventEncoding`; the drawn event is an id.
    """
    encoding, weights = model.encoding, fixed(model.layer_weights())

    def step(inputs, states) -> tuple[dict[str, Any], dict[str, Any]]:
        position = inputs["position"][0] - 1  # of the event that is read
        x, history = features.add_event(
            encoding, states["history"], inputs[EVENT], position, inputs.get("control")
        )
        logits, layers = model.step(weights, x, states["layers"], position)
        sampler, uniforms = Sampler(inputs["temperature"]), inputs["uniforms"][:, 0]
        ids, _ = decoding.draw_events(model, history, logits, uniforms, sampler)
        return {EVENT: ids, LOGITS: logits}, {"history": history, "layers": layers}

    states = {"history": features.empty_history(encoding, 1), "layers": model.zero_states(1)}
    return StepFunctions(
        Step(
            event=spec([1], tf.int32),
            first=None,
            primer=(encoding.start_id,),
            uniforms=1,
            states=states,
            call=step,
            steps=STEPS,
            inputs={"control": spec([1], tf.int32)} if encoding.chords else {},
        )
    )

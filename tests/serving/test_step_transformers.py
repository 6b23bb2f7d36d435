"""Transformers exported for LiteRT and ONNX, run with their samplers, compared with ours."""

import numpy as np
import pytest
import tensorflow as tf
from step_models import MODELS, random_transformer
from steps_recorded import check, exported

from magenta_lite.converters.musenet import vocabulary
from magenta_lite.families.musenet.grammar import Constraints
from magenta_lite.graphs import graph_function, without_xla
from magenta_lite.modeling import decoding
from magenta_lite.modeling.sampling import Sampler

STEPS = 64
LENGTH = 3000  # of a piece of MuseNet, in units


def case_of(name, model):
    """Returns arguments of the sampler, the primer, and the inputs of `begin` and of a call."""
    rng = np.random.default_rng(1)
    if name == "musenet":
        primer = [vocabulary.UNSPECIFIED, vocabulary.UNSPECIFIED, vocabulary.START]
        every = np.ones(vocabulary.SIZE, bool)
        return {"length": [LENGTH]}, primer, Constraints(LENGTH, every), {}
    if name == "accompaniment":
        melody = rng.integers(1, model.rules.inputs, model.rules.input_steps).astype(np.int32)
        return {"melody": melody}, [], tf.constant(melody), {"inputs": melody[None]}
    return {}, [], None, {}


@pytest.mark.parametrize("name", MODELS)
def test_a_transformer_gives_the_same_music_and_logits(name, tmp_path):
    run = random_transformer(name)
    model = run.model
    about, primer, inputs, batch = case_of(name, model)
    uniforms = np.random.default_rng(2).random((STEPS, 1), np.float32)

    @graph_function
    def decode():
        state, conditioning = decoding.begin(
            model, tf.constant(primer, tf.int32), 1, STEPS, inputs, slots=model.attention_span
        )
        weights, drawn = model.step_weights(), tf.constant(uniforms)
        sampler = Sampler(1.0).tensors()
        state = decoding.decode(model, weights, state, conditioning, drawn, sampler, STEPS)
        return state.tokens[0, :STEPS]

    with without_xla():
        events = decode().numpy()
        ids = tf.constant(events[None])
        if name == "musenet":
            constraints = model.condition(inputs)[1]
            ids = tf.stack([ids, *model.places_of(ids, constraints)], axis=2)
        logits = model({"events": ids, **batch})[0].numpy()
    if model.grammar.end_id is not None and model.grammar.end_id in events:
        events = events[: np.argmax(events == model.grammar.end_id) + 1]
    assert len(events) > STEPS / 2 and len(np.unique(events)) > 8
    given = {"uniforms": uniforms, "steps": STEPS, **about}
    for folder in exported(tmp_path, run):
        check(folder, given, events, logits[: len(events)])

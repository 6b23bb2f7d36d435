"""Requests that differ in their seed only are generated together, and equal those made alone."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

import magenta_lite as ml
from magenta_lite.server.messages import Failed, Task
from magenta_lite.server.rendering import JSON
from magenta_lite.server.worker import answers

KEYS = ("pitch", "start", "end", "velocity", "program", "track")
SEEDS = (5, 3, 99)
MODELS = {
    "cat-mel_2bar_tiny": {},
    "hierdec-trio_16bar_tiny": {},
    "cat-mel_2bar_med_chords_tiny": {"chords": "C G"},
    "groovae_4bar_tiny": {},
    "attention_rnn_tiny": {"num_steps": 40},
    "performance_tiny": {"num_steps": 400},
    "music_transformer_tiny": {"num_tokens": 40},
    "musenet_nano": {"num_tokens": 40, "density": "piano:low"},
}


def task_of(run, seed: int, given: dict) -> Task:
    options_class = type(run.model).Options
    options = options_class.of(run.config.generate, seed=seed, **{"num_outputs": 1} | given)
    assert options.takes_seeds
    return Task(seed, options, (), JSON, {"model": "m", "mode": "sample", "seed": seed})


def table(answer: dict) -> np.ndarray:
    """Returns what stands in the notes of an answer; times of grooves are rounded."""
    (output,) = answer["outputs"]
    return np.array([[note[key] for key in KEYS] for note in output["notes"]], float)


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_is_what_each_request_gets_alone(name, monkeypatch):
    keras.utils.set_random_seed(1)
    config = ml.get_config(name)
    run = ml.as_run(config, ml.build_model(config))
    tasks = [task_of(run, seed, MODELS[name]) for seed in SEEDS]
    alone = [json.loads(answer.content) for task in tasks for answer in answers(run, [task])]
    calls, made = [], run.model.generate
    monkeypatch.setattr(
        type(run.model), "generate", lambda _, *args: calls.append(args) or made(*args)
    )
    together = [json.loads(answer.content) for answer in answers(run, tasks)]
    assert len(calls) == 1
    for one, other in zip(alone, together, strict=True):
        assert one["seed"] == other["seed"]
        np.testing.assert_allclose(table(one), table(other), rtol=0, atol=1e-4)
    assert len({json.dumps(each["outputs"]) for each in together}) > 1


def test_error_of_a_batch_is_that_of_each_request():
    config = ml.get_config("attention_rnn_tiny")
    run = ml.as_run(config, ml.build_model(config))
    tasks = [task_of(run, seed, {"primer_melody": "[200]"}) for seed in SEEDS]
    failed = [*answers(run, tasks)]
    assert [answer.id for answer in failed] == [*SEEDS]
    assert all(isinstance(answer, Failed) and answer.is_users for answer in failed)

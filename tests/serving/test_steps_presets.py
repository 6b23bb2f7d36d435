"""Presets in 8 bits for LiteRT and ONNX take the same most probable events as in 32 bits."""

import numpy as np
import pytest
from steps_recorded import Recorded, exported

import magenta_lite as ml
from magenta_lite import presets

STEPS = 65
PIECES = 2


def most_probable(sampler, **options):
    """Returns the most probable class at each step of a piece."""
    sampler(**options)
    return np.argmax(sampler.logits, axis=1)


@pytest.mark.parametrize("name", presets.names())
def test_the_most_probable_event_is_the_same_in_95_percent_of_the_steps(name, tmp_path):
    run = ml.load(name)
    whole, quantized = exported(tmp_path, run), exported(tmp_path, run, "uint8")
    for folder, smaller in zip(whole, quantized, strict=True):
        sampler, small, same = Recorded(folder), Recorded(smaller), []
        model = sampler.module.MODEL
        for seed in range(PIECES):
            options = {"seed": seed, "steps": min(STEPS, model["steps"])}
            expected = most_probable(sampler, **options)
            # The same events are read.
            primer = sampler.read[0 if model["first"] is None else 1 :]
            same += list(most_probable(small, primer=primer, **options) == expected)
        assert len(same) > STEPS / 2
        assert np.mean(same) >= 0.95

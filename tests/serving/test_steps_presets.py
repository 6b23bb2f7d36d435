"""Presets in 8 bits for LiteRT and ONNX: small, and with the most probable events of 32 bits."""

import numpy as np
import pytest
from steps_recorded import Recorded, exported

import magenta_lite as ml
from magenta_lite import presets

STEPS = 65
PIECES = 2


def size_of_step(folder):
    """Returns the bytes of the file of the function `step`."""
    (path,) = folder.glob("step.*")
    return path.stat().st_size


def most_probable(sampler, **options):
    """Returns the most probable class at each step of a piece."""
    sampler(**options)
    return np.argmax(sampler.logits, axis=1)


@pytest.mark.parametrize("name", presets.names())
def test_quantized_models_are_small_and_take_the_same_most_probable_event(name, tmp_path):
    run = ml.load(name)
    whole, quantized = exported(tmp_path, run), exported(tmp_path, run, "uint8")
    for folder, smaller in zip(whole, quantized, strict=True):
        sampler, small, same = Recorded(folder), Recorded(smaller), []
        model = sampler.module.MODEL
        assert size_of_step(smaller) < size_of_step(folder) / 2  # relative positions stay
        for seed in range(PIECES):
            options = {"seed": seed, "steps": min(STEPS, model["steps"])}
            expected = most_probable(sampler, **options)
            # The same events are read.
            primer = sampler.read[0 if model["first"] is None else 1 :]
            same += list(most_probable(small, primer=primer, **options) == expected)
        assert len(same) > STEPS / 2
        assert np.mean(same) >= 0.95

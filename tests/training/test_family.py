"""Training of models with dropout and with conductors: in parts, on two replicas."""

import functools
from pathlib import Path

import keras
import numpy as np
import pytest
from family_run import CONDUCTED, weights_after
from processes import run

from magenta_lite.errors import UserError

PROGRAM = Path(__file__).with_name("family_run.py")
# With dropout, with scheduled sampling, and with a conductor.
GROOVE = ("groovae_2bar_tap_fixed_velocity_note_dropout_tiny", "model.dropout=0.7")
DRUMS = ("cat-drums_2bar_tiny", "objective.sampling_rate=2")
RUNS = {"groove": GROOVE, "drums": DRUMS, "conducted": CONDUCTED}


def in_parts(count: int) -> tuple[str, str]:
    return f"train.micro_batches={count}", "train.recompute=true"


@functools.cache
def whole(name: str) -> list[np.ndarray]:
    weights = weights_after(*RUNS[name])
    keras.backend.clear_session()
    return weights


def assert_same(actual, expected):
    assert len(actual) == len(expected) > 10
    for i, (a, b) in enumerate(zip(actual, expected, strict=True)):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5, err_msg=f"weight {i}")


@pytest.mark.parametrize("name", ["groove", "drums"])
def test_a_batch_in_four_parts_with_gates_computed_again_gives_the_weights_of_the_whole(name):
    assert_same(weights_after(*RUNS[name], *in_parts(4)), whole(name))


def test_parts_that_do_not_divide_a_batch_are_refused():
    with pytest.raises(UserError, match="micro_batches=3 does not divide the 16 examples"):
        weights_after(*DRUMS, "train.micro_batches=3")


@pytest.mark.parametrize(("name", "more"), [("groove", ()), ("conducted", in_parts(2))])
def test_two_replicas_give_the_weights_of_one(tmp_path, name, more):
    output = tmp_path / "weights.npz"
    code, out, error = run(PROGRAM, output, *RUNS[name], *more)
    assert code == 0, out + error
    assert_same(list(np.load(output).values()), whole(name))

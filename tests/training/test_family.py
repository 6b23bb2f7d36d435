"""Training of models with dropout and with conductors: in parts, on two replicas."""

from pathlib import Path

import keras
import numpy as np
import pytest
from family_run import TRIO, weights_after
from processes import run

from magenta_lite.errors import UserError

PROGRAM = Path(__file__).with_name("family_run.py")
# With dropout, with scheduled sampling, and with a conductor and three decoders.
GROOVE = ("groovae_2bar_tap_fixed_velocity_note_dropout_tiny",)
DRUMS = ("cat-drums_2bar_tiny", "objective.sampling_rate=2")
RUNS = {"groove": GROOVE, "drums": DRUMS, "trio": TRIO}


def assert_same(actual, expected):
    assert len(actual) == len(expected) > 10
    for i, (a, b) in enumerate(zip(actual, expected, strict=True)):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5, err_msg=f"weight {i}")


@pytest.mark.parametrize("name", RUNS)
def test_a_batch_in_four_parts_with_gates_computed_again_gives_the_weights_of_the_whole(name):
    settings = RUNS[name]
    parts = weights_after(*settings, "train.micro_batches=4", "train.recompute=true")
    assert_same(parts, weights_after(*settings))
    keras.backend.clear_session()


def test_parts_that_do_not_divide_a_batch_are_refused():
    with pytest.raises(UserError, match="micro_batches=3 does not divide the 16 examples"):
        weights_after(*DRUMS, "train.micro_batches=3")


@pytest.mark.parametrize("name", ["groove", "trio"])
def test_two_replicas_give_the_weights_of_one(tmp_path, name):
    output = tmp_path / "weights.npz"
    code, out, error = run(PROGRAM, output, *RUNS[name])
    assert code == 0, out + error
    arrays = np.load(output)
    one, two = (
        [array for name, array in arrays.items() if name.startswith(f"{replicas}/")]
        for replicas in (1, 2)
    )
    assert_same(two, one)

"""Clipping of gradients by the norm of each variable of the original."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from magenta_lite.layers.lstm import LSTM
from magenta_lite.modeling.optimizers import Clipping


class PlainDescent(Clipping, keras.optimizers.SGD):
    """Gradient descent whose updates are the clipped gradients."""


def updates(gradients, variables, **settings):
    """Returns the norm of the update of each variable."""
    before = [variable.numpy() for variable in variables]
    optimizer = PlainDescent(learning_rate=1.0, clip_norm=5.0, **settings)
    optimizer.apply_gradients(list(zip(gradients, variables, strict=True)))
    changes = [a - b.numpy() for a, b in zip(before, variables, strict=True)]
    return [float(np.linalg.norm(change)) for change in changes]


def gradient_of_norm(variable, norm):
    return tf.ones_like(variable) * norm / np.sqrt(np.prod(variable.shape))


def test_the_kernels_of_a_recurrent_layer_are_clipped_by_their_joint_norm():
    """TensorFlow 1 cells concatenate them: the norm of both, 5.296, is clipped to 5."""
    layers = [LSTM(4, 3, name="first"), LSTM(4, 3, name="second")]
    variables = [variable for layer in layers for variable in layer.trainable_variables]
    norms = {"kernel": 3.568, "recurrent_kernel": 3.914, "bias": 6.0}
    gradients = [gradient_of_norm(v, norms[v.path.rsplit("/", 1)[-1]]) for v in variables]
    clipped = {"kernel": 3.368, "recurrent_kernel": 3.695, "bias": 5.0}
    wanted = [clipped[v.path.rsplit("/", 1)[-1]] for v in variables]
    assert len(wanted) == 6
    assert updates(gradients, variables, clip_per_variable=True) == pytest.approx(wanted, abs=1e-3)
    whole = np.linalg.norm([3.568, 3.914, 6.0] * 2)
    wanted = [norms[v.path.rsplit("/", 1)[-1]] * 5 / whole for v in variables]
    assert updates(gradients, variables) == pytest.approx(wanted, abs=1e-3)

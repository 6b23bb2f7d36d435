"""Functions of a MuseNet for runtimes without TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from magenta_lite.converters.musenet import vocabulary
from magenta_lite.families.musenet.grammar import Constraints
from magenta_lite.modeling.decoder_step import decoder_step
from magenta_lite.modeling.step_functions import StepFunctions

if TYPE_CHECKING:
    from magenta_lite.families.musenet.model import MuseNet


def step_functions(model: MuseNet) -> StepFunctions:
    """Returns the step of a MuseNet, with the caches and its grammar as states.

    The state `length` int32 (1,) is the length of the piece in units of 10 ms, 0 for any length.
    Pieces begin with three given tokens: style, instruments, and the start; by default both are
    open. The logits of tokens that the grammar excludes are the lowest float.
    """
    every = np.ones(vocabulary.SIZE, bool)
    step = decoder_step(
        model,
        lambda states: Constraints(states["length"][0], tf.constant(every)),
        {"length": tf.zeros([1], tf.int32)},
        (vocabulary.UNSPECIFIED, vocabulary.UNSPECIFIED, vocabulary.START),
    )
    return StepFunctions(step)

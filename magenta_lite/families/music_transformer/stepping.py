"""Functions of a Music Transformer for runtimes without TensorFlow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from magenta_lite.families.music_transformer.grammar import Conditioning
from magenta_lite.modeling.decoder_step import decoder_step
from magenta_lite.modeling.step_functions import Function, StepFunctions, spec
from magenta_lite.typing import Tensor

if TYPE_CHECKING:
    from magenta_lite.families.music_transformer.model import MusicTransformer


def step_functions(model: MusicTransformer) -> StepFunctions:
    """Returns the step of a Music Transformer, with the caches and its grammar as states.

    - `start(melody)`, of a model of accompaniments, for a melody int32 (1, I) as `rules` read it,
      padded with 0.

    The logits of tokens that the grammar excludes are the lowest float.
    """
    if not model.rules.inputs:
        return StepFunctions(decoder_step(model, lambda states: Conditioning()))
    melody = spec([1, model.rules.input_steps], tf.int32)

    def memory_of(melody: Tensor) -> Any:
        return model.condition(melody[0], 1)[1].melody

    memory = tf.nest.map_structure(tf.zeros_like, memory_of(tf.zeros(melody.shape, tf.int32)))
    step = decoder_step(
        model, lambda states: Conditioning(melody=states["memory"]), {"memory": memory}
    )
    start = Function({"melody": melody}, lambda inputs: {"memory": memory_of(inputs["melody"])})
    return StepFunctions(step, {"start": start})

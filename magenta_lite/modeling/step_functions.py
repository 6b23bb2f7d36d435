"""Functions of a model for runtimes without TensorFlow, which call it step by step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from magenta_lite.typing import Tensor

Tensors = Mapping[str, Any]

EVENT = "event"  # name of what a step reads, and of what it draws
LOGITS = "logits"


@dataclasses.dataclass(frozen=True)
class Function:
    """A function of dense tensors of static shapes, for one piece.

    Attributes:
        inputs: The specs of its arguments.
        call: Returns a dict of tensors for a dict of tensors.
    """

    inputs: Mapping[str, tf.TensorSpec]
    call: Callable[[Tensors], Tensors]


@dataclasses.dataclass(frozen=True)
class Step:
    """A step of a model that writes a piece event by event.

    Step p reads the event before place p and draws that at place p. Its inputs are `event`,
    `position` int32 (1,), that is p, `uniforms` float32 (1, U) in [0, 1), `temperature` float32
    (1,), 0 for the most probable event, and those in `inputs`.

    Attributes:
        event: Spec of an event, (1, *E).
        first: The event that the first step reads, a number or numbers; None if that is the first
            event of the piece, which is given and not drawn: the first step draws place 1.
        uniforms: Number U of uniforms of a step.
        states: The states before the first step, each of them a structure of tensors that are
            filled with one number. A start function may return other values for some of them.
        call: Takes the inputs and the states, and returns `event`, `logits` float32 (1, V) and
            others by name, and the new states.
        inputs: The specs of other inputs.
        steps: Usual number of events of a piece.
        primer: The events that a piece begins with if no others are given.
        max_steps: Largest number of steps; None for any number.
        end: The event after which a piece ends; None without one.
    """

    event: tf.TensorSpec
    first: Any
    uniforms: int
    states: Mapping[str, Any]
    call: Callable[[Tensors, Tensors], tuple[dict[str, Tensor], Mapping[str, Any]]]
    steps: int
    inputs: Mapping[str, tf.TensorSpec] = dataclasses.field(default_factory=dict)
    primer: tuple[int, ...] = ()
    max_steps: int | None = None
    end: int | None = None


@dataclasses.dataclass(frozen=True)
class StepFunctions:
    """All functions of a model for such runtimes.

    Attributes:
        step: The step; None for a model that writes no events.
        others: Functions by name. `start` takes what a piece is about, and returns states;
            `finish` takes `events` (1, T, *E), `logits` (1, T, V) and the arguments of `start`,
            and returns `piece`, the complete events.
        facts: What else a caller has to know, plain values by name.
    """

    step: Step | None
    others: Mapping[str, Function] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def spec(shape: Any, dtype: Any = tf.float32) -> tf.TensorSpec:
    """Returns a spec without a name."""
    return tf.TensorSpec(shape, dtype)


def fixed(structure: Any) -> Any:
    """Returns the values of a structure of tensors, computed now and not in the exported graph."""
    return tf.nest.map_structure(lambda x: tf.constant(x.numpy()), structure)

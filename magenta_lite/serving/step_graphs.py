"""Graphs of the functions of `StepFunctions`, with names for their inputs and outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from magenta_lite.graphs import graph_function, unrolled
from magenta_lite.modeling.step_functions import (
    EVENT,
    Function,
    Step,
    StepFunctions,
    Tensors,
)

STEP = "step"
NEXT = "next_"  # prefix of the outputs that are the next states


@dataclasses.dataclass(frozen=True)
class Graph:
    """A traced function, and what it takes and returns.

    Attributes:
        function: A concrete function, which takes tensors by name and returns a dict of them.
        module: What keeps the variables of the function alive.
        inputs: The specs of its inputs.
        outputs: The specs of its outputs.
    """

    function: Any
    module: tf.Module
    inputs: Mapping[str, tf.TensorSpec]
    outputs: Mapping[str, tf.TensorSpec]


@dataclasses.dataclass(frozen=True)
class Graphs:
    """All functions of a model as graphs.

    Attributes:
        functions: Graphs by name.
        states: The states of the step before the first one: shape, type, and the number that fills
            them. Those that a step does not return as `next_NAME` remain.
        sampling: What else a sampler has to know.
    """

    functions: Mapping[str, Graph]
    states: Mapping[str, dict[str, Any]]
    sampling: Mapping[str, Any]


def graphs_of(functions: StepFunctions) -> Graphs:
    """Traces the functions of a model, without loops, XLA and operations on text or random numbers.

    States that have no influence on what a step draws are left out, and truth values in states are
    int32, since few runtimes take any others.
    """
    step, others = functions.step, functions.others
    graphs, states = {}, {}
    sampling = dict(functions.facts)
    if step is not None:
        graphs[STEP], states = _step_graph(step)
        sampling |= {
            "first": step.first,
            "primer": step.primer,
            "uniforms": step.uniforms,
            "steps": step.steps,
            "max_steps": step.max_steps,
            "end": step.end,
        }
    for name, function in others.items():
        graphs[name] = _graph_of(function, states)
    return Graphs(graphs, states, sampling)


def _graph_of(function: Function, states: Mapping[str, Any]) -> Graph:
    """Returns the graph of a function; of states that it returns only those that the step has."""

    def call(given: Tensors) -> dict[str, Any]:
        found = _flat(function.call(given))
        if any(name in states for name in found):
            found = {name: value for name, value in found.items() if name in states}
        return found

    return _traced(call, function.inputs)


def _step_graph(step: Step) -> tuple[Graph, dict[str, dict[str, Any]]]:
    """Returns the graph of a step, and the states that it needs."""
    first = _flat(step.states)
    leaves = tf.nest.flatten(dict(step.states))
    specs = {
        EVENT: step.event,
        "position": tf.TensorSpec([1], tf.int32),
        "uniforms": tf.TensorSpec([1, step.uniforms], tf.float32),
        "temperature": tf.TensorSpec([1], tf.float32),
        **step.inputs,
    }

    def call(given: Tensors) -> dict[str, Any]:
        # States without influence are what they were at first.
        flat = [
            tf.cast(given.get(name, leaf), leaf.dtype)
            for name, leaf in zip(first, leaves, strict=True)
        ]
        outputs, new = step.call(given, tf.nest.pack_sequence_as(dict(step.states), flat))
        following = _flat(new) | {EVENT: outputs.pop(EVENT)}
        return outputs | {f"{NEXT}{name}": value for name, value in following.items()}

    everything = specs | {name: tf.TensorSpec(x.shape, x.dtype) for name, x in first.items()}
    used, kept = _influence(_traced(call, everything), list(first))

    def needed(given: Tensors) -> dict[str, Any]:
        results = call(given)
        dropped = {f"{NEXT}{name}" for name in first if name not in used or name in kept}
        return {name: value for name, value in results.items() if name not in dropped}

    graph = _traced(needed, {name: spec for name, spec in everything.items() if name in used})
    return graph, {name: _filled(value) for name, value in first.items() if name in used}


def _filled(value) -> dict[str, Any]:
    array = value.numpy()
    number = array.flat[0].item()
    assert (array == number).all(), "States are filled with one number"
    return {"shape": list(array.shape), "dtype": array.dtype.name, "fill": number}


def _flat(structure: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the tensors of a structure by name; truth values as int32."""
    flat = {}
    for key in sorted(structure):
        leaves = tf.nest.flatten(structure[key])
        for i, leaf in enumerate(leaves):
            name = key if len(leaves) == 1 else f"{key}_{i}"
            flat[name] = tf.cast(leaf, tf.int32) if leaf.dtype == tf.bool else leaf
    return flat


def _traced(call: Callable[[Tensors], dict[str, Any]], specs: Mapping[str, Any]) -> Graph:
    module = tf.Module()
    named = {name: tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in specs.items()}
    function = graph_function(lambda **given: call(given))
    with unrolled():
        concrete = function.get_concrete_function(**named)
    module.function, module.read = function, list(concrete.variables)
    outputs = {
        name: tf.TensorSpec(x.shape, x.dtype) for name, x in concrete.structured_outputs.items()
    }
    return Graph(concrete, module, named, outputs)


def _influence(graph: Graph, states: list[str]) -> tuple[set[str], set[str]]:
    """Returns the inputs with influence on an output that is no state, and states that remain."""
    outputs, used = graph.function.structured_outputs, set()
    wanted = [name for name in outputs if name.removeprefix(NEXT) not in states]
    while wanted:
        found = _sources(outputs[wanted.pop()]) - used
        used |= found
        wanted += [f"{NEXT}{name}" for name in found if name in states]
    kept = {name for name in used if name in states and _is_same(outputs[f"{NEXT}{name}"], name)}
    return used, kept


def _sources(tensor) -> set[str]:
    """Returns the names of the inputs of a graph on which a tensor depends."""
    seen, waiting, found = set(), [tensor.op], set()
    while waiting:
        op = waiting.pop()
        if op.name in seen:
            continue
        seen.add(op.name)
        if op.type == "Placeholder":
            found.add(op.name)
        waiting += [x.op for x in op.inputs]
    return found


def _is_same(tensor, name: str) -> bool:
    """Returns whether a tensor is the input `name`."""
    while tensor.op.type == "Identity":
        tensor = tensor.op.inputs[0]
    return tensor.op.type == "Placeholder" and tensor.op.name == name

"""Translation of TensorFlow graphs to ONNX, for graphs of static shapes without loops.

What does not depend on the inputs is computed by TensorFlow. Every other operation becomes one or
a few nodes, by the translator of its type in `onnx_operations`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper
from tensorflow.python.framework.convert_to_constants import (  # not public
    convert_variables_to_constants_v2,
)

from magenta_lite.serving.onnx_operations import TRANSLATORS
from magenta_lite.serving.step_graphs import Graph

OPSET = 18
IR_VERSION = 9  # that of the opset
SHAPES = ("Shape", "Size", "Rank", "ZerosLike", "OnesLike")  # depend on static shapes only


def translated(graph: Graph, name: str) -> onnx.ModelProto:
    """Returns the ONNX model of a graph.

    Raises:
        NotImplementedError: If an operation has no translator.
    """
    frozen = convert_variables_to_constants_v2(graph.function, aggressive_inlining=True)
    translation = Translation(frozen.graph, frozen.outputs)
    outputs = dict(zip(sorted(graph.outputs), frozen.outputs, strict=True))
    inputs = {x.op.name: x for x in frozen.inputs}
    for key, tensor in outputs.items():
        translation.add_many("Identity", [translation.name_of(tensor)], [key])
    nodes, constants = translation.needed(set(outputs))
    proto = helper.make_graph(
        nodes,
        name,
        [_value(key, inputs[key]) for key in graph.inputs],
        [_value(key, tensor) for key, tensor in outputs.items()],
        constants,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(proto, opset_imports=opsets, ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def _type_of(dtype) -> int:
    return helper.np_dtype_to_tensor_dtype(np.dtype(tf.as_dtype(dtype).as_numpy_dtype))


def _value(name, tensor):
    return helper.make_tensor_value_info(name, _type_of(tensor.dtype), tensor.shape.as_list())


class Translation:
    """Nodes and constants of an ONNX graph that computes tensors of a TensorFlow graph."""

    def __init__(self, graph: tf.Graph, outputs: Sequence[Any]):
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[TensorProto] = []
        self._names: dict[str, str] = {}
        self._numbers = itertools.count()
        self._values = _values_of(graph)
        wanted = self._wanted(outputs)
        for op in graph.get_operations():  # in order of computation
            if op.type == "Placeholder":
                self._names[op.outputs[0].name] = op.name
            elif op.name in wanted:
                self._translate(op)

    def _wanted(self, outputs) -> set[str]:
        """Returns the names of the operations whose results have to be computed."""
        wanted, waiting = set(), list(outputs)
        while waiting:
            tensor = waiting.pop()
            if not self.is_fixed(tensor) and tensor.op.name not in wanted:
                wanted.add(tensor.op.name)
                waiting += tensor.op.inputs
        return wanted

    def _translate(self, op) -> None:
        if op.type not in TRANSLATORS:
            raise NotImplementedError(f"{op.type} ({op.name}) has no translation to ONNX")
        found = TRANSLATORS[op.type](self, op)
        names = [found] if isinstance(found, str) else found
        for tensor, name in zip(op.outputs, names, strict=True):
            self._names[tensor.name] = name

    def needed(self, names: set[str]) -> tuple[list[onnx.NodeProto], list[TensorProto]]:
        """Returns the nodes, in order, and the constants that compute the tensors `names`."""
        nodes, names = [], set(names)
        for node in reversed(self._nodes):
            if names.intersection(node.output):
                nodes.append(node)
                names.update(node.input)
        return nodes[::-1], [constant for constant in self._constants if constant.name in names]

    def value(self, tensor: Any) -> np.ndarray:
        """Returns the value of a tensor that does not depend on inputs."""
        return self._values[tensor.name]

    def name_of(self, tensor: Any) -> str:
        """Returns the ONNX name of a tensor."""
        if tensor.name not in self._names:
            self._names[tensor.name] = self.constant(self.value(tensor))
        return self._names[tensor.name]

    def names_of(self, op: Any) -> list[str]:
        """Returns the ONNX names of the inputs of an operation."""
        return [self.name_of(tensor) for tensor in op.inputs]

    def constant(self, value: Any) -> str:
        """Returns the name of a new constant."""
        name = f"constant_{next(self._numbers)}"
        self._constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def ints(self, values: Any) -> str:
        """Returns the name of a new constant of type int64, as shapes and axes have it."""
        return self.constant(np.array(values, np.int64))

    def add(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Adds a node with one output; returns its name."""
        return self.add_many(kind, inputs, 1, **attributes)[0]

    def add_many(
        self, kind: str, inputs: Sequence[str], outputs: int | list[str], **attributes: Any
    ) -> list[str]:
        """Adds a node with several outputs; returns their names."""
        if isinstance(outputs, int):
            outputs = [f"tensor_{next(self._numbers)}" for _ in range(outputs)]
        name = f"{kind}_{next(self._numbers)}"
        self._nodes.append(helper.make_node(kind, inputs, outputs, name=name, **attributes))
        return outputs

    def is_fixed(self, tensor: Any) -> bool:
        """Returns whether a tensor has a `value`."""
        return tensor.name in self._values

    def reshaped(self, name: str, shape: Any) -> str:
        """Returns the name of a tensor in another shape."""
        return self.add("Reshape", [name, self.ints(shape)])

    def cast(self, name: str, dtype: Any) -> str:
        return self.add("Cast", [name], **{"to": _type_of(dtype)})


def _values_of(graph: tf.Graph) -> dict[str, np.ndarray]:
    """Returns the values of all tensors that do not depend on the inputs of a graph, by name.

    They are computed only for what others read.
    """
    fixed: set[str] = set()
    for op in graph.get_operations():
        if op.type == "Placeholder":
            continue
        is_empty = any(0 in (tensor.shape or ()) for tensor in op.outputs)
        follows = all(tensor.name in fixed for tensor in op.inputs)
        if is_empty or op.type in SHAPES or follows:
            fixed |= {tensor.name for tensor in op.outputs}
    tensors = [tensor for op in graph.get_operations() for tensor in op.outputs]
    wanted = [tensor for tensor in tensors if tensor.name in fixed]
    given = {
        op.outputs[0].name: np.zeros(op.outputs[0].shape, op.outputs[0].dtype.as_numpy_dtype)
        for op in graph.get_operations()
        if op.type == "Placeholder"
    }
    with tf.compat.v1.Session(graph=graph) as session:
        values = session.run(wanted, given)
    return {tensor.name: value for tensor, value in zip(wanted, values, strict=True)}

"""Translation of TensorFlow graphs to ONNX, for graphs of static shapes without loops.

What does not depend on the inputs is computed by TensorFlow. Every other operation becomes one or
a few nodes, by the translator of its type; see `TRANSLATORS` at the end.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper
from tensorflow.python.framework.convert_to_constants import (  # not public
    convert_variables_to_constants_v2,
)

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
    translation = _Translation(frozen.graph, frozen.outputs)
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


class _Translation:
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


# Translators: (translation, operation) -> the name of its output, or a list of them -------------

Translator = Callable[[_Translation, Any], Any]


def _shape(tensor) -> list[int]:
    return tensor.shape.as_list()


def _same(kind: str) -> Translator:
    """Returns the translator of an operation that is the same in ONNX."""
    return lambda new, op: new.add(kind, new.names_of(op))


def _negated(kind: str) -> Translator:
    return lambda new, op: new.add("Not", [new.add(kind, new.names_of(op))])


def _identity(new, op):
    return new.names_of(op)


def _floor_div(new, op):
    x, y = new.names_of(op)
    if op.inputs[0].dtype.is_floating:
        return new.add("Floor", [new.add("Div", [x, y])])
    rest = new.add("Mod", [x, y])  # has the sign of y
    return new.add("Div", [new.add("Sub", [x, rest]), y])


def _squared_difference(new, op):
    difference = new.add("Sub", new.names_of(op))
    return new.add("Mul", [difference, difference])


def _rsqrt(new, op):
    return new.add("Reciprocal", [new.add("Sqrt", new.names_of(op))])


def _square(new, op):
    (x,) = new.names_of(op)
    return new.add("Mul", [x, x])


def _cast(new, op):
    return new.cast(new.names_of(op)[0], op.outputs[0].dtype)


def _along_last(kind: str) -> Translator:
    return lambda new, op: new.add(kind, new.names_of(op), axis=-1)


def _matmul(new, op):
    names = []
    flags = [("transpose_a", "adj_x"), ("transpose_b", "adj_y")]
    for tensor, (first, second) in zip(op.inputs, flags, strict=True):
        flipped = op.get_attr(first if op.type == "MatMul" else second)
        names.append(_last_two_swapped(new, tensor) if flipped else new.name_of(tensor))
    return new.add("MatMul", names)


def _last_two_swapped(new, tensor):
    axes = list(range(len(tensor.shape)))
    axes[-2:] = axes[:-3:-1]
    return new.add("Transpose", [new.name_of(tensor)], perm=axes)


def _einsum(new, op):
    return new.add("Einsum", new.names_of(op), equation=op.get_attr("equation").decode())


def _concat(new, op):
    *parts, axis = op.inputs
    names = [new.name_of(x) for x in parts if 0 not in _shape(x)]
    return new.add("Concat", names, axis=int(new.value(axis)))


def _split(new, op):
    axis, x = op.inputs
    axis = int(new.value(axis))
    return _pieces(new, x, axis, [_shape(part)[axis] for part in op.outputs])


def _split_v(new, op):
    x, _, axis = op.inputs
    axis = int(new.value(axis))
    return _pieces(new, x, axis, [_shape(part)[axis] for part in op.outputs])


def _pieces(new, x, axis, sizes):
    if len(sizes) == 1:
        return [new.name_of(x)]
    return new.add_many("Split", [new.name_of(x), new.ints(sizes)], len(sizes), axis=axis)


def _pack(new, op):
    axis = op.get_attr("axis")
    axis = axis if axis >= 0 else axis + len(op.outputs[0].shape)
    parts = [new.add("Unsqueeze", [name, new.ints([axis])]) for name in new.names_of(op)]
    return new.add("Concat", parts, axis=axis)


def _unpack(new, op):
    axis, (x,) = op.get_attr("axis"), op.inputs
    parts = _pieces(new, x, axis, [1] * len(op.outputs))
    return [new.add("Squeeze", [part, new.ints([axis])]) for part in parts]


def _to_static_shape(new, op):
    """Translates what only changes the shape: Reshape, Squeeze, ExpandDims."""
    return new.reshaped(new.name_of(op.inputs[0]), _shape(op.outputs[0]))


def _broadcast_to(new, op):
    return new.add("Expand", [new.name_of(op.inputs[0]), new.ints(_shape(op.outputs[0]))])


def _fill(new, op):
    return new.add("Expand", [new.name_of(op.inputs[1]), new.ints(_shape(op.outputs[0]))])


def _transpose(new, op):
    x, axes = op.inputs
    return new.add("Transpose", [new.name_of(x)], perm=new.value(axes).tolist())


def _tile(new, op):
    x, repeats = op.inputs
    return new.add("Tile", [new.name_of(x), new.ints(new.value(repeats))])


def _pad(new, op):
    x, padding, *value = op.inputs
    ends = new.ints(new.value(padding).T.ravel())
    return new.add("Pad", [new.name_of(x), ends, *(new.name_of(v) for v in value)])


def _slice(new, op):
    x, begin, _ = op.inputs
    begin, shape = new.value(begin), _shape(op.outputs[0])
    axes = range(len(shape))
    names = [new.ints(values) for values in (begin, begin + np.array(shape), axes)]
    return new.add("Slice", [new.name_of(x), *names])


def _strided_slice(new, op):
    """Translates slices of static places, and those that take one place of an axis."""
    x, begin, end, strides = op.inputs
    masks = {
        name: op.get_attr(f"{name}_mask")
        for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")
    }
    has = {name: lambda i, mask=mask: bool(mask >> i & 1) for name, mask in masks.items()}
    count, axis, name = _shape(begin)[0], 0, new.name_of(x)
    taken = sum(1 for i in range(count) if not has["new_axis"](i) and not has["ellipsis"](i))
    removed = []
    for i in range(count):
        if has["ellipsis"](i):
            axis += len(x.shape) - taken
            continue
        if has["new_axis"](i):  # the shape of the output has it
            continue
        if has["shrink_axis"](i):
            index = _element(new, begin, i)
            name = new.add("Gather", [name, index], axis=axis)  # keeps the axis, with one element
            removed.append(axis)
        elif not (has["begin"](i) and has["end"](i)) or new.value(strides)[i] != 1:
            step = int(new.value(strides)[i])
            first = None if has["begin"](i) else int(new.value(begin)[i])
            last = None if has["end"](i) else int(new.value(end)[i])
            start, stop, step = slice(first, last, step).indices(_shape(x)[axis])
            stop = stop if stop >= 0 else -(2**31)
            values = [new.ints([v]) for v in (start, stop, axis, step)]
            name = new.add("Slice", [name, *values])
        axis += 1
    return new.reshaped(name, _shape(op.outputs[0]))


def _element(new, vector, i):
    """Returns the name of element `i` of a vector, with one axis; negative places count."""
    if new.is_fixed(vector):
        return new.ints([new.value(vector)[i]])
    return new.add("Gather", [new.name_of(vector), new.ints([i])], axis=0)


def _gather(new, op):
    x, places, axis = op.inputs
    axis, batch = int(new.value(axis)), op.get_attr("batch_dims")
    names = [new.name_of(x), new.name_of(places)]
    axis = axis if axis >= 0 else axis + len(x.shape)
    if not batch:
        return new.add("Gather", names, axis=axis)
    assert axis == batch, f"Gather along axis {axis} with {batch} batch axes"
    indices = new.cast(new.reshaped(names[1], [*_shape(places), 1]), tf.int64)
    return new.add("GatherND", [names[0], indices], batch_dims=batch)


def _gather_nd(new, op):
    x, places = new.names_of(op)
    return new.add("GatherND", [x, new.cast(places, tf.int64)])


def _scatter(new, op):
    x, places, updates = new.names_of(op)
    return new.add("ScatterND", [x, new.cast(places, tf.int64), updates])


def _one_hot(new, op):
    places, depth, on, off = op.inputs
    assert op.get_attr("axis") == -1
    assert new.value(on) == 1 and new.value(off) == 0
    wide = new.reshaped(new.name_of(places), [*_shape(places), 1])
    numbers = new.constant(np.arange(new.value(depth), dtype=places.dtype.as_numpy_dtype))
    return new.cast(new.add("Equal", [wide, numbers]), op.outputs[0].dtype)


def _cumsum(new, op):
    x, axis = op.inputs
    flags = {name: int(op.get_attr(name)) for name in ("exclusive", "reverse")}
    return new.add("CumSum", [new.name_of(x), new.ints(new.value(axis))], **flags)


def _arg_max(new, op):
    x, axis = op.inputs
    name = new.name_of(x)
    name = new.cast(name, tf.int32) if x.dtype == tf.bool else name
    found = new.add("ArgMax", [name], axis=int(new.value(axis)), keepdims=0)
    return new.cast(found, op.outputs[0].dtype)


def _reduced(kind: str) -> Translator:
    def translate(new, op):
        x, axes = op.inputs
        name, truth = new.name_of(x), x.dtype == tf.bool
        name = new.cast(name, tf.int32) if truth else name
        kept = int(op.get_attr("keep_dims"))
        found = new.add(kind, [name, new.ints(np.ravel(new.value(axes)))], keepdims=kept)
        return new.cast(found, tf.bool) if truth else found

    return translate


def _select(new, op):
    condition, x, y = op.inputs
    names = [new.name_of(tensor) for tensor in (condition, x, y)]
    if x.dtype != tf.bool:
        return new.add("Where", names)
    numbers = [new.cast(name, tf.int32) for name in names[1:]]
    return new.cast(new.add("Where", [names[0], *numbers]), tf.bool)


def _reverse_sequence(new, op):
    x, lengths = op.inputs
    axes = {"time_axis": op.get_attr("seq_dim"), "batch_axis": op.get_attr("batch_dim")}
    name = new.cast(new.name_of(lengths), tf.int64)
    return new.add("ReverseSequence", [new.name_of(x), name], **axes)


def _reverse(new, op):
    x, axes = op.inputs
    axes = [int(axis) for axis in new.value(axes)]
    backward = [new.ints([v] * len(axes)) for v in (-1, -(2**31))]
    return new.add("Slice", [new.name_of(x), *backward, new.ints(axes), new.ints([-1] * len(axes))])


SAME = (
    "Abs Add Cos Equal Exp Floor Greater Less Log Mul Neg Pow Relu Sigmoid Sign Sin Softplus Sqrt "
    "Sub Tanh"
)
TRANSLATORS: dict[str, Translator] = {
    **{kind: _same(kind) for kind in SAME.split()},
    "AddV2": _same("Add"),
    "All": _reduced("ReduceMin"),
    "Any": _reduced("ReduceMax"),
    "ArgMax": _arg_max,
    "BatchMatMulV2": _matmul,
    "BiasAdd": _same("Add"),
    "BroadcastTo": _broadcast_to,
    "Cast": _cast,
    "ConcatV2": _concat,
    "Cumsum": _cumsum,
    "Einsum": _einsum,
    "EnsureShape": _identity,
    "ExpandDims": _to_static_shape,
    "Fill": _fill,
    "FloorDiv": _floor_div,
    "FloorMod": _same("Mod"),
    "GatherNd": _gather_nd,
    "GatherV2": _gather,
    "GreaterEqual": _same("GreaterOrEqual"),
    "Identity": _identity,
    "IdentityN": _identity,
    "LessEqual": _same("LessOrEqual"),
    "LogSoftmax": _along_last("LogSoftmax"),
    "LogicalAnd": _same("And"),
    "LogicalNot": _same("Not"),
    "LogicalOr": _same("Or"),
    "MatMul": _matmul,
    "Max": _reduced("ReduceMax"),
    "Maximum": _same("Max"),
    "Mean": _reduced("ReduceMean"),
    "Min": _reduced("ReduceMin"),
    "Minimum": _same("Min"),
    "NotEqual": _negated("Equal"),
    "OneHot": _one_hot,
    "Pack": _pack,
    "Pad": _pad,
    "PadV2": _pad,
    "Prod": _reduced("ReduceProd"),
    "RealDiv": _same("Div"),
    "Reshape": _to_static_shape,
    "ReverseSequence": _reverse_sequence,
    "ReverseV2": _reverse,
    "Rsqrt": _rsqrt,
    "SelectV2": _select,
    "Slice": _slice,
    "Softmax": _along_last("Softmax"),
    "Split": _split,
    "SplitV": _split_v,
    "Square": _square,
    "SquaredDifference": _squared_difference,
    "Squeeze": _to_static_shape,
    "StopGradient": _identity,
    "StridedSlice": _strided_slice,
    "Sum": _reduced("ReduceSum"),
    "TensorScatterUpdate": _scatter,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unpack": _unpack,
}

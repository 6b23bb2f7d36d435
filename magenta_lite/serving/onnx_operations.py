"""Translations of TensorFlow's operations to nodes of ONNX, for `onnx_graphs`.

A translator takes a `Translation` and an operation. It returns the name of its output, or a list of
the names of all outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from magenta_lite.serving.onnx_graphs import Translation

Translator = Callable[["Translation", Any], Any]


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


def _arg_min(new, op):
    x, axis = op.inputs
    found = new.add("ArgMin", [new.name_of(x)], axis=int(new.value(axis)), keepdims=0)
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


def _convolution(new, op):
    x, kernel = op.inputs
    return _convolved(new, op, x, kernel, _shape(x), "Conv")


def _transposed_convolution(new, op):
    _, kernel, x = op.inputs
    return _convolved(new, op, x, kernel, _shape(op.outputs[0]), "ConvTranspose")


def _convolved(new, op, x, kernel, shape, kind):
    """Translates a convolution, or the transposed one of a convolution of `shape`.

    TensorFlow has the channels last, and ONNX has them before height and width.
    """
    assert op.get_attr("data_format") == b"NHWC"
    strides, dilations = (op.get_attr(name)[1:3] for name in ("strides", "dilations"))
    sizes, pads = _shape(kernel)[:2], [0, 0, 0, 0]
    for i, (size, stride, dilation) in enumerate(zip(sizes, strides, dilations, strict=True)):
        if op.get_attr("padding") == b"SAME":
            span, length = dilation * (size - 1) + 1, shape[1 + i]
            total = max((-(-length // stride) - 1) * stride + span - length, 0)
            pads[i], pads[2 + i] = total // 2, total - total // 2
    axes = (3, 2, 0, 1)
    if new.is_fixed(kernel):
        weights = new.constant(new.value(kernel).transpose(axes))
    else:
        weights = new.add("Transpose", [new.name_of(kernel)], perm=axes)
    first = new.add("Transpose", [new.name_of(x)], perm=[0, 3, 1, 2])
    settings = {"strides": strides, "dilations": dilations, "pads": pads}
    return new.add("Transpose", [new.add(kind, [first, weights], **settings)], perm=[0, 2, 3, 1])


def _space_to_batch(new, op):
    """Translates what TensorFlow does before a dilated convolution."""
    x, block, padding = op.inputs
    block, padding = new.value(block).tolist(), new.value(padding)
    count, rest = len(block), _shape(x)[1 + len(block) :]
    edges = [[0, 0], *padding.tolist(), *[[0, 0]] * len(rest)]
    padded = new.add("Pad", [new.name_of(x), new.ints(np.transpose(edges).ravel())])
    sizes = [size + sum(edge) for size, edge in zip(_shape(x)[1:], padding.tolist(), strict=False)]
    split = [n for size, b in zip(sizes, block, strict=False) for n in (size // b, b)]
    cut = new.reshaped(padded, [_shape(x)[0], *split, *rest])
    inner, outer = range(2, 2 * count + 1, 2), range(1, 2 * count + 1, 2)
    order = [*inner, 0, *outer, *range(2 * count + 1, 2 * count + 1 + len(rest))]
    return new.reshaped(new.add("Transpose", [cut], perm=order), _shape(op.outputs[0]))


def _batch_to_space(new, op):
    """Translates what TensorFlow does after a dilated convolution."""
    x, block, crops = op.inputs
    block, crops = new.value(block).tolist(), new.value(crops)
    count, shape = len(block), _shape(x)
    rows = shape[0] // math.prod(block)
    cut = new.reshaped(new.name_of(x), [*block, rows, *shape[1:]])
    pairs = [axis for i in range(count) for axis in (count + 1 + i, i)]
    order = [count, *pairs, *range(2 * count + 1, count + len(shape))]
    joined = [size * b for size, b in zip(shape[1:], block, strict=False)]
    whole = new.reshaped(
        new.add("Transpose", [cut], perm=order), [rows, *joined, *shape[1 + count :]]
    )
    ends = np.array(joined) - crops[:, 1]
    places = [new.ints(values) for values in (crops[:, 0], ends, range(1, count + 1))]
    return new.add("Slice", [whole, *places])


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
    "ArgMin": _arg_min,
    "BatchMatMulV2": _matmul,
    "BatchToSpaceND": _batch_to_space,
    "BiasAdd": _same("Add"),
    "BroadcastTo": _broadcast_to,
    "Cast": _cast,
    "ConcatV2": _concat,
    "Conv2D": _convolution,
    "Conv2DBackpropInput": _transposed_convolution,
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
    "SpaceToBatchND": _space_to_batch,
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

"""LSTM layers with attention to their own last outputs.

The forward and the backward pass are one compiled loop each. The product of an output with the
memory weights, for its attention scores, is computed once, at its step. The last L outputs are in a
ring buffer: step t overwrites slot t mod L, since attention does not depend on their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from magenta_lite.graphs import inner_graph
from magenta_lite.layers.base import Layer
from magenta_lite.layers.lstm import LSTM, cell, cell_gradient, flat_rows
from magenta_lite.typing import Tensor


class Weights(NamedTuple):
    """Weights in the form that the loops need; U units of a layer, A attention size, V score size.

    Attributes:
        layers: For each LSTM layer a kernel (inputs + U, 4U) and a bias (4U,). The inputs of the
            first one are the C input channels and the attention context A.
        query: Kernel (sum of 2U, V) and bias (V,).
        memory: Float (A, V).
        score: Float (V,).
        output: Kernel (U + A, A) and bias (A,).
    """

    layers: tuple
    query: tuple
    memory: Any
    score: Any
    output: tuple


class State(NamedTuple):
    """The recurrent state, float32.

    Attributes:
        layers: For each LSTM layer output h and cell state c (B, U).
        attended: (B, A), the attention context of the previous step.
        memory: (L, B, A), outputs of the last L steps; that of step t in slot t mod L.
        scored: (L, B, V), products of `memory` with the memory weights.
    """

    layers: tuple
    attended: Any
    memory: Any
    scored: Any


def attention_step(
    weights: Weights, x: Tensor, state: State, slot: Tensor, keep: Sequence[Tensor] = ()
) -> tuple[Tensor, State, tuple]:
    """Computes one step.

    Args:
        weights: The weights of the layer.
        x: Float32 (B, C).
        state: The state before the step.
        slot: Int scalar, slot of the step's output: the index of the step modulo L.
        keep: Scaled dropout masks of each LSTM layer's output (B, U); empty for no dropout.

    Returns:
        Output (B, A), the new state, and activations for the gradient.
    """
    below, states, activations = tf.concat([x, state.attended], axis=-1), [], []
    for i, ((kernel, bias), (h, c)) in enumerate(zip(weights.layers, state.layers, strict=True)):
        h, c, gates = cell(tf.matmul(tf.concat([below, h], axis=-1), kernel) + bias, c)
        states.append((h, c))
        activations.append(gates)
        below = h * keep[i] if keep else h
    query = _query(weights, states)
    hidden = tf.tanh(state.scored + query)  # (L, B, V)
    attention = tf.nn.softmax(tf.tensordot(hidden, weights.score, axes=1), axis=0)  # (L, B)
    attended = tf.reduce_sum(attention[..., None] * state.memory, axis=0)
    kernel, bias = weights.output
    output = tf.matmul(tf.concat([below, attended], axis=-1), kernel) + bias
    new = State(
        layers=tuple(states),
        attended=attended,
        memory=_put(state.memory, slot, output),
        scored=_put(state.scored, slot, tf.matmul(output, weights.memory)),
    )
    return output, new, (tuple(activations), attention)


def _query(weights: Weights, states):
    """Returns the query (..., V) of the states [(h, c), …] of (..., U) of all LSTM layers."""
    kernel, bias = weights.query
    both = [part for h, c in states for part in (c, h)]
    return tf.tensordot(tf.concat(both, axis=-1), kernel, axes=1) + bias


def _put(ring, slot, row):
    return tf.tensor_scatter_nd_update(ring, [[slot]], row[None])


def _arrays(like, steps):
    """Returns an array of `steps` for each tensor of a structure."""
    return tf.nest.map_structure(
        lambda x: tf.TensorArray(x.dtype, size=steps, element_shape=x.shape), like
    )


def _write(arrays, t, values):
    return tf.nest.map_structure(lambda array, value: array.write(t, value), arrays, values)


def _scan(weights: Weights, x, state: State, keep):
    """Returns the state after all steps, and values of each step for outputs and gradient.

    These are outputs (T, B, A), the states of the layers, the attention contexts, and activations
    of the gates and attention weights (T, L, B).
    """
    steps, length = tf.shape(x)[0], state.memory.shape[0]

    def step(t, state, arrays):
        kept = tuple(mask[t] for mask in keep)
        output, state, internals = attention_step(weights, x[t], state, t % length, kept)
        left = (output, state.layers, state.attended, internals)
        return t + 1, state, _write(arrays, t, left)

    rows = tf.shape(state.memory)[1]
    gates = tuple(tf.zeros([rows, kernel.shape[1]]) for kernel, _ in weights.layers)
    example = (state.attended, state.layers, state.attended, (gates, tf.zeros([length, rows])))
    start = (0, state, _arrays(example, steps))
    _, state, arrays = tf.while_loop(lambda t, *_: t < steps, step, start)
    return state, tf.nest.map_structure(lambda array: array.stack(), arrays)


def _scan_gradient(weights: Weights, scanned, keep, c_before, queries, before, ring, d_outputs):
    """Returns the gradients of all steps for the gradients of their outputs.

    Args:
        weights: Those of `_scan`.
        scanned: The values of each step of `_scan`.
        keep: Those of `_scan`.
        c_before: For each layer the cell states (T, B, U) before each step.
        queries: (T, B, V), the query of each step.
        before: Memory (T, B, A) and its scored form (T, B, V) that each step overwrites.
        ring: Memory and its scored form after all steps.
        d_outputs: (T, B, A), gradients of the outputs.

    Returns:
        For each step the gradients of the gates of each layer (B, 4U), of the query (B, V), of the
        output (B, A) and of its scored form (B, V); and the gradient of the score weights.
    """
    _, layers, _, (activations, attentions) = scanned
    steps, rows = tf.unstack(tf.shape(d_outputs)[:2])
    length, _, size = ring[0].shape
    units = [c.shape[-1] for _, c in layers]
    slots = tf.range(length)[:, None, None]
    # On CPUs a matrix product is faster than a sum over the last axis.
    ones = tf.ones([size])

    def step(t, ring, d_ring, d_states, d_attended, d_score, arrays):
        slot = t % length
        memory, scored = (_put(x, slot, row[t]) for x, row in zip(ring, before, strict=True))
        d_memory, d_scored = d_ring
        d_own_score = d_scored[slot]
        d_output = d_outputs[t] + d_memory[slot]
        d_output += tf.matmul(d_own_score, weights.memory, transpose_b=True)
        d_top, d_from_output = _split(_back(d_output, weights.output[0]), size)
        d_attended += d_from_output

        attention, other = attentions[t], slots != slot
        d_attention = tf.tensordot(d_attended * memory, ones, axes=1)
        d_logits = attention * (d_attention - tf.reduce_sum(attention * d_attention, axis=0))
        hidden = tf.tanh(scored + queries[t])
        d_hidden = d_logits[..., None] * weights.score * (1 - hidden * hidden)
        # Before this step, its slot holds an older output, without a gradient so far.
        d_memory = tf.where(other, d_memory, 0.0) + attention[..., None] * d_attended
        d_scored = tf.where(other, d_scored, 0.0) + d_hidden
        d_query = tf.reduce_sum(d_hidden, axis=0)
        d_score += tf.linalg.matvec(flat_rows(hidden), tf.reshape(d_logits, [-1]), transpose_a=True)

        parts = [n for n in units for _ in range(2)]
        d_both = tf.split(_back(d_query, weights.query[0]), parts, axis=-1)
        d_gates, d_before, d_above = [], [], d_top
        for i in reversed(range(len(layers))):
            dh, dc = d_states[i]
            dh += d_both[2 * i + 1] + (d_above * keep[i][t] if keep else d_above)
            gates, dc = cell_gradient(
                activations[i][t], c_before[i][t], layers[i][1][t], dh, dc + d_both[2 * i]
            )
            kernel = weights.layers[i][0]
            if i == 0:  # the inputs are not part of the recurrence
                kernel = kernel[-size - units[0] :]
            d_above, dh = _split(_back(gates, kernel), units[i])
            d_gates.insert(0, gates)
            d_before.insert(0, (dh, dc))
        arrays = _write(arrays, t, (tuple(d_gates), d_query, d_output, d_own_score))
        d_ring = (d_memory, d_scored)
        return t - 1, (memory, scored), d_ring, tuple(d_before), d_above, d_score, arrays

    example = (tuple(x[0] for x in activations), queries[0], d_outputs[0], queries[0])
    nothing = tuple(tuple(tf.zeros([rows, n]) for _ in range(2)) for n in units)
    start = (
        steps - 1,
        ring,
        tuple(tf.zeros_like(x) for x in ring),
        nothing,
        tf.zeros([rows, size]),
        tf.zeros_like(weights.score),
        _arrays(example, steps),
    )
    *_, d_score, arrays = tf.while_loop(lambda t, *_: t >= 0, step, start)
    return tf.nest.map_structure(lambda array: array.stack(), arrays), d_score


_compiled_scan = inner_graph(_scan, jit_compile=True)
_compiled_scan_gradient = inner_graph(_scan_gradient, jit_compile=True)


def attention_scan(
    weights: Weights, x: Tensor, state: State, keep: Sequence[Tensor] = ()
) -> tuple[Tensor, State]:
    """Computes all steps of a sequence.

    Args:
        weights: The weights of the layer, float32.
        x: Float32 (T, B, C).
        state: The initial state, with the oldest output in the first slot; it has no gradient.
        keep: Scaled dropout masks of each LSTM layer's output (T, B, U); empty for no dropout.

    Returns:
        Outputs float32 (T, B, A), and the state after the last step.
    """
    flat = tf.nest.flatten((weights, x))
    fixed = tf.nest.map_structure(tf.stop_gradient, (state, keep))

    @tf.custom_gradient
    def scan(*tensors):
        # Otherwise an eager tape would also differentiate the compiled loop itself.
        tensors = [tf.stop_gradient(tensor) for tensor in tensors]
        return _scan_with_gradient(*tf.nest.pack_sequence_as((weights, x), tensors), *fixed)

    outputs, *last = scan(*flat)
    outputs = tf.ensure_shape(outputs, [*x.shape[:2], state.attended.shape[1]])  # lost in loops
    return outputs, tf.nest.pack_sequence_as(state, last)


def _scan_with_gradient(weights: Weights, x, state: State, keep):
    last, scanned = _compiled_scan(weights, x, state, keep)
    outputs, layers, attended, _ = scanned

    def gradient(d_outputs, *_):
        states_before = tf.nest.map_structure(_shifted, state.layers, layers)
        before = tf.concat([state.memory, outputs], axis=0)[: tf.shape(outputs)[0]]
        scored_before = tf.tensordot(before, weights.memory, axes=1)
        arrays, d_score = _compiled_scan_gradient(
            weights,
            scanned,
            keep,
            tuple(c for _, c in states_before),
            _query(weights, layers),
            (before, scored_before),
            (last.memory, last.scored),
            d_outputs,
        )
        d_gates, d_query, d_output, d_own_score = arrays
        below = tf.concat([x, _shifted(state.attended, attended)], axis=-1)
        d_layers = []
        for i, gates in enumerate(d_gates):
            d_layers.append(_product_gradient(tf.concat([below, states_before[i][0]], -1), gates))
            below = layers[i][0] * keep[i] if keep else layers[i][0]
        both = tf.concat([part for h, c in layers for part in (c, h)], axis=-1)
        top = tf.concat([below, attended], axis=-1)
        d_weights = Weights(
            layers=tuple(d_layers),
            query=_product_gradient(both, d_query),
            memory=_product_gradient(outputs, d_own_score)[0],
            score=d_score,
            output=_product_gradient(top, d_output),
        )
        channels = x.shape[-1]
        d_x = tf.tensordot(d_gates[0], tf.transpose(weights.layers[0][0][:channels]), axes=1)
        return tf.nest.flatten((d_weights, d_x))

    return [outputs, *tf.nest.flatten(last)], gradient


def _product_gradient(inputs, gradient):
    """Returns the gradients of the kernel and the bias of a linear map over all steps."""
    flat = flat_rows(gradient)
    return tf.matmul(flat_rows(inputs), flat, transpose_a=True), tf.reduce_sum(flat, axis=0)


def _back(gradient, kernel):
    return tf.matmul(gradient, kernel, transpose_b=True)


def _split(x, last: int):
    """Splits off the last columns."""
    return x[..., :-last], x[..., -last:]


def _shifted(first, steps):
    """Returns `steps` (T, ...) shifted by one step, with `first` (...) in front."""
    return tf.concat([first[None], steps[:-1]], axis=0)


@keras.saving.register_keras_serializable("magenta_lite.melody_rnn")
class AttentionLSTM(Layer):
    """LSTM layers with attention to their own last outputs.

    Bahdanau et al. (2014), https://arxiv.org/abs/1409.0473, applied to the layer's own past, as in
    Magenta. The input and the previous attention context are projected to the input's size and
    read by the LSTM layers. Their new states are the query. The output, which is also memorised, is
    a projection of the last layer's output and the attention context. Empty slots are zeros and are
    not masked. Computes in float32.

    Shape letters: T steps, B batch, C input channels, L length, A attention size, V score size.

    Args:
        units: LSTM units of each layer; the states of all layers are the query.
        input_size: Input channels C.
        length: Number of last outputs L in the memory.
        size: Size A of outputs and memory; None for the units of the last layer.
        score_size: Size V of query and scores; None for `size`.
        biased_query: Whether the query has a bias.

    Call arguments:
        x: Float (T, B, C).
        state: The initial `State`, with the oldest output in the first slot; None for zeros.
        keep: Scaled dropout masks of each LSTM layer's output (T, B, U); empty for no dropout.

    Returns:
        Float32 (T, B, A), and the `State` after the last step.
    """

    def __init__(
        self,
        units: tuple[int, ...],
        input_size: int,
        length: int,
        size: int | None = None,
        score_size: int | None = None,
        biased_query: bool = True,
        dtype: Any = "float32",
        **kwargs: Any,
    ):
        super().__init__(dtype=dtype, **kwargs)
        self.units = tuple(units)
        self.input_size = input_size
        self.length = length
        self.size = size or self.units[-1]
        self.score_size = score_size or self.size
        self.biased_query = biased_query
        below = [input_size, *self.units]
        self.layers = [
            LSTM(n, below[i], name=f"lstm_{i}", dtype=self.dtype_policy)
            for i, n in enumerate(self.units)
        ]
        size, score_size = self.size, self.score_size
        self.input_kernel = self._weight("input_kernel", input_size + size, input_size)
        self.input_bias = self._weight("input_bias", input_size)
        self.query_kernel = self._weight("query_kernel", 2 * sum(self.units), score_size)
        self.query_bias = self._weight("query_bias", score_size) if biased_query else None
        self.memory_kernel = self._weight("memory_kernel", size, score_size)
        self.score = self._weight("score", score_size, initializer="glorot_uniform")
        self.output_kernel = self._weight("output_kernel", self.units[-1] + size, size)
        self.output_bias = self._weight("output_bias", size)

    def _weight(self, name: str, *shape: int, initializer: str | None = None):
        default = "zeros" if len(shape) == 1 else "glorot_uniform"
        return self.add_weight(name=name, shape=shape, initializer=initializer or default)

    def zero_state(self, rows: Any) -> State:
        """Returns the state before the first step of `rows` sequences."""
        rings = (tf.zeros([self.length, rows, n]) for n in (self.size, self.score_size))
        states = tuple((tf.zeros([rows, n]), tf.zeros([rows, n])) for n in self.units)
        return State(states, tf.zeros([rows, self.size]), *rings)

    def prepared(self) -> Weights:
        """Returns the weights in the form that the loops need.

        The projection of the input is merged into the kernel of the first LSTM, as both are linear.
        """
        first, *rest = [layer.weights_as(tf.float32) for layer in self.layers]
        kernel, recurrent, bias = first
        projection, shift = (tf.convert_to_tensor(w) for w in (self.input_kernel, self.input_bias))
        into_first = tf.concat([tf.matmul(projection, kernel), recurrent], axis=0)
        bias += tf.linalg.matvec(kernel, shift, transpose_a=True)
        others = [(tf.concat([k, r], axis=0), b) for k, r, b in rest]
        no_bias = tf.zeros([self.score_size])
        weights = Weights(
            layers=((into_first, bias), *others),
            query=(self.query_kernel, no_bias if self.query_bias is None else self.query_bias),
            memory=self.memory_kernel,
            score=self.score,
            output=(self.output_kernel, self.output_bias),
        )
        return tf.nest.map_structure(tf.convert_to_tensor, weights)

    def call(
        self, x: Tensor, state: State | None = None, keep: Sequence[Tensor] = ()
    ) -> tuple[Tensor, State]:
        if state is None:
            state = self.zero_state(tf.shape(x)[1])
        return attention_scan(self.prepared(), tf.cast(x, tf.float32), state, tuple(keep))

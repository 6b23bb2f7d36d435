"""Attention: against what the original gave, against a naive program, and against itself."""

import json
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from magenta_lite.layers import attention
from magenta_lite.layers.attention import (
    BOTH_SIDES,
    CLIPPED,
    MASKED,
    PAST,
    attend,
    attend_causally,
    attend_in_blocks,
    causal_bias,
    one_hot_pitches,
    relative_logits,
    timing_signal,
    with_intervals,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "music_transformer" / "attention"
MANIFEST = json.loads((GOLDEN / "manifest.json").read_text())
DISTANCES = {
    "dot_product": PAST,
    "masked_relative_v2": PAST,
    "unmasked_relative_v2": BOTH_SIDES,
    "shaw_relative": CLIPPED,
}


def recorded(name):
    with np.load(GOLDEN / f"{name}.npz") as file:
        return dict(file), MANIFEST["cases"][name]


@pytest.mark.parametrize("name", sorted(MANIFEST["cases"]))
def test_outputs_and_gradients_are_the_originals(name):
    arrays, case = recorded(name)
    inputs = {
        key: tf.constant(arrays[key])
        for key in ("q", "k", "v", "key_table", "value_table")
        if key in arrays
    }
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        tables = [inputs.get(f"{kind}_table") for kind in ("key", "value")]
        qkv = [inputs[key] for key in "qkv"]
        if "local" in case["kind"]:
            out = attend_in_blocks(*qkv, case["block_length"], *tables)
        else:
            bias = arrays.get("bias", 0.0)
            if (case["bias"] or "").startswith("causal") and "bias" not in arrays:
                bias = causal_bias(case["length"], case["length"])
            out = attend(*qkv, bias, *tables, distances=DISTANCES[case["kind"]])
        scalar = tf.reduce_sum(out * arrays["cotangent"])
    np.testing.assert_allclose(out, arrays["out"], atol=1e-5)
    for key, gradient in tape.gradient(scalar, inputs).items():
        np.testing.assert_allclose(
            tf.convert_to_tensor(gradient), arrays[f"grad_{key}"], atol=1e-5, err_msg=key
        )


@pytest.mark.parametrize("name", [n for n in sorted(MANIFEST["cases"]) if "_v2" in n])
def test_relative_terms_are_the_originals(name):
    arrays, case = recorded(name)
    logits = relative_logits(arrays["q"], arrays["key_table"], DISTANCES[case["kind"]])
    wanted = arrays["rel_logits"]
    if DISTANCES[case["kind"]] is PAST:
        logits, wanted = np.tril(logits), np.tril(wanted)
    np.testing.assert_allclose(logits, wanted, atol=1e-5)


def naive(q, k, v, key_table, value_table, distances, causal):
    """A vector for every query and key, looked up by distance: O(L² D) memory."""
    length, rows = q.shape[2], key_table.shape[-2]
    zero = rows // 2 if distances.both_sides else rows - 1
    right = rows // 2 if distances.both_sides else 0
    d = np.arange(length)[None] - np.arange(length)[:, None]
    inside = (d >= -zero) & (d <= right) | distances.clip
    row = np.clip(d, -zero, right) + zero

    def looked_up(table):  # (H or 1, L, L, depth)
        table = table if len(table.shape) == 3 else table[None]
        return tf.gather(table, row, axis=1) * inside[..., None]

    logits = tf.einsum("bhid,bhjd->bhij", q, k)
    logits += tf.reduce_sum(q[:, :, :, None] * looked_up(key_table), axis=-1)
    if causal:
        logits = tf.where(d <= 0, logits, -np.inf)
    weights = tf.nn.softmax(logits)
    out = tf.einsum("bhij,bhjv->bhiv", weights, v)
    return out + tf.reduce_sum(weights[..., None] * looked_up(value_table), axis=3)


@settings(max_examples=25, deadline=None)
@given(
    length=st.integers(1, 12),
    reach=st.integers(1, 14),
    heads=st.sampled_from([1, 2]),
    batch=st.sampled_from([1, 3]),
    shared=st.booleans(),
    kind=st.sampled_from([(PAST, True), (BOTH_SIDES, False), (CLIPPED, False), (CLIPPED, True)]),
    seed=st.integers(0, 1000),
)
def test_equals_a_naive_program(length, reach, heads, batch, shared, kind, seed):
    distances, causal = kind
    rng = np.random.default_rng(seed)
    rows = 2 * reach - 1 if distances.both_sides else reach

    def draw(*shape):
        return tf.constant(rng.normal(size=shape), tf.float64)

    table = () if shared else (heads,)
    inputs = [draw(batch, heads, length, n) for n in (4, 4, 3)]
    inputs += [draw(*table, rows, n) for n in (4, 3)]
    cotangent = draw(batch, heads, length, 3)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        bias = causal_bias(length, length) if causal else None
        q, k, v, *tables = (tf.cast(x, tf.float32) for x in inputs)
        ours = attend(q, k, v, bias, *tables, distances=distances)
        theirs = naive(*inputs, distances, causal)
        sums = [
            tf.reduce_sum(ours * tf.cast(cotangent, tf.float32)),
            tf.reduce_sum(theirs * cotangent),
        ]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    for mine, wanted in zip(*(tape.gradient(s, inputs) for s in sums), strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(mine), wanted, atol=2e-5)


def test_intervals_between_pitches_have_terms():
    rng, pitches = np.random.default_rng(0), np.array([[0, 1, 4, 2, 2], [3, 0, 0, 4, 1]])
    q, k = (tf.constant(rng.normal(size=(2, 2, 5, 3)), tf.float32) for _ in range(2))
    table = tf.constant(rng.normal(size=(2, 8, 3)), tf.float32)
    extended = with_intervals(q, table, tf.constant(pitches))
    logits = tf.matmul(extended, one_hot_pitches(k, tf.constant(pitches), 4), transpose_b=True)
    intervals = pitches[:, :, None] - pitches[:, None]
    missing = (pitches[:, :, None] == 0) | (pitches[:, None] == 0)
    rows = tf.gather(table, np.where(missing, 0, intervals + 4), axis=1)  # (H, B, L, K, D)
    wanted = tf.einsum("bhid,bhjd->bhij", q, k) + tf.einsum("bhid,hbijd->bhij", q, rows)
    np.testing.assert_allclose(logits, wanted, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    queries=st.integers(1, 12),
    keys=st.integers(1, 12),
    reach=st.integers(1, 14),
    clip=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_attention_to_something_else_knows_distances(queries, keys, reach, clip, seed):
    rng = np.random.default_rng(seed)
    shapes = [(2, 2, queries, 4), (2, 2, keys, 4), (2, 2, keys, 3), (2, 2 * reach - 1, 4)]
    inputs = [tf.constant(rng.normal(size=shape), tf.float32) for shape in shapes]
    d = np.arange(keys)[None] - np.arange(queries)[:, None]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        q, k, v, table = inputs
        ours = attend(q, k, v, None, table, distances=CLIPPED if clip else BOTH_SIDES)
        rows = tf.gather(table, np.clip(d, 1 - reach, reach - 1) + reach - 1, axis=1)
        rows *= ((np.abs(d) < reach) | clip).astype(np.float32)[..., None]
        logits = tf.einsum("bhid,bhjd->bhij", q, k) + tf.einsum("bhid,hijd->bhij", q, rows)
        wanted = tf.einsum("bhij,bhjv->bhiv", tf.nn.softmax(logits), v)
        sums = [tf.reduce_sum(out**2) for out in (ours, wanted)]
    np.testing.assert_allclose(ours, wanted, atol=1e-5)
    for mine, theirs in zip(*(tape.gradient(s, inputs) for s in sums), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=3e-5)


@settings(max_examples=25, deadline=None)
@given(length=st.integers(1, 40), block=st.integers(2, 9), seed=st.integers(0, 1000))
def test_blocks_equal_masked_attention_to_everything(length, block, seed):
    rng = np.random.default_rng(seed)
    q, k = (rng.normal(size=(2, 2, length, 4)).astype(np.float32) for _ in "qk")
    v = rng.normal(size=(2, 2, length, 3)).astype(np.float32)
    table = rng.normal(size=(2, 4 * block, 4)).astype(np.float32)
    blocks = np.arange(length) // block if length >= 2 * block else np.zeros(length, int)
    hidden = (blocks[:, None] - blocks[None]) > 1
    bias = causal_bias(length, length) + hidden.astype(np.float32) * MASKED
    wanted = attend(q, k, v, bias, table)
    np.testing.assert_allclose(attend_in_blocks(q, k, v, block, table), wanted, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    length=st.integers(1, 40),
    rows=st.sampled_from([0, 1, 5, 20, 50]),
    shared=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_queries_in_blocks_equal_masked_attention(length, rows, shared, seed):
    rng = np.random.default_rng(seed)
    shapes = [(2, 2, length, 4), (2, 2, length, 4), (2, 2, length, 3)]
    shapes += [(rows, 4) if shared else (2, rows, 4)] * (rows > 0)
    inputs = [tf.constant(rng.normal(size=shape), tf.float32) for shape in shapes]
    cotangent = rng.normal(size=shapes[2]).astype(np.float32)
    with (
        tf.GradientTape(persistent=True) as tape,
        mock.patch.object(attention, "SMALLEST_BLOCK", 3),
    ):
        tape.watch(inputs)
        q, k, v, *table = inputs
        ours = attend_causally(q, k, v, *table)
        wanted = attend(q, k, v, causal_bias(length, length), *table)
        sums = [tf.reduce_sum(out * cotangent) for out in (ours, wanted)]
    np.testing.assert_allclose(ours, wanted, atol=1e-5)
    for mine, theirs in zip(*(tape.gradient(s, inputs) for s in sums), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)


@pytest.mark.parametrize("length", [256, 512, 1024])
def test_nothing_but_logits_grows_with_the_square_of_the_length(length):
    heads, depth = 2, 32

    def gradients(q, k, v, table):
        with tf.GradientTape() as tape:
            tape.watch([q, k, v, table])
            out = attend_causally(q, k, v, table)
        return tape.gradient(out, [q, k, v, table])

    specs = [tf.TensorSpec([1, heads, length, depth])] * 3 + [tf.TensorSpec([heads, 512, depth])]
    graph = tf.function(gradients).get_concrete_function(*specs).graph
    tensors = [x for op in graph.get_operations() for x in op.outputs]
    assert len(tensors) > 100
    # One vector for each pair of positions would take `depth` times as much.
    assert max(x.shape.num_elements() or 0 for x in tensors) <= heads * length * (length + 1)


def test_dropout_of_blocks_leaves_out_what_it_draws():
    q, k = (tf.random.stateless_normal((2, 2, 300, 4), [i, 0]) for i in (0, 1))
    v = tf.eye(300, batch_shape=[2, 2])  # the output is the weights
    whole = attend_causally(q, k, v).numpy()
    drawn = []

    def draw(count):
        drawn.append(np.random.default_rng(0).choice([0.0, 2.0], size=(2, count)))
        return tf.constant(drawn[0], tf.float32)

    left = attend_causally(q, k, v, draw=draw).numpy()
    kept = left[whole > 0] != 0
    np.testing.assert_allclose(left[whole > 0][kept], 2 * whole[whole > 0][kept], rtol=1e-6)
    assert 0.45 < kept.mean() < 0.55
    np.testing.assert_array_equal(left[:, 0] > 0, left[:, 1] > 0)  # heads lose the same
    assert drawn[0].shape[1] < 0.75 * 300**2  # nothing is drawn for keys that blocks do not see


def test_timing_signal_is_the_originals():
    with np.load(GOLDEN / "timing_signal.npz") as file:
        for key, wanted in file.items():
            length, channels, start = (int(part.lstrip("LCstar")) for part in key.split("_"))
            signal = timing_signal(tf.range(start, start + length), channels)
            np.testing.assert_allclose(signal, wanted, atol=3e-4 if start > 1000 else 2e-5)

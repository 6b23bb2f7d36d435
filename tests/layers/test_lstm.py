"""The LSTM layer against Keras' own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from magenta_lite.layers import lstm
from magenta_lite.layers.initial_values import replaced_at_once
from magenta_lite.layers.lstm import LSTM
from magenta_lite.layers.sharding import in_row_shards

STEPS, BATCH, CHANNELS, UNITS, LATENT = 7, 5, 6, 8, 3


def keras_twin(layer):
    twin = keras.layers.LSTM(layer.units, return_sequences=True)
    twin.build((None, None, layer.input_size + layer.constant_size))
    twin.set_weights(layer.get_weights())
    return twin


def inputs(seed=0):
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return tf.constant(rng.normal(size=shape), tf.float32)

    state = (normal(BATCH, UNITS), normal(BATCH, UNITS))
    return normal(STEPS, BATCH, CHANNELS), normal(BATCH, LATENT), state


def repeated(x, constant):
    """Joins a constant input to every step, batch first, as Keras wants it."""
    constant = tf.tile(constant[None], [STEPS, 1, 1])
    return tf.transpose(tf.concat([x, constant], axis=-1), [1, 0, 2])


def test_outputs_equal_keras_lstm_with_constant_input_and_given_state():
    layer = LSTM(UNITS, CHANNELS, LATENT)
    x, constant, state = inputs()
    expected = keras_twin(layer)(repeated(x, constant), initial_state=list(state))
    actual = layer(x, constant=constant, state=state)
    np.testing.assert_allclose(tf.transpose(actual, [1, 0, 2]), expected, atol=1e-6)


@pytest.mark.parametrize("wide", ["", "WIDE_INPUT", "WIDE_UNITS"])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_equal_those_of_keras_lstm(compiled, recompute, wide, monkeypatch):
    if wide:
        monkeypatch.setattr(lstm, wide, 0)
    layer = LSTM(UNITS, CHANNELS, LATENT)
    layer.recompute = recompute
    twin = keras_twin(layer)
    x, constant, state = inputs()
    weight = tf.constant(np.random.default_rng(1).normal(size=(STEPS, BATCH, UNITS)), tf.float32)

    def ours(x, constant, h, c):
        return layer(x, constant=constant, state=(h, c))

    def theirs(x, constant, h, c):
        return tf.transpose(twin(repeated(x, constant), initial_state=[h, c]), [1, 0, 2])

    def gradients(function, variables, *arguments):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            loss = tf.reduce_sum(function(*arguments) * weight)
        return tape.gradient(loss, [*arguments, *variables])

    def our_gradients(*arguments):
        return gradients(ours, layer.trainable_variables, *arguments)

    run = tf.function(our_gradients) if compiled else our_gradients
    actual = run(x, constant, *state)
    expected = gradients(theirs, twin.trainable_variables, x, constant, *state)
    for a, e in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, e, atol=1e-5)


def test_bfloat16_stays_close_to_float32_and_keeps_the_cell_state_in_float32():
    layer = LSTM(UNITS, CHANNELS, LATENT)
    low = LSTM(UNITS, CHANNELS, LATENT, dtype="mixed_bfloat16")
    low.set_weights(layer.get_weights())
    x, constant, state = inputs()
    with tf.GradientTape() as tape:
        outputs = low(x, constant=constant, state=state)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32))
    assert outputs.dtype == tf.bfloat16
    full = layer(x, constant=constant, state=state)
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), full, atol=0.03)
    for gradient in tape.gradient(loss, low.trainable_variables):
        assert gradient.dtype == tf.float32
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_the_loop_for_gpus_gives_what_the_loop_for_cpus_gives(dtype, monkeypatch):
    monkeypatch.setattr(lstm, "WIDE_UNITS", 0)
    layer = LSTM(UNITS, CHANNELS, LATENT, dtype=dtype)
    x, constant, state = inputs()

    def run():
        with tf.GradientTape() as tape:
            outputs = layer(x, constant=constant, state=state)
            loss = tf.reduce_sum(tf.cast(outputs, tf.float32) ** 2)
        return [tf.cast(outputs, tf.float32), *tape.gradient(loss, layer.trainable_variables)]

    def traced():
        graph = tf.function(run).get_concrete_function()
        functions = graph.graph.as_graph_def().library.function
        compiled = [f.signature.name for f in functions if f.attr["_XlaMustCompile"].b]
        return graph(), sum("_scan" in name for name in compiled)

    on_cpu, loops = traced()
    assert not loops
    monkeypatch.setattr(lstm, "on_gpu", lambda: True)
    on_gpu, loops = traced()
    assert loops
    tolerance = 1e-5 if dtype == "float32" else 0.02
    for ours, expected in zip(on_gpu, on_cpu, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance)


def test_initial_weights_are_glorot_uniform_orthogonal_gates_and_forget_bias_one():
    layer = LSTM(64, 90)
    limit = (6 / (90 + 64 + 4 * 64)) ** 0.5
    assert np.abs(layer.kernel).max() <= limit
    assert np.std(layer.kernel) == pytest.approx(limit / 3**0.5, rel=0.02)
    for gate in np.split(np.asarray(layer.recurrent_kernel), 4, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(64), atol=1e-5)
    i, f, g, o = np.split(np.asarray(layer.bias), 4)
    assert (f == 1).all() and not i.any() and not g.any() and not o.any()


def test_weights_that_a_file_replaces_are_not_computed():
    with replaced_at_once():
        assert not np.any(LSTM(UNITS, CHANNELS).recurrent_kernel)
    assert np.any(LSTM(UNITS, CHANNELS).recurrent_kernel)


@pytest.mark.parametrize("rows", [3, 64, 97])
@pytest.mark.parametrize("units", [8, 512])
def test_row_shards_join_to_what_the_whole_batch_gives(rows, units):
    x = tf.random.stateless_normal([rows, 4], seed=[0, 1])
    y = tf.range(rows)

    calls = []

    def function(inputs):
        calls.append(len(inputs["y"]))
        return {"sum": tf.reduce_sum(inputs["x"], axis=1), "y": inputs["y"] * 2}

    inputs = {"x": x, "y": y}
    expected, actual = function(inputs), in_row_shards(function, inputs, units)
    of_shards = calls[1:]
    assert sum(of_shards) == rows and len(of_shards) == (2 if units == 8 and rows > 3 else 1)
    for key in expected:
        np.testing.assert_array_equal(actual[key], expected[key])

"""Attention to some of the past, layers of it, and small functions, against recorded numbers."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from jukebox_golden import GOLDEN

from magenta_lite.families.jukebox.blocks import NORM_EPSILON, FactoredBlock
from magenta_lite.families.jukebox.config import KINDS, TransformerSizes, attention_kinds
from magenta_lite.families.jukebox.factored_attention import FactoredAttention
from magenta_lite.layers.weights import normalize, quick_gelu
from magenta_lite.modeling.sampling import Sampler

SIZES = {
    "vocabulary": 1,
    "context_length": 32,
    "hidden_dim": 12,
    "num_layers": 1,
    "num_heads": 2,
    "attention_dim": 8,
    "filter_dim": 12,
    "order": 0,
    "blocks": 4,
}
LINEARS = {"qkv": "c_attn", "memory_kv": "c_enc_kv", "out": "c_proj"}


def made(kind: str):
    """Returns the attention of a kind with recorded weights, those by name, and the numbers."""
    number = KINDS.index(kind)
    arrays = dict(np.load(GOLDEN / "attention" / f"{number}_{kind}.npz"))
    sizes = TransformerSizes(**SIZES, spread=3, prime=9 if kind == "prime" else 0)
    layer = FactoredAttention(sizes, kind)
    weights = {}
    for ours, theirs in LINEARS.items():
        if getattr(layer, ours) is not None:
            for weight, ending in zip(getattr(layer, ours), "wb", strict=True):
                weight.assign(arrays[f"w/{theirs}.{ending}"])
                weights[f"{theirs}.{ending}"] = weight
    memory = (tf.constant(arrays["encoder_kv"]),) if kind == "cross" else ()
    return layer, weights, tf.constant(arrays["x"]), memory, arrays


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_gradients_are_the_recorded_ones(kind):
    layer, weights, x, memory, arrays = made(kind)
    with tf.GradientTape() as tape:
        tape.watch([x, *memory])
        y = layer(x, *memory)
        total = tf.reduce_sum(y * arrays["g"])
    np.testing.assert_allclose(y, arrays["y"], atol=5e-6)
    wanted = {name: weight.value for name, weight in weights.items()}
    gradients, of_x = tape.gradient(total, [wanted, [x, *memory]])
    names = ["grad_x", "grad_encoder_kv"][: len(of_x)]
    named = dict(zip(names, of_x, strict=True)) | {f"grad_w/{n}": g for n, g in gradients.items()}
    for name, gradient in named.items():
        np.testing.assert_allclose(gradient, arrays[name], atol=2e-5, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_each_position_reaches_those_that_see_it_and_no_others(kind):
    layer, _, x, memory, arrays = made(kind)
    length = x.shape[1]
    same = tf.repeat(x[1:], length, axis=0)
    other = same + 3.0 * tf.eye(length)[:, :, None] * np.random.default_rng(0).normal(size=12)
    memory = [tf.repeat(m[1:], length, axis=0) for m in memory]
    change = np.abs(layer(tf.cast(other, tf.float32), *memory) - layer(same, *memory)).max(axis=2)
    np.testing.assert_array_equal(change.T > 1e-5, arrays["support"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk", [1, 5, 8])
def test_steps_with_a_cache_are_the_whole_pass(kind, chunk):
    layer, _, x, memory, arrays = made(kind)
    cache, parts = layer.init_cache(2, *memory), []
    for first in range(0, 32, chunk):
        new = x[:, first : first + chunk]
        out, cache = layer.step(new, first + tf.range(new.shape[1]), cache)
        parts.append(out)
    np.testing.assert_allclose(tf.concat(parts, axis=1), arrays["y"], atol=5e-6)


def test_weights_that_align_lyrics_are_the_recorded_ones():
    layer, _, x, memory, arrays = made("cross")
    np.testing.assert_allclose(layer.weights_of(x, *memory), arrays["weights"], atol=1e-6)
    layer, _, x, _, arrays = made("prime")
    np.testing.assert_allclose(layer.weights_of(x)[:, :, 9:, :9], arrays["weights"], atol=1e-6)


def test_orders_are_the_recorded_ones():
    orders = json.loads((GOLDEN / "attention" / "orders.json").read_text())
    assert set(map(int, orders)) == set(range(13))
    for order, kinds in orders.items():
        assert [KINDS.index(k) for k in attention_kinds(int(order), len(kinds))] == kinds


@pytest.mark.parametrize(("name", "order"), [("res_scale", 2), ("cross", 6)])
def test_stacks_of_layers_are_the_recorded_ones(name, order):
    arrays = dict(np.load(GOLDEN / "attention" / "transformer.npz"))
    arrays = {key[len(name) + 1 :]: x for key, x in arrays.items() if key.startswith(f"{name}/")}
    width = arrays["w/_attn_mods.0.attn.c_proj.w"].shape[0]
    sizes = TransformerSizes(1, 24, 16, 4, 2, width, 16, order, 4, residual_scale=name != "cross")
    layers = []
    for number, kind in enumerate(sizes.kinds):
        layer = FactoredBlock(sizes, kind)
        linears = {n: getattr(layer.attention, ours) for ours, n in LINEARS.items()}
        pairs = {f"attn.{n}": (pair, "wb") for n, pair in linears.items() if pair is not None}
        pairs |= {"mlp.c_fc": (layer.enter, "wb"), "mlp.c_proj": (layer.leave, "wb")}
        norms = {"ln_0": layer.attention_norm, "ln_1": layer.feed_forward_norm}
        pairs |= {n: (pair, ("weight", "bias")) for n, pair in norms.items()}
        for part, (pair, endings) in pairs.items():
            for weight, ending in zip(pair, endings, strict=True):
                weight.assign(arrays[f"w/_attn_mods.{number}.{part}.{ending}"])
        layers.append(layer)
    x = start = tf.constant(arrays["x"])
    memory = arrays.get("encoder_kv")
    with tf.GradientTape() as tape:
        tape.watch(start)
        for layer, expected in zip(layers, arrays["layer_outputs"], strict=True):
            layer.recompute = True
            x = layer(x, tf.constant(memory)) if layer.kind == "cross" else layer(x)
            np.testing.assert_allclose(x, expected, atol=2e-5)
        total = tf.reduce_sum(x * arrays["g"])
    np.testing.assert_allclose(tape.gradient(total, start), arrays["grad_x"], atol=2e-4)


def test_small_functions_are_the_recorded_ones():
    arrays = np.load(GOLDEN / "attention" / "functions.npz")
    np.testing.assert_allclose(quick_gelu(arrays["x"]), arrays["quick_gelu"], atol=1e-6)
    normed = normalize(
        *(tf.constant(arrays[f"ln/{name}"]) for name in ("x", "weight", "bias")),
        epsilon=NORM_EPSILON,
    )
    np.testing.assert_allclose(normed, arrays["ln/y"], rtol=1e-5, atol=1e-5)
    logits = tf.constant(arrays["filter/logits"][:, 0])
    filters = [name for name in arrays if name.startswith("filter/top")]
    assert len(filters) == 8
    for name in filters:
        kind, _, value = name.removeprefix("filter/").rpartition("_")
        settings = {kind: int(value) if kind == "top_k" else float(value)}
        kept = Sampler(**settings).filtered(logits) > -1e30
        np.testing.assert_array_equal(kept, np.isfinite(arrays[name][:, 0]), err_msg=name)


def test_an_unknown_kind_is_told_and_a_layer_comes_back_from_its_config():
    sizes = TransformerSizes(**SIZES)
    with pytest.raises(ValueError, match="'rows' is not a kind of attention"):
        FactoredAttention(sizes, "rows")
    layer = FactoredBlock(sizes, "column", name="one")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert (again.sizes, again.kind, again.name) == (sizes, "column", "one")

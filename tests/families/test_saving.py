"""Every layer and model is registered, saved by its arguments, and has its model's dtype policy."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_models import MODELS, data_of, tiny_model

import magenta_lite.models  # noqa: F401, imports the modules of all layers
from magenta_lite.keras_internals import all_layers

BFLOAT16 = "mixed_bfloat16"
# These compute in float32 in any model, for posteriors, logits, attention and codebooks.
FLOAT32 = {
    "MusicVAE": {"mu", "sigma", "code", "initial_state", "aggregated_posterior"},
    "MelodyRNN": {"head", "attention"},
    "VQVAE": {"quantizer_0", "quantizer_1"},
}


def subclasses(base: type) -> set[type]:
    return {base}.union(*(subclasses(each) for each in base.__subclasses__()))


def own_classes() -> list[type]:
    """All layers and models of the package that are not only the base of others."""
    own = [c for c in subclasses(keras.layers.Layer) if c.__module__.startswith("magenta_lite.")]
    own = [c for c in own if not c.__subclasses__() or c in keras_names()]
    return sorted(own, key=lambda c: (c.__module__, c.__name__))


def keras_names() -> dict[type, str]:
    return {each: name for name, each in keras.saving.get_custom_objects().items()}


@pytest.fixture(scope="module")
def instances():
    """An instance of each class, taken from small models."""
    found = {}
    for name in MODELS:
        for layer in all_layers(tiny_model(name)):
            found.setdefault(type(layer), layer)
    return found


@pytest.mark.parametrize("kind", own_classes(), ids=lambda c: f"{c.__module__}.{c.__name__}")
def test_a_layer_is_registered_under_its_family_and_comes_back_from_its_config(kind, instances):
    package = kind.__module__.split(".")
    package = package[2] if package[1] == "families" else package[1]
    assert keras.saving.get_registered_name(kind) == f"magenta_lite.{package}>{kind.__name__}"
    assert kind in instances, f"no model of tests/families/tiny_models.py has a {kind.__name__}"
    layer = instances[kind]
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    twin = keras.saving.deserialize_keras_object(saved)
    assert type(twin) is kind
    assert kind.from_config(layer.get_config()).get_config() == layer.get_config()
    assert json.dumps(keras.saving.serialize_keras_object(twin)) == json.dumps(saved)
    described = [[(w.shape, w.dtype, w.trainable) for w in x.weights] for x in (layer, twin)]
    assert described[0] == described[1]


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_has_the_dtype_policy_of_its_model(name):
    model = tiny_model(name, BFLOAT16)
    assert model.dtype_policy.name == BFLOAT16 and keras.config.dtype_policy().name == "float32"
    layers, names = all_layers(model), FLOAT32.get(type(model).__name__, set())
    float32 = {id(each) for layer in layers if layer.name in names for each in all_layers(layer)}
    for layer in layers:
        expected = "float32" if id(layer) in float32 else BFLOAT16
        assert layer.dtype_policy.name == expected, layer.name
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}


AGAIN = """
import sys
import keras, numpy as np, tensorflow as tf
import magenta_lite.models
for name in sys.argv[1:]:
    model = keras.saving.load_model(name + ".keras")
    assert keras.config.dtype_policy().name == "float32"
    assert model.dtype_policy.name == "mixed_bfloat16", model.dtype_policy
    outputs = tf.nest.flatten(model(dict(np.load(name + ".batch.npz"))))
    np.savez(name + ".outputs.npz", *[np.asarray(tf.cast(x, tf.float32)) for x in outputs])
"""


def test_bfloat16_models_come_back_as_such_in_a_new_process(tmp_path):
    names = ["melody", "transformer", "vqvae", "attention"]
    outputs = {}
    for name in names:
        model = tiny_model(name, BFLOAT16)
        batch = model.with_random_inputs(data_of(model), training=False)
        outputs[name] = [np.asarray(tf.cast(x, tf.float32)) for x in tf.nest.flatten(model(batch))]
        model.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.batch.npz", **batch)
    subprocess.run([sys.executable, "-c", AGAIN, *names], cwd=tmp_path, check=True)
    for name in names:
        again = np.load(tmp_path / f"{name}.outputs.npz").values()
        for first, second in zip(outputs[name], again, strict=True):
            np.testing.assert_array_equal(first, second, err_msg=name)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_in_training_draws_what_its_batch_lacks(name):
    model = tiny_model(name)
    data = data_of(model)
    keras.utils.set_random_seed(0)
    first, second = (tf.nest.flatten(model(dict(data), training=True)) for _ in range(2))
    for x in first:
        assert np.isfinite(tf.cast(x, tf.float32)).all()
    draws = bool(model.random_inputs())
    same = [bool(tf.reduce_all(a == b)) for a, b in zip(first, second, strict=True)]
    assert all(same) != draws

"""The private names of Keras: the installed version has them, and one module alone uses them."""

import ast
from pathlib import Path

import keras
import pytest

import magenta_lite
from magenta_lite.keras_internals import OF_MODELS, OF_OPTIMIZERS, TRIED

PACKAGE = Path(magenta_lite.__file__).parent
BASES = (keras.Model, keras.layers.Layer, keras.optimizers.Optimizer, keras.metrics.Metric)


@pytest.fixture(scope="module")
def model():
    model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(use_ema=True), "mse")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.mark.parametrize("name", [*OF_MODELS, *OF_OPTIMIZERS])
def test_the_installed_version_of_keras_has_the_private_name(model, name):
    owner = model if name in OF_MODELS else model.optimizer
    assert hasattr(owner, name), (
        f"Keras {keras.version()} has no {type(owner).__name__}.{name}, which "
        f"magenta_lite/keras_internals.py uses; it was tried with Keras {', '.join(TRIED)}"
    )


def test_no_other_module_uses_a_private_name_of_keras():
    """Neither as an attribute nor as the name of a method that overrides one of Keras."""
    private = {name for base in BASES for name in dir(base) if name.startswith("_")}
    private = {name for name in private if not name.startswith("__")}
    private |= {*OF_MODELS, *OF_OPTIMIZERS}
    found = []
    for path in PACKAGE.rglob("*.py"):
        if path.name == "keras_internals.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(node, "attr", None) or getattr(node, "name", None)
            if isinstance(node, (ast.Attribute, ast.FunctionDef)) and name in private:
                found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {name}")
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keras.src"):
                found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {node.module}")
    assert found == []

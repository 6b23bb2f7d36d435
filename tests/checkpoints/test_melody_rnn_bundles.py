"""Checkpoints and bundles of the original's melody_rnn, and what is neither."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from note_seq.protobuf import generator_pb2

from magenta_lite.checkpoints.melody_rnn import fitted_config, load_weights, open_checkpoint
from magenta_lite.checkpoints.tf1 import Variables
from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.errors import UserError
from magenta_lite.families.building import build_model

GOLDEN = Path(__file__).parents[1] / "golden" / "melody_rnn"
NAMES = ("basic_rnn", "lookback_rnn", "attention_rnn", "mono_rnn")
EVENTS = tf.constant(np.random.default_rng(0).integers(0, 38, (2, 30)), tf.int32)


class Reader:
    """A checkpoint of given arrays."""

    def __init__(self, arrays):
        self.arrays = arrays

    def get_variable_to_shape_map(self):
        return {name: array.shape for name, array in self.arrays.items()}

    def get_tensor(self, name):
        return self.arrays[name]


def load(name, variables, *overrides):
    config = get_config(name, overrides, original=True)
    converter = build_converter(config.converter)
    config = fitted_config(config, converter, variables)
    model = build_model(config, converter)
    load_weights(model, variables)
    return config, model


def load_file(name, path, *overrides):
    with open_checkpoint(path) as variables:
        return load(name, variables, *overrides)


@pytest.mark.parametrize("name", NAMES)
def test_a_bundle_gives_the_model_of_its_checkpoint(name):
    folder, length = GOLDEN / f"tiny-{name}", "model.attention_length=7"
    overrides = (length,) if name == "attention_rnn" else ()
    config, bundled = load_file(name, folder / "init.mag", *overrides)
    assert config.model.units == (20, 24)
    _, expected = load_file(name, folder / "init.ckpt", *overrides)
    batch = {"events": EVENTS}
    np.testing.assert_array_equal(bundled(batch), expected(batch))


def test_a_checkpoint_with_its_optimiser_gives_weights_and_step():
    with open_checkpoint(GOLDEN / "tiny-attention_rnn" / "trained.ckpt") as variables:
        assert variables.global_step == 5
        config, _ = load("attention_rnn", variables)
    assert (config.model.attention_length, config.model.attention_layout) == (40, "first_layer")


def arrays_of(name):
    with open_checkpoint(GOLDEN / f"tiny-{name}" / "init.ckpt") as variables:
        return {key: variables[key] for key in variables}


@pytest.mark.parametrize("name", ["basic_rnn", "attention_rnn"])
@pytest.mark.parametrize("release", ["1.0", "0.12"])
def test_names_of_older_releases_are_known(name, release):
    arrays = arrays_of(name)

    def renamed(key):
        if release == "1.0":
            if "fully_connected" not in key:
                key = key.replace("/kernel", "/weights").replace("/bias", "/biases")
            return key
        key = key.replace("rnn/multi_rnn_cell", "RNN/MultiRNNCell").replace("cell_", "Cell", 1)
        key = key.replace("basic_lstm_cell", "BasicLSTMCell").replace("/attention/", "/Attention/")
        key = key.replace("attention_Cellwrapper", "AttentionCellWrapper")
        key = key.replace("attention_cell_wrapper", "AttentionCellWrapper")
        key = key.replace("attn_output_projection", "AttnOutputProjection")
        key = key.replace("attn_w", "AttnW").replace("attn_v", "AttnV")
        return key.replace("/kernel", "/Linear/Matrix").replace("/bias", "/Linear/Bias")

    old = Variables(Reader({renamed(key): value for key, value in arrays.items()}), "old")
    assert set(old) != set(arrays)
    batch = {"events": EVENTS}
    _, expected = load(name, Variables(Reader(arrays), "new"))
    np.testing.assert_array_equal(load(name, old)[1](batch), expected(batch))


def old_layout(units=(20, 24), inputs=74, classes=40):
    """Returns made-up weights of attention around all layers, named as they were."""
    wrapper, top = "rnn/attention_cell_wrapper", units[-1]
    shapes = {
        f"{wrapper}/kernel": (inputs + top, inputs),
        f"{wrapper}/attention/attn_w": (1, 1, top, top),
        f"{wrapper}/attention/attn_v": (top,),
        f"{wrapper}/attention/kernel": (2 * sum(units), top),
        f"{wrapper}/attn_output_projection/kernel": (2 * top, top),
        "fully_connected/weights": (top, classes),
        "fully_connected/biases": (classes,),
    }
    for i, (n, below) in enumerate(zip(units, (inputs, *units), strict=False)):
        shapes[f"{wrapper}/multi_rnn_cell/cell_{i}/basic_lstm_cell/kernel"] = (below + n, 4 * n)
    for name, shape in list(shapes.items()):
        if name.endswith("kernel"):
            shapes[name.removesuffix("kernel") + "bias"] = shape[1:]
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def test_attention_around_all_layers_is_recognised():
    arrays = old_layout()
    config, model = load("attention_rnn", Variables(Reader(arrays), "old"))
    assert config.model.attention_layout == "all_layers"
    assert config.model.units == (20, 24)
    assert model.rnn[0].query_kernel.shape == (88, 24)
    kernel = arrays["rnn/attention_cell_wrapper/attention/kernel"]
    np.testing.assert_array_equal(model.rnn[0].query_kernel, kernel)
    assert np.isfinite(model({"events": EVENTS})).all()


def bundle_of(arrays, path):
    """Writes a generator bundle with a checkpoint of TensorFlow's first format."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = {name: tf.Variable(array) for name, array in arrays.items()}
        session.run([variable.initializer for variable in variables.values()])
        saver = tf.compat.v1.train.Saver(variables, write_version=tf.compat.v1.train.SaverDef.V1)
        saved = saver.save(session, str(path.with_suffix(".ckpt")), write_meta_graph=False)
    bundle = generator_pb2.GeneratorBundle(checkpoint_file=[Path(saved).read_bytes()])
    path.write_bytes(bundle.SerializeToString())


def test_a_bundle_like_drum_kit_rnn_is_taken(tmp_path):
    arrays = old_layout(units=(24, 24, 24), inputs=518, classes=512)
    bundle_of(arrays, tmp_path / "drum_kit_rnn.mag")
    config, model = load_file("drum_kit_rnn", tmp_path / "drum_kit_rnn.mag")
    sizes = config.model
    assert (sizes.units, sizes.attention_length) == ((24, 24, 24), 32)
    assert sizes.attention_layout == "all_layers"
    assert model.rnn[0].query_kernel.shape == (6 * 24, 24)
    kernel = arrays["rnn/attention_cell_wrapper/multi_rnn_cell/cell_2/basic_lstm_cell/kernel"]
    inputs, forget = np.split(kernel, [24])[0], slice(2 * 24, 3 * 24)
    np.testing.assert_array_equal(model.rnn[0].layers[2].kernel[:, 24:48], inputs[:, forget])
    assert np.isfinite(model({"events": EVENTS * 13})).all()


@pytest.mark.parametrize(
    ("name", "inputs", "classes"),
    [("chord_pitches_improv", 75, 38), ("performance_with_dynamics", 388, 388)],
)
def test_siblings_without_attention_are_taken(name, inputs, classes):
    shapes = {"fully_connected/weights": (9, classes), "fully_connected/biases": (classes,)}
    for i, below in enumerate((inputs, 9, 9)):
        cell = f"rnn/multi_rnn_cell/cell_{i}/basic_lstm_cell"
        shapes |= {f"{cell}/kernel": (below + 9, 36), f"{cell}/bias": (36,)}
    rng = np.random.default_rng(1)
    arrays = {key: rng.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}
    config, model = load(name, Variables(Reader(arrays), "made up"))
    assert config.model.units == (9, 9, 9)
    np.testing.assert_array_equal(model.head.kernel, arrays["fully_connected/weights"])


def test_other_sizes_than_the_configuration_are_taken_from_the_file():
    with open_checkpoint(GOLDEN / "tiny-basic_rnn" / "init.ckpt") as variables:
        config, model = load("basic_rnn", variables, "model.units=[512,512,512]")
    assert config.model.units == (20, 24)
    assert [layer.units for layer in model.rnn] == [20, 24]


# What cannot be imported -------------------------------------------------------------------------


def error_of(name, path):
    with pytest.raises(UserError) as caught:
        load_file(name, path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_bundle_of_another_model_is_refused_with_both_numbers():
    message = error_of("attention_rnn", GOLDEN / "tiny-lookback_rnn" / "init.mag")
    assert "reads 121 numbers an event and predicts 40 classes, attention_rnn 74 and 40" in message


def test_what_is_no_bundle_is_refused(tmp_path):
    whole = (GOLDEN / "tiny-basic_rnn" / "init.mag").read_bytes()
    for content, words in ((b"no bundle", "not a whole bundle"), (b"", "holds 0 checkpoints")):
        (tmp_path / "a.mag").write_bytes(content)
        assert words in error_of("basic_rnn", tmp_path / "a.mag")
    (tmp_path / "a.mag").write_bytes(whole[: len(whole) // 2])
    assert "a.mag" in error_of("basic_rnn", tmp_path / "a.mag")
    assert "There is no file" in error_of("basic_rnn", tmp_path / "b.mag")


def test_a_checkpoint_of_music_vae_is_refused():
    path = GOLDEN.parent / "music_vae" / "tiny-cat-mel_2bar_small" / "trained.ckpt"
    assert "has no LSTM of a melody_rnn" in error_of("basic_rnn", path)

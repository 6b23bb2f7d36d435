"""Files beside a SavedModel: their texts, and the warm-up in TensorFlow Serving's messages."""

import json

import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from magenta_lite.config import get_config
from magenta_lite.converters import build_converter
from magenta_lite.serving.assets import MEANINGS, prediction_log, write_assets

ARGUMENTS = {"seed": tf.constant([3, 4]), "temperature": tf.constant([0.5, 1.0])}
RESULTS = {"events": tf.zeros([2, 300], tf.int32), "audio_1": tf.zeros([2, 8, 1])}


def prediction_log_class():
    """Returns the message class of a `PredictionLog`, with the fields that are written."""
    file = descriptor_pb2.FileDescriptorProto(name="log.proto", package="log", syntax="proto3")
    file.dependency.append("tensorflow/core/framework/tensor.proto")
    fields = {
        "Spec": {"name": (1, ""), "signature_name": (3, "")},
        "Entry": {"key": (1, ""), "value": (2, ".tensorflow.TensorProto")},
        "Request": {"model_spec": (1, ".log.Spec"), "inputs": (2, ".log.Entry")},
        "Predict": {"request": (1, ".log.Request")},
        "Log": {"predict_log": (6, ".log.Predict")},
    }
    for name, members in fields.items():
        message = file.message_type.add(name=name)
        for key, (number, kind) in members.items():
            label = 3 if key == "inputs" else 1
            field = message.field.add(name=key, number=number, label=label, type=11 if kind else 9)
            if kind:
                field.type_name = kind
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("log.Log"))


def test_a_warm_up_is_a_request_to_the_default_signature():
    large = {**ARGUMENTS, "audio": tf.ones([1, 5000, 1])}  # lengths of several bytes
    log = prediction_log_class().FromString(prediction_log("mine", large))
    request = log.predict_log.request
    assert (request.model_spec.name, request.model_spec.signature_name) == (
        "mine",
        "serving_default",
    )
    read = {entry.key: tf.make_ndarray(entry.value) for entry in request.inputs}
    assert set(read) == set(large)
    for name, value in large.items():
        np.testing.assert_array_equal(read[name], value)


def test_files_say_what_rows_are(tmp_path):
    converter = build_converter(get_config("cat-mel_2bar_tiny").converter)
    write_assets(tmp_path, "mine", converter, ARGUMENTS, RESULTS)
    description = json.loads((tmp_path / "description.json").read_text())
    assert description["rows"] and description["encoding"]["steps_per_quarter"] == 4
    assert description["inputs"]["seed"] == {
        "dtype": "int32",
        "axes": 0,
        "meaning": MEANINGS["seed"],
    }
    assert description["outputs"]["events"]["axes"] == 1
    assert description["outputs"]["audio_1"]["meaning"]
    request = json.loads((tmp_path / "request.json").read_text())
    assert request["instances"] == [
        {"seed": 3, "temperature": 0.5},
        {"seed": 4, "temperature": 1.0},
    ]


def test_a_model_without_rows_is_asked_with_columns(tmp_path):
    converter = build_converter(get_config("cat-mel_2bar_tiny").converter)
    write_assets(tmp_path, "mine", converter, {"count": tf.constant(2)}, {}, rows=False)
    request = json.loads((tmp_path / "request.json").read_text())
    assert request == {"signature_name": "serving_default", "inputs": {"count": 2}}

"""LiteRT models of graphs, by TensorFlow's converter, with built-in operations only."""

from __future__ import annotations

import tensorflow as tf

from magenta_lite.serving.step_graphs import Graph


def litert_model(graph: Graph, quantized: bool) -> bytes:
    """Returns the LiteRT model of a graph.

    It has one signature, with the names of the graph's inputs and outputs. Quantized weights have 8
    bits, see "dynamic range quantization" of LiteRT; small ones remain float32.

    Raises:
        RuntimeError: If it would need operations that the runtime does not have.
    """
    converter = tf.lite.TFLiteConverter.from_concrete_functions([graph.function], graph.module)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if quantized:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter.convert()

"""ONNX models of graphs, with or without quantized weights."""

from __future__ import annotations

import tempfile
from pathlib import Path

from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from magenta_lite.serving.onnx_graphs import translated
from magenta_lite.serving.step_graphs import Graph


def onnx_model(graph: Graph, name: str, quantized: bool) -> bytes:
    """Returns the ONNX model `name` of a graph.

    Quantized weights have 8 bits, see "dynamic quantization" of ONNX Runtime.
    """
    model = translated(graph, name)
    if not quantized:
        return model.SerializeToString()
    add_pre_process_metadata(model)  # all shapes are known; without this there is a warning
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        quantize_dynamic(model, file, weight_type=QuantType.QUInt8)
        return file.read_bytes()

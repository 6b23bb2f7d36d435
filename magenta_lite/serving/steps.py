"""Exports models as functions for LiteRT and ONNX, with samplers in Python and JavaScript."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from magenta_lite.config import save_config
from magenta_lite.errors import UserError
from magenta_lite.locks import new_folder
from magenta_lite.serving.step_graphs import STEP, Graph, Graphs, graphs_of

if TYPE_CHECKING:
    from magenta_lite.training.run import Run

LARGEST = 2_000_000_000  # bytes of weights; both formats use offsets of 31 bits
SAMPLERS = Path(__file__).with_name("samplers")
MODEL = "model.json"


def _litert(graph: Graph, name: str, quantized: bool) -> bytes:
    del name
    import ai_edge_litert  # noqa: F401  the runtime, for the samplers

    from magenta_lite.serving.litert_models import litert_model

    return litert_model(graph, quantized)


def _onnx(graph: Graph, name: str, quantized: bool) -> bytes:
    from magenta_lite.serving.onnx_models import onnx_model

    return onnx_model(graph, name, quantized)


class Runtime(NamedTuple):
    """A runtime without TensorFlow.

    Attributes:
        suffix: Suffix of its files.
        write: Returns the file of a graph with a name, with or without quantized weights.
    """

    suffix: str
    write: Callable[[Graph, str, bool], bytes]


RUNTIMES = {"litert": Runtime(".tflite", _litert), "onnx": Runtime(".onnx", _onnx)}


def export_steps(run: Run, folder: Path, runtime: str, quantize: str = "none") -> dict[str, int]:
    """Writes the functions of a run's model for a runtime, with what it takes to sample from it.

    These are a file for each function of `model.step_functions()`; `model.json`, which describes
    them; `config.yaml` and `converter.json`, which define the meaning of the events; and the
    samplers `sample.py` and `sample.mjs`.

    Args:
        run: A run from `load_run`.
        folder: Must be empty or not exist; it is written whole or not at all.
        runtime: A key of `RUNTIMES`.
        quantize: `none`, or `uint8` for weights of 8 bits.

    Returns:
        The sizes of the models in bytes, by file.

    Raises:
        UserError: If the model or the quantization is not for this runtime, one of its operations
            is unknown there, the package that writes the format is missing, `folder` exists and is
            not empty, or another process writes it.
    """
    if quantize not in ("none", "uint8"):
        raise UserError(
            f"--quantize={quantize} means nothing to --format={runtime}; give uint8 or none"
        )
    functions = run.model.step_functions()
    if functions is None:
        raise UserError(
            f"--format={runtime} has no form for {run.config.name}, a {run.config.family}; export "
            "it with --format=saved_model"
        )
    size = 4 * sum(math.prod(weight.shape) for weight in run.model.weights)
    if size > LARGEST:
        raise UserError(
            f"--format={runtime}: {run.config.name} has {size / 1e9:.1f} GB of weights, and a file "
            f"holds at most {LARGEST / 1e9:.0f} GB; export it with --format=saved_model"
        )
    suffix, write = RUNTIMES[runtime]
    with new_folder(folder, "--output") as partial:
        graphs = graphs_of(functions)
        try:
            files = {
                f"{name}{suffix}": write(graph, name, quantize == "uint8")
                for name, graph in graphs.functions.items()
            }
        except ModuleNotFoundError as error:
            raise UserError(
                f"{error.name} is missing; install it with: pip install 'magenta_lite[{runtime}]'"
            ) from error
        except NotImplementedError as error:  # an unusual setting needs an unusual operation
            raise UserError(f"{error}; export it with --format=saved_model") from error
        partial.mkdir()
        for name, content in files.items():
            (partial / name).write_bytes(content)
        _write_json(partial / MODEL, _description(run, graphs, suffix))
        _write_json(partial / "converter.json", run.converter.to_json())
        save_config(run.config, partial / "config.yaml")
        if functions.step is not None:
            for sampler in sorted(SAMPLERS.glob("sample.*")):
                shutil.copyfile(sampler, partial / sampler.name)
    return {name: len(content) for name, content in files.items()}


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", "utf-8")


def _description(run: Run, graphs: Graphs, suffix: str) -> dict[str, Any]:
    """Returns what a sampler has to know."""
    # Without chords or hits of its own, a piece has none.
    inputs = _described(graphs.functions[STEP].inputs) if STEP in graphs.functions else {}
    control = {"control": inputs["control"] | {"fill": 0}} if "control" in inputs else {}
    return {
        "configuration": run.config.name,
        "functions": {
            name: {
                "file": f"{name}{suffix}",
                "inputs": _described(graph.inputs),
                "outputs": _described(graph.outputs),
            }
            for name, graph in graphs.functions.items()
        },
        "states": {**graphs.states, **control},
        **graphs.sampling,
    }


def _described(specs: Mapping[str, tf.TensorSpec]) -> dict[str, dict[str, Any]]:
    return {
        name: {"shape": spec.shape.as_list(), "dtype": spec.dtype.name}
        for name, spec in specs.items()
    }

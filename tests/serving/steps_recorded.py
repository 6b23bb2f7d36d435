"""Models exported for LiteRT and ONNX, and their samplers, which are compared with the models."""

import dataclasses
import importlib.util
from unittest import mock

import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter

from magenta_lite.serving import step_graphs, steps

SUFFIXES = [runtime.suffix for runtime in steps.RUNTIMES.values()]
LEAST = -1e30  # logits below it are of excluded classes


def exported(folder, run, quantize="none", encode=False):
    """Exports a model for both runtimes, tracing its functions once; returns the two folders.

    Without `encode`, which takes most of the time, what encodes is left out.
    """
    functions = run.model.step_functions()
    if not encode:
        others = {name: f for name, f in functions.others.items() if name != "encode"}
        functions = dataclasses.replace(functions, others=others)
    graphs = step_graphs.graphs_of(functions)
    folders = {name: folder / f"{name}_{quantize}" for name in steps.RUNTIMES}
    with mock.patch.object(steps, "graphs_of", lambda _: graphs):
        for name, written in folders.items():
            steps.export_steps(run, written, name, quantize)
    return list(folders.values())


def functions_of(folder):
    """Returns the functions of a folder by name, for arrays of the right shapes and types."""
    return {file.stem: _loaded(file) for file in folder.glob("*.*") if file.suffix in SUFFIXES}


def _loaded(file):
    if file.suffix == ".tflite":
        return Interpreter(str(file)).get_signature_runner()
    session = onnxruntime.InferenceSession(file)
    names = [output.name for output in session.get_outputs()]
    return lambda **given: dict(zip(names, session.run(names, given), strict=True))


class Recorded:
    """The sampler of a folder, which keeps what its last piece's steps read, and their logits."""

    def __init__(self, folder):
        spec = importlib.util.spec_from_file_location("sample", folder / "sample.py")
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)
        load, self._calls = self.module.load, {}

        def cached(name):
            if name not in self._calls:
                self._calls[name] = load(name)
            return self._recording(self._calls[name]) if name == "step" else self._calls[name]

        self.module.load = cached

    def _recording(self, call):
        def recorded(values):
            found = call(values)
            self.read.append(values["event"])
            self.logits.append(found["logits"][0])
            return found

        return recorded

    def __call__(self, **options):
        self.read, self.logits = [], []
        return self.module.sample(**options)


def check(folder, given, events, logits):
    """Compares a piece that is sampled with arguments `given`, and the logits of its steps."""
    sampler = Recorded(folder)
    found = sampler(**given)
    if events.dtype.kind == "f":
        np.testing.assert_allclose(found, events, atol=1e-4)
    else:
        np.testing.assert_array_equal(found, events)
    theirs = np.array(sampler.logits)
    assert theirs.shape == logits.shape
    possible = theirs > LEAST
    assert possible.any(axis=1).all()
    np.testing.assert_allclose(theirs[possible], logits[possible], atol=1e-4)

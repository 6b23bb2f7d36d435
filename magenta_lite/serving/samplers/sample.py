"""Samples from the exported model in this folder: python sample.py --seed=1 > events.json

It needs NumPy and, for files .tflite, ai-edge-litert, or, for files .onnx, onnxruntime.
"""

import argparse
import json
import pathlib

import numpy as np

FOLDER = pathlib.Path(__file__).parent
MODEL = json.loads((FOLDER / "model.json").read_text("utf-8"))


def load(name):
    """Returns a function of the model, which takes and returns arrays by name."""
    inputs = MODEL["functions"][name]["inputs"].items()
    path = str(FOLDER / MODEL["functions"][name]["file"])
    if path.endswith(".onnx"):
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = list(MODEL["functions"][name]["outputs"])

        def run(**given):
            return dict(zip(names, session.run(names, given), strict=True))
    else:
        from ai_edge_litert.interpreter import Interpreter

        run = Interpreter(path).get_signature_runner()

    def call(values):
        given = {k: np.asarray(values[k], x["dtype"]).reshape(x["shape"]) for k, x in inputs}
        return {name: np.asarray(value) for name, value in run(**given).items()}

    return call


def sample(temperature=1.0, seed=None, steps=None, primer=(), uniforms=None, control=None, **about):
    """Returns the events of a piece: an array (T, ...).

    temperature divides the logits; 0 takes the most probable event. steps is the number of events,
    those of the primer included, which come first. uniforms (steps, U) in [0, 1) are to draw with.
    control (steps, ...) is given to each step, about to `start` or as first states; z is random.
    """
    functions, random = MODEL["functions"], np.random.default_rng(seed)
    values = {k: np.full(x["shape"], x["fill"], x["dtype"]) for k, x in MODEL["states"].items()}
    if "mean" in MODEL and "z" not in about:
        noise = random.standard_normal(len(MODEL["mean"]))
        about["z"] = np.array(MODEL["mean"]) + np.array(MODEL["deviation"]) * noise
    values |= about | (load("start")(values | about) if "start" in functions else {})
    steps = steps or MODEL["steps"]
    if steps > (MODEL["max_steps"] or steps):
        raise ValueError(f"steps={steps} must be at most {MODEL['max_steps']}")
    if uniforms is None:
        uniforms = random.random((steps, MODEL["uniforms"]), np.float32)
    step, first, logits = load("step"), int(MODEL["first"] is None), []
    events = [MODEL["first"]][first:] + list(primer if len(primer) else MODEL["primer"])
    for t in range(steps - first):
        values |= {"event": events[t], "position": t + first, "uniforms": uniforms[t]}
        values |= {} if control is None else {"control": control[t]}
        found = step(values | {"temperature": temperature})
        logits.append(found.pop("logits")[0])
        if len(events) == t + 1:
            events.append(found["next_event"][0])
        values |= {name.removeprefix("next_"): value for name, value in found.items()}
        if np.array_equal(events[t + 1], MODEL["end"]):
            break
    events = np.array(events[1 - first :])
    if "finish" in functions:
        events = load("finish")({"events": events, "logits": logits, **about})["piece"][0]
    return events


if __name__ == "__main__":
    flags = argparse.ArgumentParser(description=__doc__, argument_default=argparse.SUPPRESS)
    for name, kind in {"temperature": float, "seed": int, "steps": int}.items():
        flags.add_argument(f"--{name}", type=kind)
    print(json.dumps(sample(**vars(flags.parse_args())).tolist()))

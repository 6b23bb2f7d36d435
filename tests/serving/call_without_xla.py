"""Calls every signature of SavedModels where XLA is switched off, as in TensorFlow Serving.

python call_without_xla.py FOLDER [FOLDER ...]

FOLDER/1 is the SavedModel, and FOLDER.npz holds arguments of its default signature, of which arrays
of two axes and more are used for the others. Prints a line for each signature: folder, name,
outputs with their shapes, or the error. What a default signature of rows returns is compared with
what it returns for a row alone, and with another signature, and written to FOLDER.rows.npz.
"""

import ctypes
import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

SIZE = 16  # of what may have any size
NUMBERS = {
    "num_outputs": 2,
    "num_tokens": SIZE + 4,
    "num_steps": 6,
    "num_codes": SIZE + 4,
    "temperature": 1.0,
    "top_p": 1.0,
    "length": SIZE,
}
ALONE = (3,)  # rows, without top-p, which not every other signature has
SINGLE = {"num_outputs": 1, "top_k": 0, "min_p": 0.0}
BATCHED = ("given", "labels", "above")  # with an axis of rows in all signatures
LENGTHS = {"primer": "primer_length", "chords": "chords_length", "given": "given_length"}


def disable_xla() -> None:
    library = next(Path(tf.__file__).parent.glob("libtensorflow_cc.so.*"))
    ctypes.CDLL(str(library))._ZN10tensorflow21DisableXlaCompilationEv()


def argument(signature: str, name: str, spec, typical: dict) -> np.ndarray:
    if np.ndim(typical.get(name, 0)) > 1 and name not in ("primer", "chords", "controls", "melody"):
        return typical[name]
    shape = [d.size if d.size > 0 else SIZE for d in spec.tensor_shape.dim]
    if (signature, name) == ("generate", "chords"):  # of the primer's steps and of the new ones
        shape = [SIZE + NUMBERS["num_steps"]]
    return np.full(shape, NUMBERS.get(name, 0), tf.dtypes.as_dtype(spec.dtype).as_numpy_dtype)


class Served:
    """A SavedModel in a session."""

    def __init__(self, folder: Path, session):
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(folder / "1"))
        self.session = session
        self.signatures = {
            name: signature
            for name, signature in sorted(loaded.signature_def.items())
            if not name.startswith("__")
        }

    def call(self, name: str, arguments: dict) -> dict[str, np.ndarray]:
        signature = self.signatures[name]
        fed = {spec.name: arguments[key] for key, spec in signature.inputs.items()}
        return self.session.run({k: spec.name for k, spec in signature.outputs.items()}, fed)


def of_one(rows: dict, name: str, row: int) -> np.ndarray:
    """Returns the argument of another signature that makes it do what a row asks for."""
    if name in SINGLE:
        return np.array(SINGLE[name])
    value = rows[name][row]
    value = value[: rows[LENGTHS[name]][row]] if LENGTHS.get(name) in rows else value
    return value[None] if name in BATCHED else value


def check_rows(served: Served, rows: dict, all_rows: dict) -> None:
    """Compares rows with rows alone, and with what is returned for their seed elsewhere."""
    other = "continue" if "continue" in served.signatures else "sample"
    what = "codes" if "codes" in all_rows else "events"
    for row in ALONE:
        alone = served.call("serving_default", {k: v[row : row + 1] for k, v in rows.items()})
        for name, values in alone.items():
            together = all_rows[name][row]
            cut = together[: len(values[0])] if values.ndim > 1 else together
            np.testing.assert_array_equal(values[0], cut, err_msg=name)
        names = served.signatures[other].inputs
        same = served.call(other, {name: of_one(rows, name, row) for name in names})[what][0]
        np.testing.assert_array_equal(same, all_rows[what][row][: len(same)], err_msg=other)


def main() -> None:
    disable_xla()
    for folder in map(Path, sys.argv[1:]):
        typical = dict(np.load(folder.with_suffix(".npz")))
        with tf.compat.v1.Session(graph=tf.Graph()) as session:
            served = Served(folder, session)
            for name, signature in served.signatures.items():
                kind = "generate" if name in ("sample", "serving_default") else name
                takes_rows = name == "serving_default" and "seed" in typical
                arguments = typical
                if not takes_rows:
                    specs = signature.inputs.items()
                    arguments = {key: argument(kind, key, spec, typical) for key, spec in specs}
                try:
                    found = served.call(name, arguments)
                    if takes_rows:
                        check_rows(served, typical, found)
                        np.savez(folder.with_suffix(".rows.npz"), **found)
                except (tf.errors.OpError, AssertionError) as error:
                    print(folder.name, name, "failed:", str(error).replace("\n", " "))
                    continue
                shapes = {key: value.shape for key, value in found.items()}
                finite = all(np.isfinite(value).all() for value in found.values())
                print(folder.name, name, shapes if finite else "failed: not finite")


if __name__ == "__main__":
    main()

"""Calls every signature of SavedModels where XLA is switched off, as in TensorFlow Serving.

python call_without_xla.py FOLDER [FOLDER ...]

FOLDER/1 is the SavedModel, and FOLDER.npz holds arguments of its default signature, of which arrays
of two axes and more are used.
Prints a line for each signature: folder, name, outputs with their shapes, or the error.
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


def disable_xla() -> None:
    library = next(Path(tf.__file__).parent.glob("libtensorflow_cc.so.*"))
    ctypes.CDLL(str(library))._ZN10tensorflow21DisableXlaCompilationEv()


def argument(signature: str, name: str, spec, typical: dict) -> np.ndarray:
    if np.ndim(typical.get(name, 0)) > 1:
        return typical[name]
    shape = [d.size if d.size > 0 else SIZE for d in spec.tensor_shape.dim]
    if (signature, name) == ("generate", "chords"):  # of the primer's steps and of the new ones
        shape = [SIZE + NUMBERS["num_steps"]]
    return np.full(shape, NUMBERS.get(name, 0), tf.dtypes.as_dtype(spec.dtype).as_numpy_dtype)


def main() -> None:
    disable_xla()
    for folder in map(Path, sys.argv[1:]):
        typical = dict(np.load(folder.with_suffix(".npz")))
        with tf.compat.v1.Session(graph=tf.Graph()) as session:
            loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(folder / "1"))
            for name, signature in sorted(loaded.signature_def.items()):
                if name.startswith("__"):
                    continue
                kind = "generate" if name in ("sample", "serving_default") else name
                fed = {
                    spec.name: argument(kind, key, spec, typical)
                    for key, spec in signature.inputs.items()
                }
                fetched = {key: spec.name for key, spec in signature.outputs.items()}
                try:
                    found = session.run(fetched, fed)
                except tf.errors.OpError as error:
                    print(folder.name, name, "failed:", error.message.replace("\n", " "))
                    continue
                shapes = {key: value.shape for key, value in found.items()}
                finite = all(np.isfinite(value).all() for value in found.values())
                print(folder.name, name, shapes if finite else "failed: not finite")


if __name__ == "__main__":
    main()

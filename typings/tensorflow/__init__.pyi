# TensorFlow without types, in place of the stubs that Pyright brings along: those lack operations
# (`x[..., None]`, `tf.split` of several sizes) and parameters that TensorFlow has.
from typing import Any

def __getattr__(name: str) -> Any: ...

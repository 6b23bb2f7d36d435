"""Type aliases for values that the libraries do not annotate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

# A tensor, a variable, or a value that can be converted to one. The TensorFlow stubs that come with
# type checkers lack many operations, and Keras' own types depend on the backend.
Tensor: TypeAlias = Any

# A batch: tensors (B, ...) by name.
Batch: TypeAlias = dict[str, Any]

# `note_seq.NoteSequence`, a protocol buffer whose class is created at import time.
NoteSequence: TypeAlias = Any

# A NoteSequence, or a `magenta_lite.converters.score.Score`: the same with arrays of notes.
Music: TypeAlias = Any

# Events (T, ...) in the `EventFormat` of a converter.
Events: TypeAlias = "np.ndarray | Sequence[Any]"

# `tfp.distributions.Distribution`; TensorFlow Probability loads its modules lazily.
Distribution: TypeAlias = Any

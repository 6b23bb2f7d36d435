"""Names for the types of values that the libraries leave without types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

# A tensor, a variable, or what NumPy makes one of. The stubs of TensorFlow that type checkers
# bring along lack many operations, and Keras' own types depend on the backend.
Tensor: TypeAlias = Any

# Tensors (B, ...) of B examples by what they are.
Batch: TypeAlias = dict[str, Any]

# `note_seq.NoteSequence`, a protocol buffer whose class is made when note_seq is imported.
NoteSequence: TypeAlias = Any

# Events (T, ...) as the `EventFormat` of a converter says.
Events: TypeAlias = "np.ndarray | Sequence[Any]"

# `tfp.distributions.Distribution`: TensorFlow Probability loads its modules when they are used.
Distribution: TypeAlias = Any

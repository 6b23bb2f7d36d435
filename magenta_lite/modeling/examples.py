"""The examples that models are trained and evaluated on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class Examples:
    """The examples of one split.

    Attributes:
        events: (N, T, *event_shape) of the converter's event_dtype, zero-padded.
        lengths: int32 (N,), length of each row in steps.
        pieces: Name of the piece of each row; None if the data set does not store it.
        controls: Chord classes uint8 (N, T); None for a converter without chords.
        positions: Int64 (N, 2), the first step of each row in its piece and the length of the
            piece in steps; None for independent rows.
        extras: Other conditioning, integers (N, ...), by their names in a batch.
    """

    events: np.ndarray
    lengths: np.ndarray
    pieces: list[str] | None
    controls: np.ndarray | None = None
    positions: np.ndarray | None = None
    extras: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.events)

    def batches(self, size: int, rows: np.ndarray | None = None) -> Iterator[dict[str, np.ndarray]]:
        """Yields `events`, `length` and any `controls` of `size` rows each; by default of all."""
        rows = np.arange(len(self)) if rows is None else rows
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            batch = {"events": self.events[part], "length": self.lengths[part].astype(np.int32)}
            if self.controls is not None:
                batch["controls"] = self.controls[part].astype(np.int32)
            yield batch

"""The examples that models are trained and evaluated on."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

COMPARED_EVENTS = 8192  # approximate number of sampled events that are compared with held-out ones
LEAST_SAMPLES = 16


@dataclasses.dataclass(frozen=True, eq=False)
class RaggedArray:
    """Rows of different lengths, which are read as those of a zero-padded array (N, T, ...).

    Attributes:
        flat: All rows, one after the other, (S, ...).
        starts: Int64 (N,), the place of each row in `flat`.
        lengths: Int32 (N,), the length of each row; the longest has T.
    """

    flat: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        return (len(self.lengths), int(self.lengths.max()), *self.flat.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        return self.flat.dtype

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, index: Any) -> np.ndarray:
        """Returns what the index gives of the padded array; only the indexed rows are read."""
        rows, *others = index if isinstance(index, tuple) else (index,)
        if rows is Ellipsis:
            return self[:][index]
        starts, lengths = self.starts[rows], self.lengths[rows]
        padded = np.zeros((starts.size, *self.shape[1:]), self.dtype)
        places = zip(starts.ravel().tolist(), lengths.ravel().tolist(), strict=True)
        for row, (start, length) in zip(padded, places, strict=True):
            row[:length] = self.flat[start : start + length]
        return padded.reshape(*starts.shape, *self.shape[1:])[
            (slice(None),) * starts.ndim + (*others,)
        ]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)


@dataclasses.dataclass(frozen=True)
class PieceNames(Sequence[str]):
    """The name of the piece of each row.

    Attributes:
        names: The different names.
        numbers: Int32 (N,), the index in `names` of each row.
    """

    names: list[str]
    numbers: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return [self.names[number] for number in self.numbers[row].tolist()]
        return self.names[int(self.numbers[row])]

    def __iter__(self) -> Iterator[str]:
        return (self.names[number] for number in self.numbers.tolist())


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

    events: np.ndarray | RaggedArray
    lengths: np.ndarray
    pieces: Sequence[str] | None
    controls: np.ndarray | RaggedArray | None = None
    positions: np.ndarray | None = None
    extras: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.events)

    def some(self, wanted: int) -> Examples:
        """Returns at most `wanted` evenly spaced examples, without `positions`."""
        rows = spread(len(self), wanted)
        return Examples(
            self.events[rows],
            self.lengths[rows],
            None if self.pieces is None else [self.pieces[int(row)] for row in rows],
            None if self.controls is None else self.controls[rows],
            extras={name: values[rows] for name, values in self.extras.items()},
        )

    def batches(self, size: int, rows: np.ndarray | None = None) -> Iterator[dict[str, np.ndarray]]:
        """Yields `events`, `length` and any `controls` of `size` rows each; by default of all."""
        rows = np.arange(len(self)) if rows is None else rows
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            batch = {"events": self.events[part], "length": self.lengths[part].astype(np.int32)}
            if self.controls is not None:
                batch["controls"] = self.controls[part].astype(np.int32)
            yield batch


def spread(total: int, wanted: int) -> np.ndarray:
    """Returns at most `wanted` evenly spaced indices below `total`."""
    count = min(total, wanted)
    return np.arange(count) * total // max(count, 1)

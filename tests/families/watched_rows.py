"""Rows of a data set that may be too many for memory."""

from __future__ import annotations

from typing import Any

import numpy as np


class WatchedRows:
    """Rows (N, ...) that remember how many of them were read at once.

    Args:
        rows: The array.
    """

    def __init__(self, rows: np.ndarray):
        self._rows = rows
        self.shape, self.dtype = rows.shape, rows.dtype
        self.most = 0

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> np.ndarray:
        found = self._rows[index]
        one = isinstance(index[0] if isinstance(index, tuple) else index, int)
        self.most = max(self.most, 1 if one else len(found))
        return found

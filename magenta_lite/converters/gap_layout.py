"""The order of tokens in which a gap in a piece is filled in from both sides.

Follows Bavarian et al. 2022 (https://arxiv.org/abs/2207.14255, §3, with the suffix first): the
middle is moved to the end, so that a model that predicts tokens from earlier ones sees what comes
before and what comes after. The order is: what stays in the span of the gap with all of its time,
the music after, the music before, the middle.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Layout(NamedTuple):
    """The ids of a piece with a gap, int (T,) each; together they are the tokens without prefix.

    Attributes:
        gap: `GAP`, what stays in the span, and `GAP_END`.
        after: The music after the span.
        before: `BEFORE` and the music before the span.
        middle: `MIDDLE`, its other marks, what was moved, and `END`.
    """

    gap: np.ndarray
    after: np.ndarray
    before: np.ndarray
    middle: np.ndarray

    def around(self, room: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns the gap with the music after it, and the music before it, without `BEFORE`.

        Args:
            room: Largest number of tokens around the gap, as many on one side as on the other if
                there are enough on both.
        """
        before = self.before[1:]
        after = min(len(self.after), max(room // 2, room - len(before)))
        kept = before[max(len(before) - (room - after), 0) :]
        return np.append(self.gap, self.after[:after]), kept

"""The likelihood of a span of tokens given both of its sides, and as a continuation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from magenta_lite.graphs import graph_function
from magenta_lite.typing import Tensor

BATCH = 4
SPAN = 1 / 4  # of the context, for the masked tokens
MEANINGS = {
    "nll_infilled": "nats per token of a span in the middle, given what comes before and after it",
    "nll_continued": "of the same tokens, given what comes before",
}
LastNLL = Callable[[Sequence[np.ndarray], Sequence[int]], np.ndarray]


def compared(nll: LastNLL, pairs: Iterable[tuple[np.ndarray, np.ndarray, int]]) -> dict[str, float]:
    """Returns the metrics that `MEANINGS` explains; none without gaps.

    Args:
        nll: Result of `last_nll`.
        pairs: Rows that end with the tokens of a span, first given both sides, then given what
            comes before; and their number.
    """
    totals, pairs = np.zeros(3), iter(pairs)
    while part := list(itertools.islice(pairs, BATCH)):
        filled, continued, counts = zip(*part, strict=True)
        totals += nll(filled, counts).sum(), nll(continued, counts).sum(), sum(counts)
    infilled, continued, tokens = totals.tolist()
    if not tokens:
        return {}
    return {"nll_infilled": infilled / tokens, "nll_continued": continued / tokens}


def last_nll(
    nll_of: Callable[[Tensor], Tensor], context: int, shape: tuple[int, ...] = ()
) -> LastNLL:
    """Returns a function of rows and counts that returns the NLL of the last tokens of each row.

    The rows are int (T, *shape) each, T at most `context`; the result is float (N,), the NLL in
    nats of the last `counts` tokens.

    Args:
        nll_of: Returns the NLL (B, T) of tokens (B, T, *shape).
        context: Context length in tokens.
        shape: Shape of a token.
    """

    @graph_function
    def of_batch(events, lengths, counts):
        place = tf.range(context)
        last = (place < lengths[:, None]) & (place >= (lengths - counts)[:, None])
        return tf.reduce_sum(tf.where(last, nll_of(events), 0.0), axis=1)

    def nll(rows, counts):
        found = []
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            events = np.zeros((BATCH, context, *shape), np.int32)
            lengths, last = np.zeros((2, BATCH), np.int32)
            for i, row in enumerate(part):
                events[i, : len(row)], lengths[i], last[i] = row, len(row), counts[start + i]
            found.append(of_batch(*map(tf.constant, (events, lengths, last)))[: len(part)])
        return np.concatenate(found)

    return nll


def middle_of(times: np.ndarray, context: int) -> tuple[int, int]:
    """Returns the times between which a span of a row lies, given those of its tokens, int (T,)."""
    middle, half = len(times) // 2, round(context * SPAN) // 2
    start, end = times[[middle - half, middle + half]].tolist()
    return start, end


def long_rows(examples: Any, context: int) -> Iterable[np.ndarray]:
    """Yields the rows int32 (T, ...) of at least `context` tokens."""
    for row, length in zip(examples.events, examples.lengths, strict=True):
        if length >= context:
            yield row[:length].astype(np.int32)

"""N-gram models of events, with which samples are compared with held-out music.

An n-gram of order n predicts an event from the n - 1 events before it, with Witten-Bell smoothing
(Chen & Goodman 1999, section 2.4): p_n(e | c) = (count(c, e) + s kinds(c) p_{n-1}(e | c')) /
(count(c) + s kinds(c)), where kinds(c) is the number of distinct events that followed the context
c, and c' is c without its first event. The order and s, which is 1 in the original, are chosen on
the validation split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from magenta_lite.converters.base import EventFormat
from magenta_lite.data.pipeline import batches_for
from magenta_lite.modeling.examples import Examples, spread

STRENGTHS = (1.0, 4.0, 16.0, 32.0, 64.0, 128.0)
LONGEST_ORDER = 8
START = 0x5EED  # padding before the first event


def mixed(x: np.ndarray) -> np.ndarray:
    """Returns 64-bit hashes of uint64 numbers (the finalizer of SplitMix64)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def contexts(examples: Examples, skipped: int, orders: int) -> Iterator[tuple]:
    """Yields, for each order from 1, hashes of the contexts, and of the contexts with their event.

    Both have a number per predicted event, i.e. all except the first `skipped` of each example.
    """
    events = np.asarray(examples.events, np.uint64)
    counts = np.arange(events.shape[1]) < examples.lengths[:, None]
    counts[:, :skipped] = False
    context = np.zeros_like(events)
    for order in range(1, orders + 1):
        yield context[counts], mixed(context * np.uint64(3) + mixed(events + np.uint64(1)))[counts]
        earlier = np.full_like(events, START)
        earlier[:, order:] = events[:, :-order]
        context = mixed(context + mixed(earlier + np.uint64(7 * order)))


def looked_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Returns the value of each wanted key, 0 for unknown keys; `keys` are sorted."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)


def nll_of_orders(train, others, skipped: int, vocabulary: int, orders: int) -> np.ndarray:
    """Returns the NLL in nats per event (strength, order, split) of all n-grams up to an order."""
    shape = (len(STRENGTHS), orders, len(others))
    nll = np.zeros(shape)
    p = [[np.full(1, 1.0 / vocabulary)] * len(others) for _ in STRENGTHS]
    walks = [contexts(examples, skipped, orders) for examples in others]
    for order, (context, pair) in enumerate(contexts(train, skipped, orders)):
        known, total = np.unique(context, return_counts=True)
        pairs, first, times = np.unique(pair, return_index=True, return_counts=True)
        kinds = np.bincount(np.searchsorted(known, context[first]), minlength=len(known))
        for i, walk in enumerate(walks):
            context, pair = next(walk)
            n, k = looked_up(known, total, context), looked_up(known, kinds, context)
            c = looked_up(pairs, times, pair)
            for j, strength in enumerate(STRENGTHS):
                mass = np.where(n, strength * k, 1.0)  # unknown contexts back off completely
                p[j][i] = (c + mass * p[j][i]) / (n + mass)
                nll[j, order, i] = -np.log(p[j][i]).mean()
    return nll


def streams(examples: Examples, form: EventFormat) -> list[Examples]:
    """Splits examples of a converter into sequences of ids (N, T), one `Examples` per part.

    An id is that of an event, or stands for the set of drums that are hit.
    """
    events, lengths = np.asarray(examples.events), examples.lengths
    if form.kind == "multi_categorical":
        return [Examples(events[..., part], lengths, None) for part in range(len(form.sizes))]
    if form.kind in ("roll", "groove"):
        hits = events[..., : form.sizes[0]] > 0.5
        members = np.uint64(1) << np.arange(form.sizes[0], dtype=np.uint64)
        return [Examples(np.where(hits, members, np.uint64(0)).sum(axis=-1), lengths, None)]
    if form.segments > 1:  # each track is a sequence up to its first end token
        tracks = events.reshape(len(events) * form.segments, -1)
        ends = tracks == form.end_id
        steps = np.where(ends.any(axis=1), ends.argmax(axis=1) + 1, tracks.shape[1])
        return [Examples(tracks, steps, None)]
    return [Examples(events, lengths, None)]


def likelihoods(
    splits: Mapping[str, Examples], form: EventFormat, skipped: int
) -> dict[str, float]:
    """Returns the NLL in nats per event of the other splits under an n-gram model of `train`.

    Args:
        splits: `train`; `validation`, on which order and smoothing are chosen; and others.
        form: The `EventFormat`.
        skipped: Number of leading events of each example that are not predicted.
    """
    others = [name for name in splits if name != "train"]
    total = dict.fromkeys(others, 0.0)
    for parts in zip(*(streams(examples, form) for examples in splits.values()), strict=True):
        part = dict(zip(splits, parts, strict=True))
        # All ids that do not occur in the training data count as one.
        vocabulary = len(np.unique(part["train"].events)) + 1
        nll = nll_of_orders(
            part["train"], [part[name] for name in others], skipped, vocabulary, LONGEST_ORDER
        )
        best = nll[..., others.index("validation")]
        strength, order = np.unravel_index(best.argmin(), best.shape)
        for name, value in zip(others, nll[strength, order], strict=True):
            total[name] += float(value)
    return total


def in_all_keys(
    examples: Examples, converter: Any, transpose: tuple[int, int], steps: int
) -> Examples:
    """Returns examples in all transpositions used in training, at most `steps` steps.

    Of rows that are longer than a crop, the first crop.
    """
    keys = transpose[1] - transpose[0] + 1
    examples = limited(examples, steps // keys)
    moved: list[dict[str, np.ndarray]] = []
    for semitones in range(transpose[0], transpose[1] + 1):
        batches = batches_for(
            converter,
            examples,
            batch_size=len(examples),
            seed=0,
            shuffle=False,
            transpose=(semitones, semitones),
        )
        moved.append(next(batches.dataset().as_numpy_iterator()))
    events, lengths = (np.concatenate([each[k] for each in moved]) for k in ("events", "length"))
    return Examples(events, lengths, None)


def limited(examples: Examples, steps: int) -> Examples:
    """Returns evenly spaced examples of at most `steps` steps, without controls."""
    rows = spread(len(examples), max(steps // examples.events.shape[1], 1))
    return Examples(examples.events[rows], examples.lengths[rows], None)

"""The best n-gram model for the data of a configuration, as a baseline for a model's NLL.

python scripts/benchmarks/ngram.py --config=attention_rnn [--data=FOLDER] [--orders=1,2,3,4,6,8]

An n-gram of order n predicts an event from the n - 1 events before it, with Witten-Bell smoothing
(Chen & Goodman 1999, section 2.4): p_n(e | c) = (count(c, e) + s kinds(c) p_{n-1}(e | c')) /
(count(c) + s kinds(c)), where kinds(c) is the number of distinct events that followed the context
c, and c' is c without its first event. The order and s, which is 1 in the original, are chosen on
the validation split; the test split is measured once. Drums have 512 combinations per step.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from magenta_lite.config import get_config
from magenta_lite.data.collections import Examples
from magenta_lite.datasets import open_collection

ORDERS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32)
STRENGTHS = (1.0, 4.0, 16.0, 32.0, 64.0, 128.0)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="attention_rnn")
    parser.add_argument("--data", help="as of magenta_lite.train")
    parser.add_argument("--data_dir", help="as of magenta_lite.train")
    parser.add_argument("--orders", default=",".join(map(str, ORDERS)))
    arguments = parser.parse_args()
    config = get_config(
        arguments.config, [f"data.source={arguments.data}"] if arguments.data else []
    )
    collection = open_collection(config.data, config.converter, arguments.data_dir)
    splits = [collection.split(name) for name in ("train", "validation", "test")]
    # The first event of a MelodyRNN is a primer.
    skipped = int(config.family == "melody_rnn")
    vocabulary = int(max(np.max(examples.events) for examples in splits)) + 1
    orders = [int(order) for order in arguments.orders.split(",")]
    nll = nll_of_orders(splits[0], splits[1:], skipped, vocabulary, max(orders))
    print(f"{config.data.source}, {[len(s.events) for s in splits]} examples, {vocabulary} events")
    print("| order | s | validation, nats a step | test |")
    print("|---|---|---|---|")
    for order in orders:
        best = nll[:, order - 1, 0].argmin()
        validation, test = nll[best, order - 1]
        print(f"| {order} | {STRENGTHS[best]} | {validation:.3f} | {test:.3f} |")
    strength, order = np.unravel_index(nll[:, :, 0].argmin(), nll.shape[:2])
    print(
        f"best on validation: order {order + 1}, s {STRENGTHS[strength]}: "
        f"test {nll[strength, order, 1]:.3f} nats a step"
    )


if __name__ == "__main__":
    main()

"""The best n-gram model for the data of a configuration, as a baseline for a model's NLL.

python scripts/benchmarks/ngram.py --config=attention_rnn [--data=FOLDER] [--orders=1,2,3,4,6,8]

See `magenta_lite.evaluation.ngrams`. The order and the smoothing are chosen on the validation
split; the test split is measured once. Drums have 512 combinations per step.
"""

from __future__ import annotations

import argparse

import numpy as np

from magenta_lite.config import get_config
from magenta_lite.datasets import open_collection
from magenta_lite.evaluation.ngrams import STRENGTHS, nll_of_orders

ORDERS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32)


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

"""What `evaluate` measures of a MelodyRNN on held-out melodies."""

from __future__ import annotations

import collections
import functools
import math

import tensorflow as tf

from magenta_lite.models.melody_rnn import features

BATCH = 64

MEANINGS = {
    "examples": "held-out melodies",
    "steps": "predicted events: all but the first of each melody",
    "nll_per_step": "NLL of the labels, nats a step; the original's loss",
    "perplexity": "its exponential",
    "melody_nll_per_step": "NLL of the events, all classes that mean one added up, nats a step",
    "accuracy": "labels guessed right",
    "event_accuracy": "the same where the label is not 'no event'",
    "no_event_accuracy": "the same where it is",
    "melody_accuracy": "events guessed right, by the added probabilities",
    "onset_accuracy": "the same where a note begins",
    "no_event_share": "share of steps where nothing happens: the accuracy of having learnt nothing",
}


def evaluate(model, examples, seed: int = 0) -> dict[str, float]:
    """Returns the numbers that `MEANINGS` explains; nothing is drawn, `seed` changes nothing.

    Args:
        model: A `MelodyRNN`.
        examples: A `collections.Examples`.
        seed: Not used.
    """
    del seed
    run = tf.function(functools.partial(_sums, model))
    sums: dict[str, float] = collections.defaultdict(float)
    for start in range(0, len(examples.events), BATCH):
        rows = slice(start, start + BATCH)
        events = tf.cast(examples.events[rows], tf.int32)
        for name, value in run(events, tf.constant(examples.lengths[rows], tf.int32)).items():
            sums[name] += float(value)
    steps = sums["steps"]

    def share(name: str, of: str) -> float:
        return sums[name] / sums[of] if sums[of] else float("nan")

    return {
        "examples": len(examples.events),
        "steps": int(steps),
        "nll_per_step": share("nll", "steps"),
        "perplexity": math.exp(share("nll", "steps")),
        "melody_nll_per_step": share("melody_nll", "steps"),
        "accuracy": share("correct", "steps"),
        "event_accuracy": share("event correct", "events"),
        "no_event_accuracy": share("no event correct", "no events"),
        "melody_accuracy": share("melody correct", "steps"),
        "onset_accuracy": share("onset correct", "onsets"),
        "no_event_share": share("quiet", "steps"),
    }


def _sums(model, events, length):
    logits = model({"events": events})
    terms = model.loss_terms(events, length, logits)
    by_step = tf.transpose(logits, [1, 0, 2])
    guessed = features.most_probable_events(model.encoding, tf.transpose(events), by_step)
    right = tf.cast(tf.equal(tf.transpose(guessed), events[:, 1:]), tf.float32)
    counts, correct, is_event = terms["counts"], terms["correct"], terms["is_event"]
    onset = tf.cast(events[:, 1:] > 1, tf.float32)
    quiet = tf.cast(tf.equal(events[:, 1:], 0), tf.float32)
    values = {
        "steps": 1.0,
        "nll": terms["nll"],
        "melody_nll": terms["melody_nll"],
        "correct": correct,
        "events": is_event,
        "event correct": is_event * correct,
        "no events": 1 - is_event,
        "no event correct": (1 - is_event) * correct,
        "onsets": onset,
        "melody correct": right,
        "onset correct": onset * right,
        "quiet": quiet,
    }
    return {name: tf.reduce_sum(value * counts) for name, value in values.items()}

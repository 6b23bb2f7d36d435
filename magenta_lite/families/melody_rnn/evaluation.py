"""Evaluation of a MelodyRNN on held-out music."""

from __future__ import annotations

import collections
import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from magenta_lite.families.melody_rnn.backing_chords import BackingChords
from magenta_lite.families.melody_rnn.generation import steps_to_add
from magenta_lite.families.melody_rnn.options import MelodyRNNOptions
from magenta_lite.families.melody_rnn.primers import PRIMERS
from magenta_lite.graphs import graph_function
from magenta_lite.modeling.examples import COMPARED_EVENTS, LEAST_SAMPLES, Examples

if TYPE_CHECKING:
    from magenta_lite.families.melody_rnn.model import MelodyRNN

BATCH = 64

MEANINGS = {
    "examples": "held-out melodies, drum tracks or performances",
    "steps": "predicted events: all but the first of each example",
    "nll_per_step": "NLL of the labels, nats an event; the original's loss",
    "perplexity": "exponential of nll_per_step",
    "melody_nll_per_step": "NLL of the events, summed over classes that mean one, nats an event",
    "accuracy": "share of labels predicted correctly, 'no event' included",
    "event_accuracy": "the same for labels other than the usual event, on a grid 'no event'",
    "no_event_accuracy": "the same for the usual event",
    "melody_accuracy": "share of events predicted correctly, by the summed probabilities",
    "onset_accuracy": "the same for onsets of notes",
    "no_event_share": "share of the usual event: the accuracy of always predicting it",
}


def measure(model: MelodyRNN, examples: Any, seed: int = 0) -> dict[str, float]:
    """Returns the metrics that `MEANINGS` explains; the seed is unused."""
    del seed
    run = graph_function(functools.partial(_sums, model))
    sums: dict[str, float] = collections.defaultdict(float)
    for batch in examples.batches(BATCH):
        batch = {name: tf.constant(array, tf.int32) for name, array in batch.items()}
        for name, value in run(batch).items():
            sums[name] += float(value)
    steps = sums["steps"]

    def share(name: str, of: str) -> float:
        return sums[name] / sums[of] if sums[of] else float("nan")

    return {
        "examples": len(examples),
        "steps": int(steps),
        "nll_per_step": share("nll", "steps"),
        "perplexity": math.exp(share("nll", "steps")),
        "melody_nll_per_step": share("melody_nll", "steps"),
        "accuracy": share("correct", "steps"),
        "event_accuracy": share("event correct", "events"),
        "no_event_accuracy": share("no event correct", "no events"),
        "melody_accuracy": share("melody correct", "steps"),
        "onset_accuracy": share("onset correct", "onsets"),
        "no_event_share": share("usual", "steps"),
    }


def samples(
    model: MelodyRNN, converter: Any, held_out: Examples, temperature: float, seed: int
) -> Examples:
    """Returns samples from the default primer as `Examples`."""
    del held_out
    options = MelodyRNNOptions(num_outputs=LEAST_SAMPLES, temperature=temperature)
    primer = PRIMERS[converter.config.kind](converter, options)
    count = max(COMPARED_EVENTS // model.length, LEAST_SAMPLES)
    arguments = model.signature_arguments(count, temperature, seed)
    arguments["primer"] = tf.constant(primer.ids, tf.int32)
    new_steps = steps_to_add(options, primer.steps, primer.usual_steps)
    if model.encoding.chords:
        backing = BackingChords(converter, options, primer)
        chords = backing.ids(primer.steps + new_steps, primer.shift)
        arguments["chords"] = tf.constant(chords, tf.int32)
    arguments["num_steps"] = tf.constant(new_steps)
    events = model.signatures()["sample"](**arguments)["events"].numpy()
    ended = events == -1
    lengths = np.where(ended.any(axis=1), ended.argmax(axis=1), events.shape[1])
    return Examples(events, lengths.astype(np.int32), None)


def _sums(model, batch):
    events, logits, encoding = batch["events"], model(batch), model.encoding
    terms = model.loss_terms(events, batch["length"], logits)
    counts, correct, is_event = terms["counts"], terms["correct"], terms["is_event"]
    right = terms["melody_correct"]
    following, (lowest, highest) = events[:, 1:], encoding.onset_ids
    onset = tf.cast((following >= lowest) & (following <= highest), tf.float32)
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
        "usual": tf.cast(tf.equal(following, encoding.usual_id), tf.float32),
    }
    return {name: tf.reduce_sum(value * counts) for name, value in values.items()}

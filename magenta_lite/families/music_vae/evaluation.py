"""Evaluation of a MusicVAE on held-out examples."""

from __future__ import annotations

import collections
import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from magenta_lite.families.music_vae.encoders import swap_axes
from magenta_lite.families.music_vae.latent_space import slerp
from magenta_lite.graphs import graph_function
from magenta_lite.modeling.examples import COMPARED_EVENTS, LEAST_SAMPLES, Examples, spread
from magenta_lite.modeling.sampling import Sampler

if TYPE_CHECKING:
    from magenta_lite.families.music_vae.model import MusicVAE

BATCH = 256
INTERPOLATIONS = 64  # pairs of neighbouring examples
INTERPOLATION_STEPS = 8
SAMPLES = 128  # of the prior
CONDITIONS = 16  # held-out windows whose chords or hits samples are conditioned on
ACTIVE_VARIANCE = 0.01  # Burda et al. 2016, https://arxiv.org/abs/1509.00519, appendix C

MEANINGS = {
    "examples": "held-out windows",
    "nll_per_step": "reconstruction NLL given z, teacher-forced, nats a step",
    "accuracy": "share of events predicted correctly, silent steps included, teacher-forced",
    "free_running_accuracy": "the same when the decoder reads its own samples",
    "reconstruction_accuracy": "share of steps, silent ones included, decoded from posterior means",
    "onset_accuracy": "the same on steps with an onset",
    "kl": "KL divergence from the prior, nats an example",
    "kl_bits": "the same in bits",
    "elbo_per_step": "negative evidence lower bound (NLL + KL), nats a step",
    "active_units": "latent dimensions whose posterior mean varies by more than 0.01",
    "sample_reconstruction": "share of the steps with events in samples that are reconstructed",
    "interpolation_hamming": "share of steps that differ between neighbours in interpolations of 8",
    "no_event_share": "share of steps without an event: the accuracy of always predicting none",
    "recall": "share of hits that are predicted, teacher-forced",
    "precision": "share of predicted hits that are correct, teacher-forced",
    "hits_loss": "log loss of hits, teacher-forced, nats a step",
    "velocities_loss": "squared error of velocities, teacher-forced, a step, unweighted",
    "offsets_loss": "squared error of offsets, teacher-forced, a step, unweighted",
    "velocity_mse": "squared error of velocity (0 to 1) a hit; only hits are teacher-forced",
    "offset_mse": "squared error of offset (-1 to 1) a hit; only hits are teacher-forced",
    **{f"accuracy_{i}": f"accuracy of part {i}" for i in range(3)},
}


def measure(model: MusicVAE, examples: Any, seed: int = 0) -> dict[str, float]:
    """Returns the metrics that `MEANINGS` explains, as far as they apply.

    The seed is that of the posterior noise and of the samples.
    """
    run = graph_function(functools.partial(_measure, model))
    sums: dict[str, float] = collections.defaultdict(float)
    moments: Any = 0.0  # sums of the posterior means and of their squares
    first = np.zeros(0)
    for i, batch in enumerate(examples.batches(BATCH)):
        batch = {name: tf.constant(array) for name, array in batch.items()}
        batch["events"] = tf.cast(batch["events"], model.head.event_dtype)
        values, mu = run(batch, tf.constant([seed, i * BATCH]))
        mu = mu.numpy()
        first = first if i else mu
        moments += np.array([np.power(mu, k, dtype=np.float64).sum(axis=0) for k in (1, 2)])
        for name, value in values.items():
            sums[name] += float(value)
    count, steps = len(examples), sums["steps"]
    mean, mean_square = moments / count
    names = [name for name in sums if f"{name} weight" in sums]
    measured = {name: sums[name] / max(sums[f"{name} weight"], 1e-9) for name in names}
    kl = sums["kl"] / count
    return {
        "examples": count,
        "nll_per_step": sums["nll"] / steps,
        **measured,
        "kl": kl,
        "kl_bits": kl / math.log(2),
        "elbo_per_step": (sums["nll"] + sums["kl"]) / steps,
        "active_units": int((mean_square - mean**2 > ACTIVE_VARIANCE).sum()),
        "sample_reconstruction": _sample_reconstruction(model, seed),
        "interpolation_hamming": _interpolation_hamming(model, first, seed),
        "no_event_share": 1 - sums["onset_accuracy weight"] / steps,
    }


def samples(
    model: MusicVAE, converter: Any, held_out: Examples, temperature: float, seed: int
) -> Examples:
    """Returns samples as `Examples`, conditioned on chords or hits of held-out ones if need be."""
    del converter
    sample = model.signatures()["sample"]
    count = max(COMPARED_EVENTS // model.length, LEAST_SAMPLES)
    drawn, conditioning = [], _conditioning(model, held_out)
    for number, controls in enumerate(conditioning):
        outputs = max(count // len(conditioning), 1)
        arguments = model.signature_arguments(outputs, temperature, seed + number)
        if controls is not None:
            arguments["controls"] = tf.cast(controls, arguments["controls"].dtype)
        drawn.append(sample(**arguments)["events"].numpy())
    events = np.concatenate(drawn)
    return Examples(events, np.full(len(events), model.length, np.int32), None)


def _conditioning(model, held_out) -> list:
    """Returns chords (T,) or hits (T, D) of some examples; [None] for a model without controls."""
    events_format = model.events_format
    if not events_format.control:
        return [None]
    rows = spread(len(held_out), CONDITIONS)
    if held_out.controls is not None:
        return [held_out.controls[row] for row in rows]
    return [held_out.events[row][:, : events_format.sizes[0]] for row in rows]


def _measure(model, batch, seed):
    """Returns sums over a batch, weighted ones as NAME and "NAME weight", and posterior means."""
    size = tf.shape(batch["length"])[0]
    for name, needed in model.random_inputs(training=False).items():
        function = getattr(tf.random, f"stateless_{needed.kind}")
        batch = batch | {name: function([size, *needed.shape], seed)}
    outputs = model(batch, training=False)
    terms = model.loss_terms(batch, outputs)
    events, counts = model.targets(batch)
    means = model.measures(batch, outputs["logits"])
    free = model.measures(batch, model.free_running_logits(outputs["z"], batch))
    means["free_running_accuracy"] = free["accuracy"]

    nothing = tf.zeros([model.length, size, model.decoder.uniforms])
    greedy = model.decoder.choose_with(nothing, Sampler(temperature=0.0))
    controls = model.conditioning(batch)
    decoded, _ = model.decoder.decode(outputs["mu"], greedy, controls)
    given = _onsets(model, events)
    same = tf.cast(tf.equal(_onsets(model, decoded), given), tf.float32)
    happens = tf.cast(given > 0, tf.float32)
    if len(same.shape) > 2:
        same, happens = tf.reduce_min(same, axis=-1), tf.reduce_max(happens, axis=-1)
    means["reconstruction_accuracy"] = (same, counts)
    means["onset_accuracy"] = (same, happens * counts)
    if model.events_format.kind == "groove":
        means |= _groove_errors(model, outputs["mu"], events, counts, controls)
    values = {
        "steps": tf.reduce_sum(counts),
        "nll": tf.reduce_sum(terms["nll"]),
        "kl": tf.reduce_sum(terms["kl"]),
    }
    for name, (value, weight) in means.items():
        values[name] = tf.reduce_sum(value * weight)
        values[f"{name} weight"] = tf.reduce_sum(weight)
    return values, outputs["mu"]


def _onsets(model, events):
    """Returns the ids of events, or the hits of grooves as 0 and 1; 0 is silence."""
    if model.events_format.kind == "groove":
        return tf.cast(tf.split(events, 3, axis=-1)[0] > 0.5, tf.int32)
    return events


def _groove_errors(model, mu, events, counts, controls) -> dict:
    """Returns squared errors at the true hits, of a decoder with teacher forcing of hits only."""
    hits, velocities, offsets = tf.split(events, 3, axis=-1)
    performed = model.decoder.perform(mu, hits, controls)
    _, own_velocities, own_offsets = tf.split(performed, 3, axis=-1)
    weight = hits * counts[..., None]
    return {
        "velocity_mse": (tf.math.squared_difference(own_velocities, velocities), weight),
        "offset_mse": (tf.math.squared_difference(own_offsets, offsets), weight),
    }


def _sample_reconstruction(model, seed) -> float:
    """Returns the share of steps of samples that are reconstructed.

    Steps that are silent in sample and reconstruction do not count; NaN if there are no others.
    """
    if model.events_format.control:  # samples need controls
        return float("nan")
    events = model.sample(SAMPLES, seed, prior="standard")
    mu = model.encode(events, tf.fill([SAMPLES], model.length)).mean()
    again = model.decode(mu, seed, temperature=0.0)
    shape = (SAMPLES, model.length, -1)
    before, after = (_onsets(model, x).numpy().reshape(shape) for x in (events, again))
    happens = (before > 0).any(axis=-1) | (after > 0).any(axis=-1)
    same = (before == after).all(axis=-1)
    return float(same[happens].mean()) if happens.any() else float("nan")


def _interpolation_hamming(model, mu, seed) -> float:
    """Returns the mean share of steps that differ between neighbours of interpolations."""
    pairs = min(INTERPOLATIONS, len(mu) // 2)
    if pairs == 0 or model.events_format.control:  # the ends have different controls
        return float("nan")
    arcs = [slerp(mu[2 * i], mu[2 * i + 1], INTERPOLATION_STEPS) for i in range(pairs)]
    events = swap_axes(model.decode(tf.concat(arcs, axis=0), seed, temperature=0.0))
    events = swap_axes(_onsets(model, events)).numpy()
    events = events.reshape(pairs, INTERPOLATION_STEPS, model.length, -1)
    return float((events[:, 1:] != events[:, :-1]).any(axis=-1).mean())

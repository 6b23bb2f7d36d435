"""What `evaluate` measures of a MusicVAE on held-out examples."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from magenta_lite.models.music_vae.model import slerp, swap_axes
from magenta_lite.sampling import greedy, sample_categorical

BATCH = 512
INTERPOLATIONS = 64  # pairs of neighbouring examples
INTERPOLATION_STEPS = 8
ACTIVE_VARIANCE = 0.01  # Burda et al. 2016, https://arxiv.org/abs/1509.00519, appendix C

MEANINGS = {
    "examples": "held-out windows",
    "nll_per_step": "reconstruction NLL given z, teacher-forced, nats a step",
    "accuracy": "next events guessed right, teacher-forced",
    "free_running_accuracy": "the same when the decoder is fed its own samples",
    "reconstruction_accuracy": "steps that come back as they were, from the posterior mean, greedy",
    "onset_accuracy": "the same on steps with a note-on or note-off only",
    "kl": "KL divergence from the prior, nats an example",
    "kl_bits": "the same in bits",
    "elbo_per_step": "negative evidence lower bound (NLL + KL), nats a step",
    "active_units": "latent dimensions whose posterior mean varies by more than 0.01",
    "interpolation_hamming": "share of steps that differ between neighbours in interpolations of 8",
    "no_event_share": "share of 'no event': the accuracy of a model that learnt nothing",
}


def evaluate(model, examples, seed: int = 0) -> dict[str, float]:
    """Returns the numbers that `MEANINGS` explains.

    Args:
        model: A `MusicVAE`.
        examples: `events` uint8 (N, T) and `lengths` int32 (N,).
        seed: Of the posterior noise and the samples that are fed back.
    """
    run = tf.function(lambda *batch: _measure(model, *batch))
    sums: dict[str, float] = {}
    means = []
    for start in range(0, len(examples.events), BATCH):
        rows = slice(start, start + BATCH)
        events = tf.constant(examples.events[rows].astype(np.int32))
        length = tf.constant(examples.lengths[rows])
        values, mu = run(events, length, tf.constant([seed, start]))
        means.append(mu.numpy())
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + float(value)
    count = len(examples.events)
    steps = sums.pop("steps")
    mu = np.concatenate(means)
    kl = sums["kl"] / count
    return {
        "examples": count,
        "nll_per_step": sums["nll"] / steps,
        "accuracy": sums["correct"] / steps,
        "free_running_accuracy": sums["free_running"] / steps,
        "reconstruction_accuracy": sums["reconstructed"] / steps,
        "onset_accuracy": sums["reconstructed_onsets"] / max(sums["onsets"], 1),
        "kl": kl,
        "kl_bits": kl / math.log(2),
        "elbo_per_step": (sums["nll"] + sums["kl"]) / steps,
        "active_units": int((mu.var(axis=0) > ACTIVE_VARIANCE).sum()),
        "interpolation_hamming": _interpolation_hamming(model, mu, seed),
        "no_event_share": 1 - sums["onsets"] / steps,
    }


def _measure(model, events, length, seed):
    size, steps = tf.unstack(tf.shape(events))
    noise = tf.random.stateless_normal([size, model.model_config.latent_size], seed)
    uniforms = tf.random.stateless_uniform([size, steps, 2], seed)
    batch = {"events": events, "length": length, "noise": noise, "uniforms": uniforms}
    outputs = model(batch, training=False)
    terms = model.loss_terms(batch, outputs)
    mask = tf.sequence_mask(length, steps, tf.float32)

    def feed_samples(t, logits):
        return sample_categorical(logits, uniforms[:, t, 1])

    _, free_logits = model.decoder.decode(outputs["z"], model.length, feed_samples)
    free = swap_axes(tf.argmax(free_logits, axis=-1))
    reconstruction, _ = model.decoder.decode(
        outputs["mu"], model.length, lambda t, logits: greedy(logits)
    )
    same = tf.cast(tf.equal(swap_axes(reconstruction), events), tf.float32) * mask
    onsets = tf.cast(events > 0, tf.float32) * mask
    values = {
        "steps": tf.reduce_sum(mask),
        "nll": tf.reduce_sum(terms["nll"]),
        "kl": tf.reduce_sum(terms["kl"]),
        "correct": tf.reduce_sum(terms["correct"]),
        "free_running": tf.reduce_sum(tf.cast(tf.equal(free, events), tf.float32) * mask),
        "reconstructed": tf.reduce_sum(same),
        "reconstructed_onsets": tf.reduce_sum(same * onsets),
        "onsets": tf.reduce_sum(onsets),
    }
    return values, outputs["mu"]


def _interpolation_hamming(model, mu, seed) -> float:
    """Mean share of steps that differ between neighbours on arcs between posterior means."""
    pairs = min(INTERPOLATIONS, len(mu) // 2)
    if pairs == 0:
        return float("nan")
    arcs = [slerp(mu[2 * i], mu[2 * i + 1], INTERPOLATION_STEPS) for i in range(pairs)]
    events = model.decode(tf.concat(arcs, axis=0), seed, 0.0).numpy()
    events = events.reshape(pairs, INTERPOLATION_STEPS, -1)
    return float((events[:, 1:] != events[:, :-1]).mean())

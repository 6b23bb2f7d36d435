"""Latent vectors of music: encoding, attribute vectors and principal components."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from magenta_lite.graphs import graph_function

if TYPE_CHECKING:
    from magenta_lite.families.music_vae.model import MusicVAE

BATCH = 256


def as_batch(model: MusicVAE, examples: Any, controls: Any = None) -> dict[str, tf.Tensor]:
    """Returns N examples (<= T, *event_shape) as a batch of `model`.

    `controls` are the chord classes of each example (<= T,), for events with chords.
    """
    batch = {
        "events": tf.cast(padded(examples, model.length), model.head.event_dtype),
        "length": tf.constant([len(events) for events in examples], tf.int32),
    }
    if controls is not None:
        batch["controls"] = tf.cast(padded(controls, model.length), tf.int32)
    return batch


def padded(arrays: Sequence[np.ndarray], steps: int) -> np.ndarray:
    """Returns N arrays (<= steps, ...) as one (N, steps, ...), padded with zeros."""
    whole = np.zeros((len(arrays), steps, *arrays[0].shape[1:]), arrays[0].dtype)
    for row, array in zip(whole, arrays, strict=True):
        row[: len(array)] = array
    return whole


def encode_examples(model: MusicVAE, examples: Any, controls: Any = None) -> np.ndarray:
    """Returns the posterior means float32 (N, Z) of the examples and controls of `as_batch`."""
    run = graph_function(lambda batch: model.encode(**batch).mean())
    means = []
    for start in range(0, len(examples), BATCH):
        rows = slice(start, start + BATCH)
        part = None if controls is None else controls[rows]
        means.append(run(as_batch(model, examples[rows], part)).numpy())
    return np.concatenate(means)


def attribute_vector(with_it: np.ndarray, without_it: np.ndarray) -> np.ndarray:
    """Returns the attribute vector float32 (Z,): the difference of two means.

    The latent vectors are of music with the attribute, float (N, Z), and without it, float (M, Z).
    Roberts et al. (2018), sec. 5.3.
    """
    return with_it.mean(axis=0) - without_it.mean(axis=0)


def save_attribute(path: Path, vector: np.ndarray) -> None:
    """Writes an attribute vector as `.npz`."""
    with path.open("wb") as file:
        np.savez(file, attribute=vector)


def project(latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns latent vectors (N, Z) in two principal components (N, 2), and their shares (2,)."""
    centred = latents - latents.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    shares = s**2 / max(float((s**2).sum()), 1e-12)
    if len(s) < 2:  # one example, or one dimension
        return np.zeros((len(latents), 2)), np.zeros(2)
    return u[:, :2] * s[:2], shares[:2]

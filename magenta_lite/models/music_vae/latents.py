"""Latent vectors of music: encode folders, find directions in latent space, draw a map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from magenta_lite.errors import UserError

BATCH = 256


def encode_examples(model, events, controls=None) -> np.ndarray:
    """Returns posterior means float32 (N, Z).

    Args:
        model: A `MusicVAE`.
        events: (N, T, *event_shape), as the encoder gives them.
        controls: Chord classes (N, T), for events with chords.
    """
    run = tf.function(lambda *arguments: model.encode(*arguments).mean())
    means = []
    for start in range(0, len(events), BATCH):
        rows = slice(start, start + BATCH)
        part = tf.cast(events[rows], model.head.event_dtype)
        told = [] if controls is None else [tf.constant(controls[rows], tf.int32)]
        means.append(run(part, tf.fill([len(part)], model.length), *told).numpy())
    return np.concatenate(means)


def attribute_vector(with_it: np.ndarray, without_it: np.ndarray) -> np.ndarray:
    """Returns the direction float32 (Z,) of an attribute: the difference of two means.

    Roberts et al. (2018), sec. 5.3.

    Args:
        with_it: Latents float (N, Z) of music that has the attribute.
        without_it: Latents float (M, Z) of music that has not.
    """
    return with_it.mean(axis=0) - without_it.mean(axis=0)


def save_attribute(path: Path, vector: np.ndarray) -> None:
    """Writes an attribute vector as `.npz`."""
    with path.open("wb") as file:
        np.savez(file, attribute=vector)


def load_attribute(path: str, size: int) -> np.ndarray:
    """Returns the attribute vector in `path`. Raises: UserError if it is not one of `size`."""
    if not path:
        raise UserError("--mode=attribute needs --attribute=FILE.npz, see magenta_lite.latents")
    try:
        vector = np.load(Path(path).expanduser())["attribute"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is not an attribute vector ({error})") from error
    if vector.shape != (size,):
        raise UserError(
            f"{path} holds a vector of shape {list(vector.shape)}; this model needs [{size}]"
        )
    return vector


def project(latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the two principal components of latents (N, Z): (N, 2), and their shares (2,)."""
    centred = latents - latents.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    shares = s**2 / max(float((s**2).sum()), 1e-12)
    if len(s) < 2:  # one example, or one dimension
        return np.zeros((len(latents), 2)), np.zeros(2)
    return u[:, :2] * s[:2], shares[:2]

"""Data augmentation of MuseNet: mixup, volume shifts and time stretching."""

from __future__ import annotations

import tensorflow as tf

from magenta_lite.converters.musenet import vocabulary
from magenta_lite.converters.musenet.rules import tables
from magenta_lite.errors import UserError
from magenta_lite.typing import Batch, Tensor


def partners(x: Tensor) -> Tensor:
    """Returns x (B, ...) with rows 0 and 1 swapped, 2 and 3 swapped, and so on."""
    pairs = tf.reshape(x, [-1, 2, *x.shape[1:]])
    return tf.reshape(tf.reverse(pairs, [1]), tf.shape(x))


def mixed(x: Tensor, share: Tensor) -> Tensor:
    """Returns rows x (B, ...) mixed with their partners, weighted by `share` and 1 - `share`.

    This is mixup (Zhang et al. 2018, https://arxiv.org/abs/1710.09412) of embeddings.
    """
    return share * x + (1 - share) * partners(x)


def shares(batch: Batch) -> Tensor:
    """Returns the mixup weight of each row, float (B,), sampled from a Beta distribution.

    Both rows of a pair share the weight of the first. Pairs with a generated row are not mixed.

    Raises:
        UserError: If the batch has an odd number of rows.
    """
    rows = batch["mix"].shape[0]
    if rows % 2:
        raise UserError(
            f"objective.mixup mixes examples in pairs, and a replica has {rows} of them at once; "
            "choose a train.batch_size that leaves it an even number, or objective.mixup=0"
        )
    of_pairs = batch["mix"][::2] + 1e-30  # Gamma samples this small can both be 0
    share = tf.repeat(of_pairs[:, 0] / tf.reduce_sum(of_pairs, axis=1), 2)
    if "own" not in batch:
        return share
    either = tf.maximum(batch["own"], partners(batch["own"]))
    return tf.where(either > 0, 1.0, share)


def louder_piano(ids: Tensor, draw: Tensor, most: int) -> Tensor:
    """Returns ids int32 (B, T) with the volume of the piano shifted by up to `most` volume bins.

    `draw` are uniform samples, float (B, 1) in [0, 1).
    """
    shift = tf.cast(tf.floor(draw * (2 * most + 1)), tf.int32) - most
    volume, pitch = ids // vocabulary.PITCHES, ids % vocabulary.PITCHES
    last = len(vocabulary.PIANO_VOLUMES)
    moved = vocabulary.PITCHES * tf.clip_by_value(volume + shift, 1, last) + pitch
    return tf.where((volume >= 1) & (volume <= last), moved, ids)


def stretched(ids: Tensor, factor: Tensor) -> Tensor:
    """Returns ids int32 (B, T) with times multiplied by a factor, float (B, 1).

    Times are rounded without accumulating errors. Waits are clipped to 1 to 128 units; the error of
    clipping is not corrected.
    """
    units = tf.gather(tables().units, ids)
    times = tf.cast(tf.round(tf.cast(tf.cumsum(units, axis=1), tf.float32) * factor), tf.int32)
    waits = times - tf.pad(times, [[0, 0], [1, 0]])[:, :-1]
    waits = tf.clip_by_value(waits, 1, vocabulary.MAX_WAIT)
    return tf.where(units > 0, vocabulary.FIRST_WAIT - 1 + waits, ids)

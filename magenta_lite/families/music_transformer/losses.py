"""Negative log-likelihood of tokens."""

from __future__ import annotations

import tensorflow as tf

from magenta_lite.typing import Tensor

PAD = 0


def token_nll(ids: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Returns -log p of each token (B, T), and all log probabilities (B, T, V), in nats."""
    log_p = tf.nn.log_softmax(logits)
    return -tf.gather(log_p, tf.cast(ids, tf.int32), axis=2, batch_dims=2), log_p

"""The loss of codes and lyrics."""

from __future__ import annotations

import math

import tensorflow as tf

from magenta_lite.typing import Tensor


def bits_of(targets: Tensor, logits: Tensor) -> Tensor:
    """Returns the cross-entropy of int32 targets (B, L) and logits (B, L, V) in bits, (B, L)."""
    nats = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
    return nats / math.log(2)

"""Targets of training examples: the mask of predicted tokens, and open ends."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from magenta_lite.converters.musenet import vocabulary
from magenta_lite.converters.musenet.converter import PREFIX
from magenta_lite.typing import Tensor

PAD = 0


def with_open_end(events: Tensor) -> Tensor:
    """Returns events int32 (B, T, 3) whose last id is `END_SAMPLE` if the piece continues."""
    ids, rest = events[..., :1], events[..., 1:]
    last = ids[:, -1:]
    open_end = (last != vocabulary.END) & (last != PAD)
    last = tf.where(open_end, vocabulary.END_SAMPLE, last)
    return tf.concat([tf.concat([ids[:, :-1], last], axis=1), rest], axis=2)


def counted(events: Tensor) -> Tensor:
    """Returns the mask of predicted tokens: float (B, T), 0 for prefix and padding."""
    not_padding = tf.cast(events[..., 0] != PAD, tf.float32)
    after_prefix = np.arange(events.shape[1]) >= PREFIX
    return not_padding * tf.constant(after_prefix.astype(np.float32))

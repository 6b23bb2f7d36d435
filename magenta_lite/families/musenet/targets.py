"""Targets of training examples."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from magenta_lite.converters.musenet.converter import PREFIX
from magenta_lite.converters.musenet.rules import tables
from magenta_lite.typing import Tensor

PAD = 0


def counted(events: Tensor) -> Tensor:
    """Returns the mask of predicted tokens: float (B, T), 0 for prefix and padding.

    Nor are the marks of a gap predicted, and the instrument set of its notes.
    """
    ids = tf.cast(events[..., 0], tf.int32)
    not_padding = tf.cast((ids != PAD) & ~tf.gather(tables().told, ids), tf.float32)
    after_prefix = np.arange(events.shape[1]) >= PREFIX
    return not_padding * tf.constant(after_prefix.astype(np.float32))

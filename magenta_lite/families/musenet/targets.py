"""Targets of training examples."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from magenta_lite.converters.musenet.converter import PREFIX
from magenta_lite.typing import Tensor

PAD = 0


def counted(events: Tensor) -> Tensor:
    """Returns the mask of predicted tokens: float (B, T), 0 for prefix and padding."""
    not_padding = tf.cast(events[..., 0] != PAD, tf.float32)
    after_prefix = np.arange(events.shape[1]) >= PREFIX
    return not_padding * tf.constant(after_prefix.astype(np.float32))

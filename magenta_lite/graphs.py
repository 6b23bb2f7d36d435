"""TensorFlow graphs without AutoGraph."""

from __future__ import annotations

import functools

import tensorflow as tf

# Loops and branches over tensors are written as such here (`tf.while_loop`, `tf.where`), so
# AutoGraph has nothing to rewrite; looking for it takes several seconds before the first step.
graph_function = functools.partial(tf.function, autograph=False)

"""The private names of Keras that this package uses: any version of Keras may change them.

Tried with Keras 3.12.0, 3.13.2, 3.14.0 and 3.15.1. `tests/test_keras_internals.py` fails if the
installed version lacks one of them, or if another module uses one.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from magenta_lite.typing import Tensor


class Model(keras.Model):
    """A model whose constructor builds all layers, for several replicas and own training steps."""

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None):
        strategy = self.distribute_strategy
        if strategy.num_replicas_in_sync == 1:
            return super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)
        # Keras reduces the first batch outside of a replica, which fails with several workers
        # (https://github.com/keras-team/keras/issues/20585). Only its bookkeeping is needed.
        batch = next(iter(iterator)) if data_batch is None else data_batch
        local = tf.nest.map_structure(lambda x: strategy.experimental_local_results(x)[0], batch)
        with strategy.scope():
            self._symbolic_build(data_batch=local)

    def track_loss(self, loss: Tensor, rows: int) -> None:
        """Updates the metric `loss` with the mean loss of `rows` examples."""
        self._loss_tracker.update_state(loss, sample_weight=rows)

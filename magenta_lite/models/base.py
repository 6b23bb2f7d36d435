"""What all models share so that `fit` and `evaluate` work under every distribution strategy."""

from __future__ import annotations

import dataclasses

import keras
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Draw:
    """Random numbers that one example needs.

    Attributes:
        kind: `normal` (standard), `uniform` (in [0, 1)) or `bernoulli` (true or false).
        shape: For one example.
        p: Of `bernoulli`: probability of true.
    """

    kind: str
    shape: tuple[int, ...]
    p: float = 0.5


class TrainableModel(keras.Model):
    """A model whose batches are dicts of tensors and whose random numbers come with the batch.

    A subclass gives `call(batch, training)`, `compute_loss(x=batch, y_pred=outputs)`, a mean over
    the examples of its replica, and `draws()`. Because every random number is a function of
    (seed, step, example), weights do not depend on how many replicas share the work.

    Keras 3 needs help with several workers (https://github.com/keras-team/keras/issues/20585):
    it averages the logs of a step over an axis that scalars do not have, and reduces the first
    batch outside of a replica. Two methods below cure that.
    """

    def draws(self) -> dict[str, Draw]:
        """Returns the random numbers that an example needs, by the name they have in a batch."""
        return {}

    def train_step(self, batch):
        return logs_for_workers(super().train_step(batch))

    def test_step(self, batch):
        return logs_for_workers(super().test_step(batch))

    def scale_loss(self, loss):
        """Divides a replica's mean so that the sum over replicas is the mean of the batch."""
        return loss / tf.distribute.get_strategy().num_replicas_in_sync

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        strategy = self.distribute_strategy
        if strategy.num_replicas_in_sync == 1:
            return super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)
        # Models here are built when they are made; only Keras' own bookkeeping is left.
        batch = next(iter(iterator or data_batch)) if data_batch is None else data_batch
        local = tf.nest.map_structure(lambda x: strategy.experimental_local_results(x)[0], batch)
        with strategy.scope():
            self._symbolic_build(data_batch=local)


def logs_for_workers(logs):
    """Gives scalar logs an axis, over which Keras averages them, when there are many workers."""
    strategy = tf.distribute.get_strategy()
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return logs
    return {name: tf.reshape(value, [1]) for name, value in logs.items()}

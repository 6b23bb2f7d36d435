"""The private names of Keras that this package uses: any version of Keras may change them.

`tests/test_keras_internals.py` fails if the installed version lacks one, or another module uses
one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from magenta_lite.typing import Tensor

TRIED = ("3.12.0", "3.13.2", "3.14.0", "3.15.1")  # versions of Keras
OF_MODELS = ("_maybe_symbolic_build", "_symbolic_build", "_loss_tracker", "_flatten_layers")
OF_OPTIMIZERS = (
    "_all_reduce_sum_gradients",
    "_update_model_variables_moving_average",
    "_model_variables_moving_average",
    "_get_variable_index",
    "_trainable_variables",
)

if TYPE_CHECKING:
    _Optimizer = keras.optimizers.Optimizer
else:
    _Optimizer = object  # classes that mix in `OptimizerHooks` have an optimiser as their next base


class Model(keras.Model):
    """A model whose constructor builds all layers, so that several replicas can share it."""

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None):
        strategy = self.distribute_strategy
        if strategy.num_replicas_in_sync == 1:
            return super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)
        # Keras would reduce the first batch outside of a replica, which fails with several workers
        # (https://github.com/keras-team/keras/issues/20585). Only its bookkeeping is needed.
        batch = next(iter(iterator)) if data_batch is None else data_batch
        local = tf.nest.map_structure(lambda x: strategy.experimental_local_results(x)[0], batch)
        with strategy.scope():
            self._symbolic_build(data_batch=local)

    def track_loss(self, loss: Tensor, rows: int) -> None:
        """Updates the metric `loss` with the mean loss of `rows` examples."""
        self._loss_tracker.update_state(loss, sample_weight=rows)


def all_layers(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns a layer or a model and all layers inside of it."""
    return list(layer._flatten_layers())


def averages_of(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Returns the moving averages of the weights that an optimiser with `use_ema` keeps."""
    return optimizer._model_variables_moving_average


class OptimizerHooks(_Optimizer):
    """Mixin for optimisers with two methods that Keras calls in each step."""

    def changed(self, gradients: Sequence[Tensor], paths: Sequence[str]) -> list[Tensor]:
        """Returns the gradients to apply for those of the whole batch, summed over replicas.

        Args:
            gradients: The gradients.
            paths: The path of the variable of each of them.
        """
        raise NotImplementedError

    def ema_decay(self) -> Tensor:
        """Returns the decay of the moving averages of the weights in this step."""
        raise NotImplementedError

    def _all_reduce_sum_gradients(self, grads_and_vars):
        gradients, variables = zip(*super()._all_reduce_sum_gradients(grads_and_vars), strict=True)
        paths = [self._trainable_variables[self.index_of(own)].path for own in variables]
        changed = self.changed([tf.convert_to_tensor(own) for own in gradients], paths)
        return list(zip(changed, variables, strict=True))

    def _update_model_variables_moving_average(self, trainable_variables):
        decay = self.ema_decay()
        for variable, average in zip(trainable_variables, averages_of(self), strict=True):
            average.assign(decay * average + (1 - decay) * variable)

    def index_of(self, variable: Any) -> int:
        """Returns the index of a variable among those of `build`."""
        return self._get_variable_index(variable)

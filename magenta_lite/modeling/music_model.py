"""The base class of all models: what a family has to give, and what all of them share."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import keras
import numpy as np
import tensorflow as tf

from magenta_lite.errors import UserError
from magenta_lite.modeling.options import GenerateOptions
from magenta_lite.typing import Batch, Events, Tensor

if TYPE_CHECKING:
    from magenta_lite.config import ExperimentConfig
    from magenta_lite.converters.converter import Converter

COUNTED_EXAMPLES = 2048  # in which the most frequent event is looked for


@dataclasses.dataclass(frozen=True)
class RandomInput:
    """Random numbers that one example needs.

    Attributes:
        kind: `normal` (standard), `uniform` (in [0, 1)), `bernoulli` (1 or 0), `gamma`, or `seed`
            (int32) for numbers that a model draws itself, where they are too many to come with a
            batch.
        shape: For one example.
        p: Of `bernoulli`: probability of 1. Of `gamma`: its concentration; the rate is 1.
    """

    kind: str
    shape: tuple[int, ...]
    p: float = 0.5

    def drawn(self, size: Any) -> Tensor:
        """Returns it for a batch of `size` examples, (size, *shape), by TensorFlow's own seed."""
        shape = [size, *self.shape]
        if self.kind == "seed":
            return tf.random.uniform(shape, maxval=tf.int32.max, dtype=tf.int32)
        if self.kind == "gamma":
            return tf.random.gamma([size], tf.fill(self.shape, self.p))
        if self.kind == "normal":
            return tf.random.normal(shape)
        uniform = tf.random.uniform(shape)
        return tf.cast(uniform < self.p, tf.float32) if self.kind == "bernoulli" else uniform


class MusicModel(keras.Model):
    """A model of music. Its batches are dicts of tensors, with the random numbers that it needs.

    What a family has to give, to be trained, served and asked for music:

    - `Options`, `metric_meanings`, `for_config`, `generate`, `measure`, `signatures` and
      `signature_arguments`, which are described below;
    - `call(batch, training)`, `compute_loss(x=batch, y_pred=outputs)`, a mean over the examples
      of its replica, and `get_config`, as Keras wants them;
    - `random_inputs()`, and, where it has use for them, the other methods that do nothing here.

    Because every random number is a function of (seed, step, example), weights do not depend on
    how many replicas share the work. A batch of a user's own need not bring them: what it lacks is
    drawn as TensorFlow draws.

    Keras 3 needs help with several workers (https://github.com/keras-team/keras/issues/20585):
    it averages the logs of a step over an axis that scalars do not have, and reduces the first
    batch outside of a replica. Two methods below cure that.

    Attributes:
        Options: What `generate` may be asked for.
        metric_meanings: What each number of `measure` means, by its name.
    """

    Options: ClassVar[type[GenerateOptions]]
    metric_meanings: ClassVar[Mapping[str, str]]
    # The objective section; a run that fits into a given time changes it before it begins.
    objective: Any = None

    @classmethod
    def for_config(cls, config: ExperimentConfig, converter: Converter) -> Self:
        """Returns the untrained model that a config describes.

        Args:
            config: Its sections `model` and `objective` are those of the family.
            converter: That of `config.converter`.

        Raises:
            UserError: If the sections do not go together.
        """
        raise NotImplementedError

    def generate(self, options: GenerateOptions, converter: Converter) -> list[Any]:
        """Returns the music that is asked for.

        Args:
            options: Of the class `Options`.
            converter: Turns inputs into numbers, and numbers into music.

        Returns:
            NoteSequences; or `Reconstruction`s; or, of a model of sound, dicts of `Audio`.

        Raises:
            UserError: If the options do not fit the model, or an input gives it nothing.
        """
        raise NotImplementedError

    def measure(self, examples: Any, seed: int = 0) -> dict[str, float]:
        """Returns numbers that tell how well the model does; `metric_meanings` explains them.

        Args:
            examples: Held-out examples, a `collections.Examples`.
            seed: Of whatever is drawn.
        """
        raise NotImplementedError

    def signatures(self) -> dict[str, tf.types.experimental.PolymorphicFunction]:
        """Returns compiled functions of dense tensors by the names of their SavedModel signatures.

        One of them is `serving_default`; of models that write notes, another is `sample`.
        """
        raise NotImplementedError

    def signature_arguments(
        self, num_outputs: int, temperature: float, seed: int
    ) -> dict[str, tf.Tensor]:
        """Returns arguments of `serving_default`; where there is a `sample`, they are its, too."""
        raise NotImplementedError

    def pictures(self, converter: Converter, examples: Any, seed: int) -> Iterable[Any] | None:
        """Returns figures of what the model does; None to see piano rolls of what it samples.

        Args:
            converter: Turns numbers into music.
            examples: Held-out examples, a `collections.Examples`.
            seed: Of whatever is drawn.
        """
        return None

    def random_inputs(self, training: bool = True) -> dict[str, RandomInput]:
        """Returns the random numbers that an example needs, by the name they have in a batch."""
        return {}

    def with_random_inputs(self, batch: dict[str, Any], training: bool = True) -> dict[str, Any]:
        """Returns `batch` with the random numbers that it lacks, see `random_inputs`."""
        wanted = self.random_inputs(training)
        missing = {name: draw for name, draw in wanted.items() if name not in batch}
        if not missing:
            return batch
        size = tf.shape(batch["events"])[0]
        return batch | {name: draw.drawn(size) for name, draw in missing.items()}

    def prepare(self, step: int, examples: Any, seed: int) -> None:
        """Does what a model needs after `step` steps besides a gradient; 0: before a new run.

        What it changes must be weights, that a run which goes on from a checkpoint has them, and
        follow from the arguments and the weights.

        Args:
            step: Steps that are done.
            examples: The training split, a `collections.Examples`.
            seed: Of the run.
        """

    @property
    def renewed_every(self) -> int:
        """After how many steps `prepare` does something that takes time; 0 for never."""
        return 0

    def before_checkpoint(self, examples: Any) -> None:
        """Measures what a model keeps beside what it learns; the next thing is a checkpoint.

        Nothing of it may matter to training: a checkpoint may come at any step, when a signal asks
        for it. It has to follow from the arguments and the weights.

        Args:
            examples: The training split, a `collections.Examples`.
        """

    def majority_accuracy(self, examples: Any) -> float | None:
        """Returns the accuracy of one who knows nothing and always guesses the most frequent event.

        Args:
            examples: The training split, a `collections.Examples`; the first ones will do.

        Returns:
            A share; None for a model that has no `accuracy`.
        """
        del examples
        return None

    def in_words(self, measured: Mapping[str, float], majority: float | None = None) -> list[str]:
        """Returns the few numbers that tell most, in words, the most telling one first.

        Args:
            measured: What was measured in training or in a validation, by its name.
            majority: What `majority_accuracy` gives.
        """
        loss = f"loss {measured['loss']:.3g}"
        if "accuracy" not in measured:
            return [loss]
        known = f" (knowing nothing: {majority:.0%})" if majority else ""
        return [f"{measured['accuracy']:.0%} right{known}", loss]

    # In how many parts, one after the other, a replica works through its rows of a batch. The
    # gradient is that of all rows; memory is needed for one part.
    micro_batches: int = 1

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        batch = self.with_random_inputs(batch)
        if self.micro_batches > 1:
            return logs_for_workers(self._train_step_in_parts(batch))
        return logs_for_workers(super().train_step(batch))

    def _train_step_in_parts(self, batch):
        parts, weights = self.micro_batches, self.trainable_weights
        rows = next(iter(batch.values())).shape[0]
        if rows % parts:
            raise UserError(
                f"train.micro_batches={parts} does not divide the {rows} examples of a replica"
            )
        folded = {
            name: tf.reshape(x, [parts, rows // parts, *x.shape[1:]]) for name, x in batch.items()
        }

        def add_part(i, loss_sum, gradients):
            part = {name: x[i] for name, x in folded.items()}
            with tf.GradientTape() as tape:
                loss: Any = self.compute_loss(x=part, y_pred=self(part, training=True))
                loss /= parts
            new = tape.gradient(loss, weights)
            return i + 1, loss_sum + loss, [a + b for a, b in zip(gradients, new, strict=True)]

        start = (0, 0.0, [tf.zeros_like(weight) for weight in weights])
        _, loss, gradients = tf.while_loop(
            lambda i, *_: i < parts, add_part, start, parallel_iterations=1
        )
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self._loss_tracker.update_state(loss * replicas, sample_weight=rows)
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return self.compute_metrics(batch, None, None)

    def test_step(self, batch: Batch) -> dict[str, Tensor]:
        return logs_for_workers(super().test_step(self.with_random_inputs(batch, training=False)))

    def scale_loss(self, loss: Tensor) -> Tensor:
        """Divides a replica's mean so that the sum over replicas is the mean of the batch."""
        return loss / tf.distribute.get_strategy().num_replicas_in_sync

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None):
        strategy = self.distribute_strategy
        if strategy.num_replicas_in_sync == 1:
            return super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)
        # Models here are built when they are made; only Keras' own bookkeeping is left.
        batch = next(iter(iterator)) if data_batch is None else data_batch
        local = tf.nest.map_structure(lambda x: strategy.experimental_local_results(x)[0], batch)
        with strategy.scope():
            self._symbolic_build(data_batch=local)


def share_of_commonest(ids: Events) -> float:
    """Returns how often the most frequent of ids (N,), or of rows (N, D), stands among them."""
    ids = np.asarray(ids)
    if not len(ids):
        return 0.0
    return float(np.unique(ids, axis=0, return_counts=True)[1].max() / len(ids))


def fingerprint(model: keras.Model) -> str:
    """Returns a short hash of all weights."""
    digest = hashlib.sha256()
    for weight in model.weights:
        digest.update(np.ascontiguousarray(weight.numpy()).tobytes())
    return digest.hexdigest()[:12]


def with_mean_count(batch: Batch, counts: Tensor) -> Batch:
    """Adds `mean_count` (B,): what counts in an example, on average over all replicas.

    A sum over an example, divided by that, has as its mean over examples the mean over all that
    counts, however the examples are shared out.

    Args:
        batch: A dict of tensors.
        counts: Float (B,) or (B, T), whose sum is the number of what counts.
    """
    rows = tf.shape(counts)[0]
    total = tf.stack([tf.reduce_sum(counts), tf.cast(rows, tf.float32)])
    context = tf.distribute.get_replica_context()
    if context is not None and context.num_replicas_in_sync > 1:
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, total)
    return batch | {"mean_count": tf.fill([rows], tf.maximum(total[0] / total[1], 1e-6))}


def logs_for_workers(logs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gives scalar logs an axis, over which Keras averages them, when there are many workers."""
    strategy = tf.distribute.get_strategy()
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return logs
    return {name: tf.reshape(value, [1]) for name, value in logs.items()}

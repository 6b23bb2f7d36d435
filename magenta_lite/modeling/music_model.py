"""The base class of all models: the contract of a family, and the shared training code."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import keras
import numpy as np
import tensorflow as tf

from magenta_lite.errors import UserError
from magenta_lite.keras_internals import Model
from magenta_lite.layers.base import FromArguments
from magenta_lite.modeling.options import GenerateOptions
from magenta_lite.modeling.step_functions import StepFunctions
from magenta_lite.typing import Batch, Events, Tensor

if TYPE_CHECKING:
    from magenta_lite.config import ExperimentConfig
    from magenta_lite.converters.converter import Converter

COUNTED_EXAMPLES = 2048  # examples that `majority_accuracy` counts


@dataclasses.dataclass(frozen=True)
class RandomInput:
    """Random numbers that an example needs as an input of the model.

    Attributes:
        kind: `normal` (standard), `uniform` (in [0, 1)), `gamma` (of rate 1), or `seed` (int32),
            from which the model draws numbers that are too many for a batch.
        shape: Shape for one example.
        concentration: Of `gamma`.
    """

    kind: Literal["normal", "uniform", "gamma", "seed"]
    shape: tuple[int, ...]
    concentration: float = 1.0

    def drawn(self, size: Any) -> Tensor:
        """Returns numbers (size, *shape) for `size` examples, drawn with TensorFlow's seed."""
        shape = [size, *self.shape]
        if self.kind == "seed":
            return tf.random.uniform(shape, maxval=tf.int32.max, dtype=tf.int32)
        if self.kind == "gamma":
            return tf.random.gamma([size], tf.fill(self.shape, self.concentration))
        if self.kind == "normal":
            return tf.random.normal(shape)
        return tf.random.uniform(shape)


class MusicModel(FromArguments, Model):
    """A model of music. Its batches are dicts of tensors, which include its random numbers.

    To be trained, served and used for generation, a family implements:

    - a constructor that creates all layers and passes them `dtype_policy`; its arguments are
      attributes, as `FromArguments` requires, the section `model` of the config is `sizes`;
    - `Options`, `metric_meanings`, `for_config`, `generate`, `measure`, `signatures` and
      `signature_arguments`, which are described below;
    - `call(batch, training)` and `mean_loss(batch, outputs, training)`;
    - `random_inputs()` and, optionally, the other methods that do nothing here.

    Every random number of the training pipeline is a function of (seed, step, example), so that
    weights do not depend on the number of replicas. Random numbers that are missing in a batch are
    drawn with TensorFlow's global seed.

    Args:
        **kwargs: `name`, `dtype` and `trainable`, as of `keras.Model`. The dtype policy is that of
            the layers; logits, losses and samples are in float32.

    Attributes:
        Options: Class of the options of `generate`.
        metric_meanings: Description of each metric of `measure`, by its name.
    """

    Options: ClassVar[type[GenerateOptions]]
    metric_meanings: ClassVar[Mapping[str, str]]
    attributes: ClassVar = {"model": "sizes"}
    # The objective section; a run with a time limit replaces it before training.
    objective: Any = None

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.built = True

    @property
    def compute_dtype(self) -> str:
        """The type of the model's own computations, to which Keras casts float inputs."""
        return "float32"

    @classmethod
    def for_config(cls, config: ExperimentConfig, converter: Converter, **kwargs: Any) -> Self:
        """Returns the untrained model that a config describes.

        `kwargs` are those of the constructor, such as `dtype`.

        Raises:
            UserError: If the sections of the config are inconsistent.
        """
        raise NotImplementedError

    def generate(self, options: Any, converter: Any, /) -> list[Any]:
        """Generates music with options of the class `Options`.

        Returns:
            NoteSequences; or `Reconstruction`s; or, for a model of sound, dicts of `Audio`.

        Raises:
            UserError: If the options are invalid for the model, or an input has nothing to encode.
        """
        raise NotImplementedError

    def measure(self, examples: Any, seed: int = 0, /) -> dict[str, float]:
        """Returns metrics of held-out `Examples`; `metric_meanings` explains them."""
        raise NotImplementedError

    def measure_gaps(self, examples: Any, seed: int = 0, /) -> dict[str, float]:
        """Returns what the music after a gap is worth to a model that fills gaps; none for others.

        `metric_meanings` explains the metrics. It takes much longer than `measure`.
        """
        del examples, seed
        return {}

    def samples(
        self, converter: Any, held_out: Any, temperature: float, seed: int, /
    ) -> Any | None:
        """Returns samples with default options as `Examples`, to be compared with held-out ones.

        Conditioning, if the model needs any, comes from the held-out `Examples`. None for a model
        whose samples `evaluate` does not compare.
        """
        del converter, held_out, temperature, seed
        return None

    def signatures(self, /) -> dict[str, tf.types.experimental.PolymorphicFunction]:
        """Returns compiled functions of dense tensors by the names of their SavedModel signatures.

        One is `serving_default`, unless there is a `row_signature`. Models of notes also have
        `sample`.
        """
        raise NotImplementedError

    def signature_arguments(
        self, num_outputs: int, temperature: float, seed: int, /
    ) -> dict[str, tf.Tensor]:
        """Returns arguments of `sample`, or of `serving_default` without one."""
        raise NotImplementedError

    def row_signature(self, /) -> Any:
        """Returns the function that is served as `serving_default`; None without one.

        Its inputs and outputs are dense tensors with a first axis of N rows. What is returned for a
        row depends on its own inputs alone, so that a server may put the rows of several requests
        together. Those of models of notes are `events` (N, T, *E) and, where these end, their
        number `num_events` int32 (N,).
        """
        return None

    def row_arguments(self, rows: int, temperature: float, seed: int, /) -> dict[str, tf.Tensor]:
        """Returns arguments of `row_signature` for N = `rows` seeds from `seed` on."""
        raise NotImplementedError

    def step_functions(self, /) -> StepFunctions | None:
        """Returns the functions for runtimes without TensorFlow; None if it cannot be exported."""
        return None

    def pictures(self, converter: Any, examples: Any, seed: int, /) -> Iterable[Any] | None:
        """Returns figures of outputs for held-out `Examples`; None for piano rolls of samples."""
        return None

    def random_inputs(self, training: bool = True) -> dict[str, RandomInput]:
        """Returns the random numbers that an example needs, by their keys in a batch."""
        return {}

    def with_random_inputs(self, batch: Batch, training: bool = True, only: str = "") -> Batch:
        """Returns `batch` with the missing ones of `random_inputs` added, or only one of them."""
        inputs = self.random_inputs(training)
        wanted = [name for name in inputs if only in ("", name)]
        missing = {name: inputs[name] for name in wanted if name not in batch}
        if not missing:
            return batch
        size = tf.shape(batch["events"])[0]
        return batch | {name: each.drawn(size) for name, each in missing.items()}

    def prepare(self, step: int, examples: Any, seed: int) -> None:
        """Updates weights that are not trained by gradients, after `step` steps; 0 before training.

        Changes must be weights, so that checkpoints contain them, and depend on nothing but the
        weights and the arguments: the step, the `Examples` of training and the seed of the run.
        """

    @property
    def renewed_every(self) -> int:
        """Number of steps between two calls of `prepare` that take time; 0 for never."""
        return 0

    def before_checkpoint(self, examples: Any) -> None:
        """Updates weights that are for inference only, right before a checkpoint.

        They must not influence training, because a signal may request a checkpoint at any step, and
        depend on nothing but the weights and the `Examples` of training.
        """

    def majority_accuracy(self, examples: Any) -> float | None:
        """Returns the accuracy of always predicting the most frequent event, 0 to 1.

        It is measured on the first `COUNTED_EXAMPLES` of the `Examples` of training; None for a
        model without the metric `accuracy`.
        """
        del examples
        return None

    def in_words(self, measured: Mapping[str, float], majority: float | None = None) -> list[str]:
        """Returns the most informative metrics in words, the most informative one first.

        `majority` is the result of `majority_accuracy`.
        """
        loss = f"loss {measured['loss']:.3g}"
        if "accuracy" not in measured:
            return [loss]
        known = f" (knowing nothing: {majority:.0%})" if majority else ""
        return [f"{measured['accuracy']:.0%} right{known}", loss]

    def make_train_function(self, force: bool = False) -> Any:
        # Otherwise the first step would create the optimiser's variables and be traced twice.
        with self.distribute_strategy.scope():
            self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    # Number of micro-batches that a replica divides its rows into, to save memory. The gradient is
    # that of all rows.
    micro_batches: int = 1

    def preprocess(self, batch: Batch, training: bool) -> Batch:
        """Returns a batch with random inputs as the network and the loss read it in `fit`."""
        return batch

    def mean_loss(self, batch: Batch, outputs: Any, training: bool = True) -> Tensor:
        """Returns the mean loss over the examples of a replica, and updates the metrics.

        `outputs` are those of the call for `batch`; `training` is False in a validation.
        """
        raise NotImplementedError

    def compute_loss(
        self,
        x: Any = None,
        y: Tensor | None = None,
        y_pred: Any = None,
        sample_weight: Tensor | None = None,
        training: bool = True,
    ) -> Tensor:
        """Returns the loss of a replica divided so that the sum over replicas is the batch's."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        return self.mean_loss(x, y_pred, training) / replicas

    def train_step(self, batch: Batch) -> dict[str, Tensor]:
        batch = self.preprocess(self.with_random_inputs(batch), training=True)
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
        self.track_loss(loss * replicas, rows)
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        return self.compute_metrics(batch, None, None)

    def test_step(self, batch: Batch) -> dict[str, Tensor]:
        batch = self.preprocess(self.with_random_inputs(batch, training=False), training=False)
        return logs_for_workers(super().test_step(batch))


def share_of_commonest(ids: Events) -> float:
    """Returns the share of the most frequent of ids (N,), or of rows (N, D)."""
    ids = np.asarray(ids)
    if not len(ids):
        return 0.0
    return float(np.unique(ids, axis=0, return_counts=True)[1].max() / len(ids))


def is_top(logits: Tensor, ids: Tensor) -> Tensor:
    """Returns whether ids (...) are the most probable classes of logits (..., V), float32 (...)."""
    top = tf.argmax(logits, axis=-1, output_type=tf.int32)
    return tf.cast(tf.equal(top, tf.cast(ids, tf.int32)), tf.float32)


def fingerprint(model: keras.Model) -> str:
    """Returns a short hash of all weights."""
    digest = hashlib.sha256()
    for weight in model.weights:
        digest.update(np.ascontiguousarray(weight.numpy()).tobytes())
    return digest.hexdigest()[:12]


def with_mean_count(batch: Batch, counts: Tensor) -> Batch:
    """Adds `mean_count` (B,), the mean number of counted steps per example over all replicas.

    The mean over examples of (sum over an example / `mean_count`) is the mean over all counted
    steps, independent of the distribution of the examples to replicas. A batch that has it already
    is returned unchanged. `counts` are numbers of steps, float (B,), or their weights, (B, T).
    """
    if "mean_count" in batch:
        return batch
    rows = tf.shape(counts)[0]
    total = tf.stack([tf.reduce_sum(counts), tf.cast(rows, tf.float32)])
    context = tf.distribute.get_replica_context()
    if context is not None and context.num_replicas_in_sync > 1:
        total = context.all_reduce(tf.distribute.ReduceOp.SUM, total)
    return batch | {"mean_count": tf.fill([rows], tf.maximum(total[0] / total[1], 1e-6))}


def logs_for_workers(logs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Adds an axis to scalar logs with several workers, because Keras averages over it."""
    strategy = tf.distribute.get_strategy()
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return logs
    return {name: tf.reshape(value, [1]) for name, value in logs.items()}

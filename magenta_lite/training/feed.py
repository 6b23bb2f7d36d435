"""The training and validation batches of a model, and its calls of `fit` and `evaluate`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from magenta_lite.data.collections import Examples
from magenta_lite.data.pipeline import (
    ROWS_COUNTED,
    Batches,
    batches_for,
    held_out_batches,
    rejected_transpositions,
)
from magenta_lite.modeling.music_model import MusicModel
from magenta_lite.training.callbacks import StepCallbacks

if TYPE_CHECKING:
    from magenta_lite.config import ExperimentConfig
    from magenta_lite.converters.converter import Converter

SILENT: Any = 0  # for `verbose`, which Keras annotates with the type of its default only


@dataclasses.dataclass(frozen=True)
class Feed:
    """The training and validation batches of a model.

    Attributes:
        batches: Batches of the training split.
        strategy: Distributes them over replicas; None for one device.
        validation: Infinite data set of held-out batches: at the end of a finite one, replicas
            would get empty batches, which bias Keras' averages. `fit` restarts it for each
            validation. None if there are not enough examples.
        validation_steps: Number of batches per validation.
    """

    batches: Batches
    strategy: tf.distribute.Strategy | None
    validation: Any
    validation_steps: int | None

    @classmethod
    def of(
        cls,
        config: ExperimentConfig,
        converter: Converter,
        model: MusicModel,
        examples: Mapping[str, Examples],
        strategy: tf.distribute.Strategy | None,
        say: Callable[[str], Any],
    ) -> Feed:
        """Returns the batches of a config from the splits `train` and `validation`."""
        settings, data = config.train, config.data
        batches = batches_for(
            converter,
            examples["train"],
            batch_size=settings.batch_size,
            seed=settings.seed,
            random_inputs=model.random_inputs(),
            transpose=data.transpose,
            transpose_last=data.transpose_last,
            steps=settings.steps,
        )
        if batches.reject and data.transpose != (0, 0):
            _report_rejected(batches, say)
        held_out = examples["validation"]
        replicas = strategy.num_replicas_in_sync if strategy else 1
        size = min(len(held_out.lengths), settings.validation_examples)
        batch_size, count = held_out_batches(size, settings.batch_size, replicas)
        if not batch_size:
            say(f"No validation: {size} held-out examples for {replicas} replicas")
            if settings.patience:
                say(f"train.patience={settings.patience} has no effect without validation")
            return cls(batches, strategy, None, None)
        validation = batches_for(
            converter,
            held_out,
            batch_size=batch_size,
            seed=settings.seed + 1,
            random_inputs=model.random_inputs(training=False),
            shuffle=False,
        )
        return cls(batches, strategy, validation.dataset(strategy=strategy), count)

    def fit(
        self,
        model: MusicModel,
        first: int,
        count: int,
        length: int,
        callbacks: list[keras.callbacks.Callback],
        validate: bool = True,
    ) -> None:
        """Trains `count` intervals of `length` steps from step `first`, each with a validation."""
        model.fit(
            self.batches.dataset(first, strategy=self.strategy),
            steps_per_epoch=length,
            epochs=count,
            validation_data=self.validation if validate else None,
            validation_steps=self.validation_steps if validate else None,
            callbacks=StepCallbacks(callbacks, add_history=True, model=model, steps=length),
            shuffle=False,
            verbose=SILENT,
        )

    def validate(self, model: MusicModel) -> None:
        """Runs a validation, if there are enough examples."""
        if self.validation is not None:
            model.evaluate(self.validation, steps=self.validation_steps, verbose=SILENT)


def _report_rejected(batches, say) -> None:
    count = rejected_transpositions(
        batches.events, batches.pitch_ids, batches.transpose, batches.pitch_ranges
    )
    low, high = batches.transpose
    size = len(batches.events)
    total = min(size, ROWS_COUNTED) * (high - low + 1)
    sample = f", in the first {ROWS_COUNTED:,} examples" if size > ROWS_COUNTED else ""
    if count:
        say(f"Transposition: {count:,} of {total:,} leave the range and are not drawn{sample}")

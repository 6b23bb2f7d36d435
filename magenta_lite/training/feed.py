"""The batches that a model is trained and validated with, and the calls of Keras that feed them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from magenta_lite.data.collections import Examples
from magenta_lite.data.pipeline import (
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

SILENT: Any = 0  # `verbose` of Keras; of its types, only the default is one


@dataclasses.dataclass(frozen=True)
class Feed:
    """What a model is fed with.

    Attributes:
        batches: Of the training split.
        strategy: Shares them among replicas; None for one device.
        validation: Held-out batches without end: replicas would be given empty batches at its
            end, which count in Keras' averages. `fit` starts it anew for each validation. None if
            there are not enough examples.
        validation_steps: How many of them make a validation.
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
        """Returns what the config says, of the splits `train` and `validation`."""
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
            _tell_rejected(batches, say)
        held_out = examples["validation"]
        replicas = strategy.num_replicas_in_sync if strategy else 1
        size = min(len(held_out.lengths), settings.validation_examples)
        batch_size, count = held_out_batches(size, settings.batch_size, replicas)
        if not batch_size:
            say(f"No validation: {size} held-out examples for {replicas} replicas")
            if settings.patience:
                say(f"train.patience={settings.patience} means nothing without validation")
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
        """Makes `count` times `length` steps from step `first` on, a validation after each."""
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
        """Makes a validation, if there is one."""
        if self.validation is not None:
            model.evaluate(self.validation, steps=self.validation_steps, verbose=SILENT)


def _tell_rejected(batches, say) -> None:
    count = rejected_transpositions(
        batches.events, batches.pitch_ids, batches.transpose, batches.pitch_ranges
    )
    low, high = batches.transpose
    total = len(batches.events) * (high - low + 1)
    if count:
        say(f"Transposition: {count:,} of {total:,} forms leave the range and are not drawn")

"""Trains the model of a config in a run directory, from wherever that run stands."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from magenta_lite.config import ExperimentConfig, TrainConfig
from magenta_lite.data.pipeline import (
    batches_for,
    held_out_batches,
    rejected_transpositions,
)
from magenta_lite.encoders import build_encoder
from magenta_lite.models.building import build_model
from magenta_lite.training.callbacks import (
    Checkpoints,
    Prepare,
    Record,
    Signals,
    StepCallbacks,
    WatchSteps,
)
from magenta_lite.training.checkpoints import remove_partial, restore_newest, steps_done
from magenta_lite.training.optimizer import ClippedAdafactor, ClippedAdam
from magenta_lite.training.progress import Progress
from magenta_lite.training.run_directory import RunDirectory, copy_weights
from magenta_lite.training.schedules import DecayToMinimum, WarmUp
from magenta_lite.training.strategy import is_chief

BYTES_PER_WEIGHT = 16  # float32 weight, gradient and Adam's two moments


def compile_model(model: keras.Model, train: TrainConfig) -> None:
    """Gives `model` the optimiser that `train` describes."""
    clipping = {
        "clip_norm": train.clip_norm,
        "clip_to_zero_norm": train.clip_to_zero_norm,
        "clip_per_variable": train.clip_per_variable,
    }
    if train.optimizer == "adafactor":
        optimizer = ClippedAdafactor(_schedule(train), **clipping)
    else:
        optimizer = ClippedAdam(
            _schedule(train), epsilon=train.adam_epsilon, beta_2=train.adam_beta_2, **clipping
        )
    # XLA over the whole step is slower on CPUs and slow to compile.
    model.compile(optimizer=optimizer, jit_compile=False)
    # Else the first step would make its variables, and be traced twice for it.
    optimizer.build(model.trainable_variables)
    model.micro_batches = train.micro_batches
    for layer in model._flatten_layers():
        if hasattr(layer, "recompute"):
            layer.recompute = train.recompute


def _schedule(train: TrainConfig):
    if train.schedule == "decay":
        return DecayToMinimum(
            train.learning_rate, train.learning_rate_decay, train.min_learning_rate
        )
    return WarmUp(
        train.learning_rate,
        train.schedule,
        train.warmup_steps,
        train.steps,
        train.min_learning_rate,
    )


def train(
    config: ExperimentConfig,
    run_dir: Path,
    collection: Any,
    strategy: tf.distribute.Strategy | None = None,
    init_from: str | None = None,
) -> keras.Model:
    """Trains until `config.train.steps`; goes on from the newest intact checkpoint, if any.

    On one CPU replica a run that was ended at any moment and started again gives the same
    weights, to the bit, as one that never was.

    Args:
        config: What to train.
        run_dir: Created if missing.
        collection: The data, with `name`, `sizes` and `split(name) -> Examples`.
        strategy: Shares the work among replicas; None for one device.
        init_from: A run directory whose weights a new run starts with.

    Returns:
        The trained model.

    Raises:
        UserError: If `run_dir` belongs to another run, or the data do not fit.
        DivergedError: If the loss is not finite.
        CheckpointError: If a checkpoint cannot be written.
        Stopped: If SIGINT or SIGTERM asked for it; a checkpoint was saved before.
    """
    directory, settings, chief = RunDirectory(run_dir), config.train, is_chief()
    directory.check(config)
    say = print if chief else _nothing
    encoder = build_encoder(config.encoder)
    examples = {name: collection.split(name) for name in ("train", "validation")}
    data = {"name": collection.name, "sizes": dict(collection.sizes)}
    say(f"Data: {data['name']}: {_sizes(data['sizes'])}")
    _warn_about_data(data, directory, settings, say)

    keras.utils.set_random_seed(settings.seed)
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = build_model(config, encoder, settings.precision)
        compile_model(model, settings)
        newest = restore_newest(model, directory.checkpoints, say)
        if init_from and newest is None:
            say(f"Weights: those of {copy_weights(model, config, init_from)}")
        elif newest is None:
            scale_kernels(model, settings.initial_gain)
    start = steps_done(model)
    weights = model.count_params()
    say(
        f"Model: {config.name}, {weights:,} weights, {settings.precision}; "
        f"{weights * BYTES_PER_WEIGHT / 2**20:,.0f} MiB with gradients and optimiser"
    )
    if start >= settings.steps:
        say(f"{newest} is at step {start:,} of {settings.steps:,}: nothing left to train")
        return model
    if chief:
        remove_partial(directory.checkpoints)
        directory.prepare(config, encoder, data)
        directory.forget_after(start)
    say(f"Run: {directory.path}, from step {start:,} to {settings.steps:,}")

    if not start:
        model.prepare(0, examples["train"], settings.seed)
    batches = batches_for(
        encoder,
        examples["train"],
        batch_size=settings.batch_size,
        seed=settings.seed,
        draws=model.draws(),
        transpose=config.data.transpose,
        transpose_last=config.data.transpose_last,
        steps=settings.steps,
    )
    if batches.reject and config.data.transpose != (0, 0):
        _tell_rejected(batches, say)
    held_out = examples["validation"]
    validation, validation_steps = _validation(settings, encoder, model, held_out, strategy, say)
    with contextlib.ExitStack() as stack:
        progress = Progress(
            settings.steps, settings.batch_size, start, sys.stdout if chief else _Silence()
        )
        stack.enter_context(progress)
        signals = stack.enter_context(_signals(strategy))
        keep = settings.keep_checkpoints
        callbacks = [Prepare(start, examples["train"], settings.seed)]
        callbacks += [WatchSteps(directory, start, progress, signals, keep, examples["train"])]
        callbacks += [Record(directory, config, encoder, progress, held_out)] if chief else []
        callbacks.append(Checkpoints(directory, keep, chief, progress))
        for first, count, length in intervals(start, settings.steps, settings.checkpoint_every):
            model.fit(
                batches.dataset(first, strategy=strategy),
                steps_per_epoch=length,
                epochs=count,
                validation_data=validation,
                validation_steps=validation_steps,
                callbacks=StepCallbacks(callbacks, add_history=True, model=model),
                shuffle=False,
                verbose=0,
            )
    return model


def scale_kernels(model: keras.Model, gain: float) -> None:
    """Multiplies the kernels of a new model, but not its recurrent ones, by `gain`."""
    if gain == 1:
        return
    for weight in model.trainable_variables:
        if weight.name == "kernel":
            weight.assign(weight * gain)


def intervals(start: int, stop: int, every: int) -> Iterator[tuple[int, int, int]]:
    """Cuts steps at the multiples of `every`, as few calls of `fit` with epochs of equal length.

    Yields:
        First step, number of epochs, steps of each.
    """
    while start < stop:
        length = min(every - start % every, stop - start)
        count = (stop - start) // every if length == every else 1
        yield start, count, length
        start += count * length


def _validation(settings, encoder, model, examples, strategy, say):
    """Returns held-out batches and their number; None twice if there are not enough examples.

    The data set itself does not end: replicas would be given empty batches at its end, which
    count in Keras' averages. `fit` starts it anew for each validation.
    """
    replicas = strategy.num_replicas_in_sync if strategy else 1
    size = min(len(examples.lengths), settings.validation_examples)
    batch_size, count = held_out_batches(size, settings.batch_size, replicas)
    if not batch_size:
        say(f"No validation: {size} held-out examples for {replicas} replicas")
        return None, None
    batches = batches_for(
        encoder,
        examples,
        batch_size=batch_size,
        seed=settings.seed + 1,
        draws=model.draws(training=False),
        shuffle=False,
    )
    return batches.dataset(strategy=strategy), count


def _warn_about_data(data, directory, settings, say) -> None:
    before = directory.last_data()
    if before not in (None, data):
        say(
            f"Warning: before, this run was trained on {before['name']} "
            f"({_sizes(before['sizes'])}); it goes on with the data above"
        )
    size = data["sizes"].get("train", 0)
    if size < settings.batch_size:
        say(f"{size:,} examples, fewer than one batch of {settings.batch_size:,}: they repeat")


def _tell_rejected(batches, say) -> None:
    count = rejected_transpositions(
        batches.events, batches.pitch_ids, batches.transpose, batches.pitch_ranges
    )
    low, high = batches.transpose
    total = len(batches.events) * (high - low + 1)
    if count:
        say(f"Transposition: {count:,} of {total:,} forms leave the range and are not drawn")


def _sizes(sizes: dict[str, int]) -> str:
    return ", ".join(f"{size:,} {name}" for name, size in sizes.items())


def _signals(strategy):
    """Returns what notes signals; where they would do harm, something that notes none.

    Several workers do not stop at the same step, and a checkpoint needs them all: there a signal
    ends the process at once, and the newest checkpoint stays. Handlers need the main thread.
    """
    several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    if several or threading.current_thread() is not threading.main_thread():
        return contextlib.nullcontext(Signals())
    return Signals()


def _nothing(line: str) -> None:
    pass


class _Silence:
    """A stream for workers that are not the chief."""

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> None:
        pass

    def flush(self) -> None:
        pass

"""Trains the model of a config in a run directory, or resumes its training."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from magenta_lite.config import ExperimentConfig, TrainConfig, load_config, resumed
from magenta_lite.converters import build_converter
from magenta_lite.data.splitting import few_held_out
from magenta_lite.families.building import build_model
from magenta_lite.training.averages import swap
from magenta_lite.training.callbacks import Interval, Prepare, Saver, WatchSteps
from magenta_lite.training.checkpoints import (
    checkpoint_files,
    clean_up,
    newest_checkpoint,
    restore_first,
    save_checkpoint,
    steps_done,
)
from magenta_lite.training.feed import Feed
from magenta_lite.training.history import History
from magenta_lite.training.optimizer import compile_model
from magenta_lite.training.precision import with_precision
from magenta_lite.training.progress import Progress
from magenta_lite.training.record import Record
from magenta_lite.training.run import copy_weights
from magenta_lite.training.run_directory import RunDirectory
from magenta_lite.training.schedules import schedule, warmup_steps
from magenta_lite.training.signals import Signals
from magenta_lite.training.strategy import describe_devices, is_chief
from magenta_lite.training.time_budget import Costs, batch_size_for, fitted, plan, with_batch_size
from magenta_lite.training.trial import measure

BYTES_PER_WEIGHT = 16  # float32 weight, gradient and Adam's two moments


def train(
    config: ExperimentConfig,
    run_dir: Path,
    collection: Any,
    strategy: tf.distribute.Strategy | None = None,
    init_from: str | None = None,
    began: float | None = None,
    given: Collection[str] = (),
) -> keras.Model:
    """Trains until step `config.train.steps`, from the newest intact checkpoint, if any.

    On one CPU replica, an interrupted and resumed run yields bit-identical weights to an
    uninterrupted one.

    Args:
        config: Config of the run. With `train.minutes`, a new run first measures how many steps fit
            into that time, and adapts its config.
        run_dir: Created if missing.
        collection: The data, with `name`, `sizes` and `split(name) -> Examples`.
        strategy: Distributes batches over replicas; None for one device.
        init_from: A run directory with whose best weights a new run is initialised.
        began: Start of the time budget by `time.monotonic()`; None for now.
        given: Keys of the config, e.g. `train.batch_size`, that keep their values. Others may
            change: a run with `train.minutes` may reduce the batch size and scale the schedules, a
            resumed run keeps its schedules.

    Returns:
        The model with the weights of the last step.

    Raises:
        UserError: If `run_dir` belongs to another run or is in use, the data do not fit, or the
            time is too short.
        DivergedError: If the loss is not finite.
        CheckpointError: If a checkpoint cannot be written.
        Stopped: If SIGINT or SIGTERM was received, after saving a checkpoint.
    """
    began = time.monotonic() if began is None else began
    directory = RunDirectory(run_dir)
    with directory.locked(is_chief()):
        return _train(config, directory, collection, strategy, init_from, began, given)


def _train(config, directory, collection, strategy, init_from, began, given):
    if directory.config.is_file():
        config = resumed(config, load_config(directory.config), given)
    settings, chief = config.train, is_chief()
    directory.check(config, collection.name)
    stream = sys.stdout if chief else open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    say = functools.partial(print, file=stream)
    converter = build_converter(config.converter)
    examples = {name: collection.split(name) for name in ("train", "validation")}
    data = {"name": collection.name, "sizes": dict(collection.sizes)}
    say(f"Data: {data['name']}: {_sizes(data['sizes'])}")
    few = few_held_out("validation", examples["validation"].pieces)
    _warn_about_data(data, few, directory, settings, say)
    config = with_precision(config, converter, examples, strategy, say)
    settings = config.train

    keras.utils.set_random_seed(settings.seed)
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = build_model(config, converter, settings.precision)
        compile_model(model, settings)
        if chief:
            clean_up(directory.checkpoints, say)
        newest = restore_first(model, checkpoint_files(directory.checkpoints), say)
        if newest:
            swap(model)  # checkpoints hold the averages as weights
        elif init_from:
            say(f"Weights: those of {copy_weights(model, config, init_from)}")
        else:
            scale_kernels(model, settings.initial_gain)
    start = steps_done(model)
    weights = model.count_params()
    say(
        f"Model: {config.name}, {weights:,} weights, {settings.precision}, "
        f"{weights * BYTES_PER_WEIGHT / 2**20:,.0f} MiB to train, on {describe_devices()}"
    )
    history = History.read(config, directory.metrics, start)
    if start >= settings.steps:
        say(f"{newest} is at step {start:,} of {settings.steps:,}: nothing left to train")
        return model
    if history.out_of_patience(settings.patience):
        say(_outcome(history, settings))
        return model

    majority = model.majority_accuracy(examples["train"]) if chief else None
    in_words = functools.partial(model.in_words, majority=majority)
    progress = Progress(settings, start, stream, in_words)
    signals = _signals(strategy, progress, directory)
    with progress, signals or contextlib.nullcontext():
        say = progress.say
        if settings.minutes and not directory.config.is_file():
            ends = began + 60 * settings.minutes
            config = _fitted(
                model, config, converter, examples, strategy, ends, given, signals, progress
            )
            settings = config.train
            history = History(config)
        if chief:
            directory.prepare(config, converter, data)
            directory.forget_after(start)
        say(f"Run: {directory.path}, from step {start:,} to {settings.steps:,}")
        if warmup_steps(settings) < settings.warmup_steps:
            say(
                f"Warm-up: {warmup_steps(settings):,} of {settings.steps:,} steps instead of "
                f"train.warmup_steps={settings.warmup_steps}"
            )
        if settings.schedule_steps and not start:
            values = config.objective.schedules_in_words(settings.schedule_steps)
            say(f"Schedules, scaled to {settings.schedule_steps:,} steps: {values}")
        if not start:
            model.prepare(0, examples["train"], settings.seed)
        feed = Feed.of(config, converter, model, examples, strategy, say)
        record = Record(directory, config, converter, examples["validation"]) if chief else None
        saver = Saver(directory, examples["train"], history, settings, chief, progress)
        callbacks = [
            Prepare(start, examples["train"], settings.seed),
            WatchSteps(start, progress, signals, saver),
            Interval(saver, record, progress, signals, in_words),
        ]
        for first, count, length in intervals(start, settings.steps, settings.checkpoint_every):
            feed.fit(model, first, count, length, callbacks)
            if model.stop_training:
                break
        if outcome := _outcome(history, settings):
            say(outcome)
    return model


def _outcome(history: History, settings: TrainConfig) -> str:
    """Returns a message about the best checkpoint if it is not the last one, or ""."""
    use = "generate, evaluate and export use it; --checkpoint=newest takes the last"
    best = history.best
    if best and history.out_of_patience(settings.patience):
        return (
            f"Stopped early: the last {history.since_best} validations were not better than that "
            f"of step {best.step:,} (train.patience={settings.patience}, 0 never stops); "
            f"{use}"
        )
    risen = history.risen()
    return f"{risen[0].upper()}{risen[1:]}; {use}" if risen else ""


def _fitted(model, config, converter, examples, strategy, deadline, given, signals, progress):
    """Returns the config of a run that ends by `deadline`, and adapts the model to it."""
    minutes = config.train.minutes
    progress.say(f"Measuring how many steps fit into --minutes={minutes:g}")
    progress.doing("measuring the speed")

    def measured(config: ExperimentConfig) -> tuple[Costs, float]:
        feed = Feed.of(config, converter, model, examples, strategy, say=lambda line: None)

        def fit(first: int, count: int, callbacks: list) -> None:
            feed.fit(model, first, 1, count, callbacks, validate=False)

        def check(folder: Path) -> None:
            feed.validate(model)
            model.before_checkpoint(examples["train"])
            record = Record(RunDirectory(folder), config, converter, examples["validation"])
            record.draw(model, 0)
            save_checkpoint(model, folder, keep=1)

        def renew() -> None:
            model.prepare(model.renewed_every, examples["train"], config.train.seed)

        renews = renew if model.renewed_every else None
        return measure(model, fit, check, renews, deadline, strategy, signals)

    costs, left = measured(config)
    batch_size = config.train.batch_size
    if "train.batch_size" not in given:
        replicas = strategy.num_replicas_in_sync if strategy else 1
        batch_size = batch_size_for(costs, left, config.train, replicas)
    if batch_size < config.train.batch_size:
        progress.say(
            f"train.batch_size={batch_size} instead of {config.train.batch_size}, with which there "
            "would be few steps (--set train.batch_size=… chooses another)"
        )
        config = with_batch_size(config, batch_size)
        costs, left = measured(config)
    config = fitted(config, *plan(costs, left, minutes), given)
    settings = config.train
    progress.say(
        f"{settings.steps:,} steps of {costs.step:.2g} s; "
        f"after every {settings.checkpoint_every:,} a validation of {costs.check:.2g} s"
    )
    # Traced graphs contain the constants of the schedules and must be rebuilt.
    model.optimizer.learning_rate = schedule(settings)
    model.objective = config.objective
    model.train_function = model.test_function = None
    progress.restart(settings)
    return config


def scale_kernels(model: keras.Model, gain: float) -> None:
    """Multiplies the kernels of a new model, except recurrent ones, by `gain`."""
    if gain == 1:
        return
    for weight in model.trainable_variables:
        if weight.name == "kernel":
            weight.assign(weight * gain)


def intervals(start: int, stop: int, every: int) -> Iterator[tuple[int, int, int]]:
    """Splits steps at multiples of `every` into few calls of `fit`, with epochs of equal length.

    Yields:
        First step, number of epochs, steps per epoch.
    """
    while start < stop:
        length = min(every - start % every, stop - start)
        count = (stop - start) // every if length == every else 1
        yield start, count, length
        start += count * length


def _warn_about_data(data, few, directory, settings, say) -> None:
    before = directory.last_data()
    if before and before["sizes"] and before != data:  # imported weights have no sizes
        say(
            "Warning: the data have changed. Before, this run was trained on "
            f"{before['name']} ({_sizes(before['sizes'])}); it continues with the data above"
        )
    size = data["sizes"].get("train", 0)
    if few:
        say(few)
    if size < settings.batch_size:
        say(f"{size:,} examples, fewer than one batch of {settings.batch_size:,}: they repeat")


def _sizes(sizes: dict[str, int]) -> str:
    return ", ".join(f"{size:,} {name}" for name, size in sizes.items())


def _signals(strategy, progress: Progress, directory: RunDirectory) -> Signals | None:
    """Returns the signal handler; None if signals should end the process.

    Several workers would not stop at the same step, but a checkpoint needs all of them. Outside the
    main thread, Python allows no handlers.
    """
    several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    if several or threading.current_thread() is not threading.main_thread():
        return None

    def kept() -> str:
        newest = newest_checkpoint(directory.checkpoints)
        return f"{newest} is kept" if newest else "there is no checkpoint yet"

    return Signals(progress.say, progress.unfinished, kept)

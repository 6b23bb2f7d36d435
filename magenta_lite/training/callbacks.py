"""Callbacks of training: monitoring of the loss, validation, checkpoints, and signals."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras

from magenta_lite.config import TrainConfig
from magenta_lite.modeling.music_model import MusicModel
from magenta_lite.training.averages import averaged, swap
from magenta_lite.training.checkpoints import newest_checkpoint, save_checkpoint, steps_done
from magenta_lite.training.history import History, validation_of
from magenta_lite.training.progress import Progress
from magenta_lite.training.record import Record
from magenta_lite.training.run_directory import RunDirectory
from magenta_lite.training.signals import Signals, Stopped

LOSSES_IN_FLIGHT = 4  # a loss is read so many steps later, to avoid waiting for the device


class DivergedError(RuntimeError):
    """The loss is NaN or infinite. The message is one line."""


class StepCallbacks(keras.callbacks.CallbackList):
    """Calls callbacks immediately after each step, with logs that stay on the device.

    Keras either fetches all logs after every step, which stalls the device, or calls back from
    another thread, too late to stop at a step.
    """

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)


class _Callback(keras.callbacks.Callback):
    """Declares the attributes that Keras sets before it calls a callback."""

    model: MusicModel
    params: dict[str, Any]

    def __post_init__(self):  # of dataclasses
        super().__init__()


@dataclasses.dataclass(eq=False)
class Prepare(_Callback):
    """Calls `MusicModel.prepare` after each step, with the training split and the seed of the run.

    Must be the first callback, so that checkpoints include its changes. `step` is the first step of
    this start of the run.
    """

    step: int
    examples: Any
    seed: int

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.step += 1
        self.model.prepare(self.step, self.examples, self.seed)


@dataclasses.dataclass
class Saver:
    """Saves the state of a run, at the end of an interval or after a signal.

    `examples` is the training split, `chief` whether this worker writes; the history decides which
    checkpoint is the best.
    """

    directory: RunDirectory
    examples: Any
    history: History
    settings: TrainConfig
    chief: bool
    progress: Progress

    def save(self, model: keras.Model, before: Callable[[], None] | None = None) -> None:
        """Writes a checkpoint; calls `before` when the model has the weights to be saved."""
        with averaged(model):
            model.before_checkpoint(self.examples)
            if before:
                before()
            self.progress.doing("saving a checkpoint")
            folder, keep = self.directory.checkpoints, self.settings.keep_checkpoints
            save_checkpoint(model, folder, keep, self.chief, self.history)


@dataclasses.dataclass(eq=False)
class WatchSteps(_Callback):
    """Reports progress, and stops if the loss is not finite or a signal was received.

    `step` is the first step of this start of the run; the saver saves before a stop by a signal.
    """

    step: int
    progress: Progress
    signals: Signals | None
    saver: Saver
    _losses: collections.deque = dataclasses.field(default_factory=collections.deque, init=False)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.step += 1
        self.progress.step(self.step, logs)
        self._losses.append((self.step, logs["loss"]))
        if len(self._losses) > LOSSES_IN_FLIGHT:
            self._check_oldest()
        # At the last step of an interval, validation comes first, as in an uninterrupted run.
        ends = batch + 1 == self.params["steps"]
        if self.signals and self.signals.received and not ends:
            self._check_all()
            self.saver.save(self.model)
            raise Stopped(self.signals.received, self.step)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._check_all()
        self.progress.doing("validation")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._check_all()

    def _check_all(self) -> None:
        while self._losses:
            self._check_oldest()

    def _check_oldest(self) -> None:
        step, loss = self._losses.popleft()
        if math.isfinite(float(loss)):
            return
        newest = newest_checkpoint(self.saver.directory.checkpoints)
        left = f"the newest good checkpoint is {newest}" if newest else "there is no checkpoint yet"
        raise DivergedError(
            f"The loss is {float(loss)} at step {step:,}; {left}. "
            "Try a lower train.learning_rate or train.precision=float32 in a new --run_dir"
        )


@dataclasses.dataclass(eq=False)
class Interval(_Callback):
    """Ends each interval: records metrics, draws samples, saves, and stops if necessary.

    Must come after the callbacks that may raise. `record` is None in a worker that writes nothing,
    `signals` if signals are not handled; `in_words` returns short descriptions of metrics.
    """

    saver: Saver
    record: Record | None
    progress: Progress
    signals: Signals | None
    in_words: Callable[[dict[str, float]], list[str]]

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        swap(self.model)

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        swap(self.model)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        step = steps_done(self.model)
        values = {
            name: float(value)
            for name, value in logs.items()
            if not name.startswith("free_running")  # measured only in validation: val_free_…
        }
        history = self.saver.history
        history.add(step, values)
        self.saver.save(self.model, lambda: self._note(step, values))
        if history.out_of_patience(self.saver.settings.patience):
            self.model.stop_training = True
        if self.signals and self.signals.received:
            raise Stopped(self.signals.received, step)

    def _note(self, step: int, values: dict[str, float]) -> None:
        if self.record is None:
            return
        values["learning_rate"] = float(self.model.optimizer.learning_rate)
        if speed := self.progress.examples_per_second:
            values["examples_per_second"] = speed
        self.record.write(step, values)
        held_out = validation_of(values)
        where = "held-out music: " if held_out else ""
        words = self.in_words(held_out or values)
        self.progress.say_parts([f"step {step:,}: {where}{words[0]}", *words[1:]])
        since = self.saver.history.since_best
        if since > 1 and since & (since - 1) == 0:  # 2, 4, 8, …
            self.progress.say(f"  {self.saver.history.risen()}")
        self.progress.doing("drawing samples")
        self.record.draw(self.model, step)

"""Callbacks of training: monitoring of the loss, validation, checkpoints, and signals."""

from __future__ import annotations

import collections
import math
from collections.abc import Callable
from typing import Any

import keras

from magenta_lite.config import TrainConfig
from magenta_lite.modeling.music_model import MusicModel
from magenta_lite.training.averages import averaged, swap
from magenta_lite.training.checkpoints import checkpoint_files, save_checkpoint, steps_done
from magenta_lite.training.history import PREFIX, History
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


class Prepare(_Callback):
    """Calls `MusicModel.prepare` after each step.

    Must be the first callback, so that checkpoints include its changes.

    Args:
        start: First step of this start of the run.
        examples: The training split.
        seed: Seed of the run.
    """

    def __init__(self, start: int, examples: Any, seed: int):
        super().__init__()
        self._step = start
        self._examples = examples
        self._seed = seed

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._step += 1
        self.model.prepare(self._step, self._examples, self._seed)


class Saver:
    """Saves the state of a run, at the end of an interval or after a signal.

    Args:
        directory: The run directory.
        examples: The training split.
        history: The validations, which decide which checkpoint is the best.
        settings: Training section, with the number of checkpoints to keep.
        chief: Whether this worker writes.
        progress: Shows that a checkpoint is being saved.
    """

    def __init__(
        self,
        directory: RunDirectory,
        examples: Any,
        history: History,
        settings: TrainConfig,
        chief: bool,
        progress: Progress,
    ):
        self._folder = directory.checkpoints
        self._examples = examples
        self._history = history
        self._keep = settings.keep_checkpoints
        self._chief = chief
        self._progress = progress

    def save(self, model: keras.Model, before: Callable[[], None] | None = None) -> None:
        """Writes a checkpoint.

        Args:
            model: The model, whose state is the same afterwards.
            before: Called before saving, when the model has the weights that will be saved.
        """
        with averaged(model):
            model.before_checkpoint(self._examples)
            if before:
                before()
            self._progress.doing("saving a checkpoint")
            save_checkpoint(model, self._folder, self._keep, self._chief, self._history)


class WatchSteps(_Callback):
    """Reports progress, and stops if the loss is not finite or a signal was received.

    Args:
        directory: The run directory.
        start: First step of this start of the run.
        progress: Updated after every step.
        signals: The received signals; None if signals are not handled.
        saver: Saves before a stop by a signal.
    """

    def __init__(
        self,
        directory: RunDirectory,
        start: int,
        progress: Progress,
        signals: Signals | None,
        saver: Saver,
    ):
        super().__init__()
        self._directory = directory
        self._step = start
        self._progress = progress
        self._signals = signals
        self._saver = saver
        self._losses = collections.deque()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._step += 1
        self._progress.step(self._step, logs)
        self._losses.append((self._step, logs["loss"]))
        if len(self._losses) > LOSSES_IN_FLIGHT:
            self._check_oldest()
        # At the last step of an interval, validation comes first, as in an uninterrupted run.
        ends = batch + 1 == self.params["steps"]
        if self._signals and self._signals.received and not ends:
            self._check_all()
            self._saver.save(self.model)
            raise Stopped(self._signals.received, self._step)

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._check_all()
        self._progress.doing("validation")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._check_all()

    def _check_all(self) -> None:
        while self._losses:
            self._check_oldest()

    def _check_oldest(self) -> None:
        step, loss = self._losses.popleft()
        if math.isfinite(float(loss)):
            return
        newest = next((path for _, path in checkpoint_files(self._directory.checkpoints)), None)
        left = f"the newest good checkpoint is {newest}" if newest else "there is no checkpoint yet"
        raise DivergedError(
            f"The loss is {float(loss)} at step {step:,}; {left}. "
            "Try a lower train.learning_rate or train.precision=float32 in a new --run_dir"
        )


class Interval(_Callback):
    """Ends each interval: records metrics, draws samples, saves, and stops if necessary.

    Must come after the callbacks that may raise.

    Args:
        history: The validations; the new one is appended.
        patience: The run stops after this number of validations without improvement; 0 for never.
        saver: Saves checkpoints.
        record: Writes metrics and pictures; None in a worker that writes nothing.
        progress: Prints a line per interval.
        signals: The received signals; None if signals are not handled.
        in_words: Returns short descriptions of metrics.
    """

    def __init__(
        self,
        history: History,
        patience: int,
        saver: Saver,
        record: Record | None,
        progress: Progress,
        signals: Signals | None,
        in_words: Callable[[dict[str, float]], list[str]],
    ):
        super().__init__()
        self._history = history
        self._patience = patience
        self._saver = saver
        self._record = record
        self._progress = progress
        self._signals = signals
        self._in_words = in_words

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
        self._history.add(step, values)
        self._saver.save(self.model, lambda: self._note(step, values))
        if self._history.out_of_patience(self._patience):
            self.model.stop_training = True
        if self._signals and self._signals.received:
            raise Stopped(self._signals.received, step)

    def _note(self, step: int, values: dict[str, float]) -> None:
        if self._record is None:
            return
        values["learning_rate"] = float(self.model.optimizer.learning_rate)
        if speed := self._progress.examples_per_second:
            values["examples_per_second"] = speed
        self._record.write(step, values)
        held_out = {
            name.removeprefix(PREFIX): value
            for name, value in values.items()
            if name.startswith(PREFIX)
        }
        where = "held-out music: " if held_out else ""
        words = self._in_words(held_out or values)
        self._progress.say_parts([f"step {step:,}: {where}{words[0]}", *words[1:]])
        since = self._history.since_best
        if since > 1 and since & (since - 1) == 0:  # 2, 4, 8, …
            self._progress.say(f"  {self._history.risen()}")
        self._progress.doing("drawing samples")
        self._record.draw(self.model, step)
